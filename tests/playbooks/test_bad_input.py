"""What is wrong is said in one clear message, and nothing has changed by then."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


def site(
    *arguments: str, under: Sequence[str] = (), as_nobody: bool = False, home: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run site.yml on this machine, for real: what is under test must stop it before the first change."""
    command = [*under, "ansible-playbook", "site.yml", "-i", "inventories/quickstart", *arguments]
    environment = {**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    if as_nobody:
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command]
        environment["HOME"] = str(home)
    return subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def assert_refused(run: subprocess.CompletedProcess[str], *words: str) -> None:
    said = re.sub(r"\s+", " ", run.stdout + run.stderr)
    assert run.returncode != 0, said
    for word in words:
        assert word in said
    assert "Traceback" not in said
    assert re.search(r"this-machine : ok=\d+ changed=0 ", said), "something changed before the refusal"


def test_a_misspelt_input_is_named_with_the_one_that_was_meant():
    run = site("-e", "tensorflow_verison=2.20.0")
    assert_refused(run, "tensorflow_verison is not an input of the role tensorflow; did you mean tensorflow_version?")


def test_a_value_of_the_wrong_type_is_named_with_what_is_allowed():
    run = site("-e", '{"os_prep_open_files": "many", "tensorflow_build": "gpu"}')
    assert_refused(run, "os_prep_open_files", "many", "tensorflow_build must be one of: cpu, cuda, got: gpu")


def test_a_pin_that_cannot_work_is_refused_with_what_would():
    assert_refused(site("-e", "tensorflow_version=2.10.0"), "2.10.0", "this-machine")


@pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0,
    reason="NOT CHECKED: an unsupported system can be shown only where mounts are allowed",
)
def test_an_unsupported_system_is_named_with_the_way_out(tmp_path):
    release = tmp_path / "os-release"
    release.write_text('ID="centos"\nNAME="CentOS Linux"\nPRETTY_NAME="CentOS Linux 7 (Core)"\nVERSION_ID="7"\n')
    run = site(under=["unshare", "--mount", "sh", "-c", f'mount --bind {release} /etc/os-release && exec "$@"', "sh"])
    assert_refused(run, "CentOS Linux 7 (Core) is not supported: it ended on 2024-06-30", "The way out is EL 9")


def test_a_full_disk_is_named_with_what_is_needed(tmp_path):
    # /proc has no space for anyone.
    run = site("-e", "tensorflow_prefix=/proc/gpulab/tensorflow")
    assert_refused(
        run, "/proc/gpulab/tensorflow has 0 MiB free and the environment needs 3072 MiB", "tensorflow_prefix"
    )


def test_an_index_that_does_not_answer_is_named_before_anything_is_built(tmp_path):
    run = site("-e", f"tensorflow_prefix={tmp_path}/tensorflow", "-e", "tensorflow_index_url=http://127.0.0.1:9/simple")
    assert_refused(run, "the package index of tensorflow_index_url does not answer", "Connection refused")
    assert list(tmp_path.iterdir()) == []


def test_a_publisher_that_does_not_answer_is_named_with_what_can_be_done():
    url = "http://127.0.0.1:9/cifar-10-python.tar.gz"
    run = site("-e", "cifar10_dataset=download", "-e", f"cifar10_dataset_url={url}")
    assert_refused(run, f"{url} does not answer", "Connection refused", "Set cifar10_dataset_url to a mirror")


def test_images_that_are_not_there_are_named():
    assert_refused(site("-e", "cifar10_dataset=/nowhere/cifar-10-batches-py"), "/nowhere/cifar-10-batches-py")


def test_a_broken_archive_is_named(tmp_path):
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as whole:
        whole.add(__file__, "cifar-10-batches-py/data_batch_1")
    assert_refused(
        site("-e", f"cifar10_dataset={archive}"), f"{archive} lacks data_batch_2, data_batch_3", "test_batch"
    )
    archive.write_bytes(archive.read_bytes()[:-30])
    assert_refused(site("-e", f"cifar10_dataset={archive}"), f"{archive} is not a whole tar archive")


def test_a_folder_without_all_batches_is_named(tmp_path):
    (tmp_path / "data_batch_1").touch()
    assert_refused(site("-e", f"cifar10_dataset={tmp_path}"), f"{tmp_path} lacks data_batch_2")


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="NOT CHECKED: only root can become nobody")
def test_a_user_who_may_not_change_the_system_is_told_what_to_do(tmp_path):
    readable = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "test", "-r", str(CHECKOUT / "site.yml")]
    if subprocess.run(readable, check=False).returncode:
        pytest.skip("NOT CHECKED: the checkout cannot be read by others")
    home = tmp_path / "home"
    home.mkdir()
    for path in (home, tmp_path, *tmp_path.parents[:-2]):
        path.chmod(0o755)
    os.chown(home, 65534, 65534)
    run = site("-e", "ansible_become=false", "-e", "os_prep_open_files=4096", as_nobody=True, home=home)
    assert_refused(run, "this-machine: /etc, /usr, /var, ", " cannot be written. Run as root or with --become")
