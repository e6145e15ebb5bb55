"""The role tensorflow: what it refuses, which lock it takes, and how it tries an environment (of stand-ins)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import nvml_stand_in

CHECKOUT = Path(__file__).parents[2]
LOCKS = CHECKOUT / "roles" / "tensorflow" / "files" / "locks"
SEEN_IN_BOTH = {"checkout": CHECKOUT, "python": Path(sys.prefix).resolve()}
# What try_tensorflow.py asks of these packages.
PACKAGES = {
    "tensorflow.py": """
__version__ = "2.21.0"
class config: list_logical_devices = list_physical_devices = staticmethod(lambda: [])
class test: is_built_with_cuda = staticmethod(lambda: True)
""",
    "keras.py": "__version__ = '3.12.0'\n",
    "numpy.py": "__version__ = '2.3.0'\n",
    "keras-3.12.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: keras\nVersion: 3.12.0\n",
    "nvidia/cuda_runtime/lib/libcudart.so.12": "the runtime",
    "nvidia/cusolver/lib/libcusolver.so.11": "the solver",
}

with_mounts = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0,
    reason="NOT CHECKED: another /tmp can be had only where mounts are allowed",
)


def try_in_another_tmp(
    tmp_path: Path, *, then: str = "true", nvml: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Let the role try an environment at /tmp/env, and then run ``then``. ``nvml`` answers for the GPUs.

    Whoever uses the machine may put a usercustomize.py into a /tmp that is someone's home.
    """
    task = {"ansible.builtin.include_role": {"name": "gpulab.workstation.tensorflow", "tasks_from": "try"}}
    gpu_info = {"nvml_library": f"/run/gpulab-test/{nvml.name}"} if nvml else {}
    defaults = {"gpulab.workstation.gpu_info": gpu_info}
    play = [{"hosts": "workstations", "gather_facts": False, "module_defaults": defaults, "tasks": [task]}]
    inputs = {
        "__tensorflow_directory": "/tmp/env",
        "tensorflow_prefix": "/tmp/env",
        "tensorflow_build": "cuda",
        "tensorflow_library_path": True,
    }
    for name, text in PACKAGES.items():
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "play.yml").write_text(json.dumps(play))
    (tmp_path / "inputs.json").write_text(json.dumps(inputs))
    library = "lib/python$version/site-packages"
    script = [
        "mount -t tmpfs none /run && cp -r . /run/gpulab-test && cd /",
        # The checkout, and the Python that runs this, may lie below /tmp themselves.
        *(f"mkdir /run/{name} && mount --bind {path} /run/{name}" for name, path in SEEN_IN_BOTH.items()),
        "mount -t tmpfs -o mode=1777 none /tmp",
        *(f"mkdir -p {path} && mount --bind /run/{name} {path}" for name, path in SEEN_IN_BOTH.items()),
        "/usr/bin/python3 -m venv --without-pip --system-site-packages /tmp/env",
        "version=$(/tmp/env/bin/python -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])')",
        f"cp -r /run/gpulab-test/packages/. /tmp/env/{library}",
        f"mkdir -p /tmp/.local/{library}",
        f'echo \'open("/tmp/executed", "w")\' > /tmp/.local/{library}/usercustomize.py',
        f"cd {CHECKOUT}",
        "ansible-playbook /run/gpulab-test/play.yml -i inventories/quickstart -e @/run/gpulab-test/inputs.json >&2",
        then,
    ]
    return subprocess.run(
        ["unshare", "--mount", "bash", "-ec", "\n".join(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@with_mounts
def test_nothing_of_a_place_that_all_users_may_write_is_executed(tmp_path: Path) -> None:
    tried = try_in_another_tmp(tmp_path, then="ls -A /tmp")
    ours = {path.parts[2] for path in SEEN_IN_BOTH.values() if path.is_relative_to("/tmp")}
    assert set(tried.stdout.split()) == {"env", ".local"} | ours, tried.stdout + tried.stderr


@with_mounts
def test_the_libraries_are_where_the_release_looks_for_them(tmp_path: Path) -> None:
    runtime = "/tmp/env/lib/python3*/site-packages/nvidia/cuda_runtime/lib"
    tried = try_in_another_tmp(tmp_path, then=f"cat {runtime}/libcusolver.so.11")
    assert tried.stdout == "the solver", tried.stdout + tried.stderr


@with_mounts
@pytest.mark.skipif(nvml_stand_in.compiler() is None, reason="NOT CHECKED: no C compiler for the stand-in NVML")
def test_an_environment_that_does_not_see_a_gpu_which_the_driver_serves_is_refused(tmp_path: Path) -> None:
    library = nvml_stand_in.build(tmp_path)
    nvml_stand_in.configure(library, machine=nvml_stand_in.MACHINE, gpus=[nvml_stand_in.RTX_4090])
    tried = try_in_another_tmp(tmp_path, nvml=library)
    said = " ".join((tried.stdout + tried.stderr).split())
    assert tried.returncode != 0, said
    assert "TensorFlow in /tmp/env sees no GPU, and the driver serves 0000:01:00.0" in said, said


def look_ahead(tmp_path: Path, **inputs: object) -> str:
    """Run the role's preflight alone, and return what it said and which lock it would take."""
    role = {"name": "gpulab.workstation.tensorflow", "tasks_from": "preflight", "public": True}
    show = {"ansible.builtin.debug": {"var": "__tensorflow_lock"}, "vars": {"role_path": "ROLE"}}
    tasks = [{"ansible.builtin.include_role": role}, show]
    play = [{"hosts": "workstations", "gather_facts": False, "tasks": tasks}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    inputs = {"tensorflow_build": "cuda", "tensorflow_env_manager": "venv", "__tensorflow_needed_mib": 1, **inputs}
    command = ["ansible-playbook", tmp_path / "play.yml", "-i", "inventories/quickstart", "-e", json.dumps(inputs)]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    return " ".join((run.stdout + run.stderr).split())


@pytest.mark.parametrize(
    ("wishes", "answer"),
    [
        ({"tensorflow_python_version": "3.6"}, "What replaces them is tensorflow_build: cuda"),
        ({"tensorflow_version": "tensorflow-gpu"}, "What replaces them is tensorflow_build: cuda"),
        ({"tensorflow_packages": ["tensorflow-gpu==2.12.0"]}, "What replaces them is tensorflow_build: cuda"),
        ({"tensorflow_constraints": ["numpy<2"]}, "the lock leaves nothing for numpy<2 to decide"),
        ({"tensorflow_prefix": "/opt/lab envs/tf"}, "is refused: it must be an absolute path"),
        ({"tensorflow_prefix": "/opt/envs/tf/"}, "is refused: it must be an absolute path"),
    ],
)
def test_what_cannot_be_had_is_answered_with_what_can(tmp_path: Path, wishes: dict, answer: str) -> None:
    said = look_ahead(tmp_path, **wishes)
    assert answer in said, said
    assert "changed=0" in said and "failed=1" in said


@pytest.mark.parametrize(
    ("version", "lock"),
    [
        ("2.21.0", "tensorflow-cuda-2.21.0-cudnn-9.10.txt"),
        ("2.20.0", "tensorflow-cuda-2.20.0-cudnn-9.10.txt"),
        ("2.19.1", "tensorflow-cuda-2.19.1.txt"),
    ],
)
def test_a_gpu_that_new_cudnn_left_behind_gets_the_lock_with_the_old_one(
    tmp_path: Path, version: str, lock: str
) -> None:
    said = look_ahead(tmp_path, tensorflow_version=version, tensorflow_constraints=["nvidia-cudnn-cu12<9.11"])
    assert f"ROLE/files/locks/{lock}" in said, said
    pinned = re.search(r"^nvidia-cudnn-cu12==(\d+)\.(\d+)", (LOCKS / lock).read_text(), re.MULTILINE)
    assert pinned and tuple(map(int, pinned.groups())) < (9, 11)


def go_back(tmp_path: Path, *, before: str) -> str:
    """Run the role's way back on a machine whose environment in use is tf-b and whose receipt says ``before``."""
    for name in ("tf-a", "tf-b"):
        python = tmp_path / name / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text("#!/bin/sh\n")
        python.chmod(0o755)
    (tmp_path / "tf-a" / "gpulab-env.json").write_text("{}")
    (tmp_path / "tf").symlink_to("tf-b")
    tmp_path.chmod(0o755)
    link = {"kind": "link", "name": str(tmp_path / "tf"), "state": "tf-a"}
    receipt = {"schema": 1, "component": "tensorflow", "version": "2", "inputs": {}, "evidence": [], "details": {}}
    details = {"directory": str(tmp_path / "tf-b"), "before": before}
    last = {**receipt, "evidence": [{**link, "state": "tf-b"}], "details": details}
    (tmp_path / "receipts" / "previous").mkdir(parents=True)
    (tmp_path / "receipts" / "tensorflow.json").write_text(json.dumps(last))
    first = {**receipt, "version": "1", "evidence": [link]}
    (tmp_path / "receipts" / "previous" / "tensorflow.json").write_text(json.dumps(first))
    task = {"ansible.builtin.include_role": {"name": "gpulab.workstation.tensorflow", "tasks_from": "rollback"}}
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "workstations", "gather_facts": False, "tasks": [task]}]))
    inputs = json.dumps({"tensorflow_prefix": str(tmp_path / "tf"), "__tensorflow_as_nobody": ["env"]})
    script = [
        "mount -t tmpfs none /var/lib && mkdir /var/lib/gpulab",
        f"cp -r {tmp_path}/receipts /var/lib/gpulab",
        f"ansible-playbook {tmp_path}/play.yml -i inventories/quickstart -e '{inputs}' || true",
        "grep --no-filename '\"version\"' /var/lib/gpulab/receipts/tensorflow.json",
    ]
    command = ["unshare", "--mount", "bash", "-ec", "\n".join(script)]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    return " ".join(run.stdout.split())


@with_mounts
def test_the_environment_before_is_put_to_use_again_with_its_receipt(tmp_path: Path) -> None:
    said = go_back(tmp_path, before=str(tmp_path / "tf-a"))
    assert (tmp_path / "tf").readlink() == Path("tf-a"), said
    assert '"version": "1"' in said


@with_mounts
@pytest.mark.parametrize("before", ["", "tf-b", "gone"])
def test_without_a_whole_environment_before_the_one_in_use_stays(tmp_path: Path, before: str) -> None:
    said = go_back(tmp_path, before=before and str(tmp_path / before))
    assert "there is no environment before" in said
    assert (tmp_path / "tf").readlink() == Path("tf-b")
    assert '"version": "2"' in said


def test_where_no_environment_ever_was_a_removal_says_nothing_unasked(tmp_path: Path) -> None:
    play = [{"hosts": "workstations", "gather_facts": False, "roles": ["gpulab.workstation.tensorflow"]}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    inputs = {"tensorflow_state": "absent", "tensorflow_prefix": str(tmp_path / "envs" / "tensorflow")}
    command = ["ansible-playbook", tmp_path / "play.yml", "-i", "inventories/quickstart", "--check"]
    command += ["-e", json.dumps(inputs)]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout
    assert "[WARNING]" not in run.stdout + run.stderr
