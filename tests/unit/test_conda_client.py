"""What the clients say, and under which variables they are asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_client import (
    REMEDIES,
    Answer,
    Client,
    CondaError,
    find_client,
    read_error,
    run,
)
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_pip import Pip, pip_settings, render_report
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_plan import RequestError, read_request

# Answers of conda 26.7.2 with conda-anaconda-tos 0.2, to a local channel. Those that a local channel cannot bring about
# (terms_of_service, disk, permission, checksum) are conda's own exceptions, written by conda's own printer.
FIXTURES = Path(__file__).parents[1] / "fixtures" / "conda"


def answer(name: str) -> Answer:
    return Answer(code=1, stdout=(FIXTURES / f"conda_{name}.json").read_text(), stderr="")


@pytest.mark.parametrize(
    "kind", ["terms_of_service", "channel", "packages", "conflict", "network", "disk", "checksum", "permission"]
)
def test_condas_error_is_named(kind: str) -> None:
    error = read_error(answer(kind))
    assert error.kind == kind
    assert error.remedy == REMEDIES[kind]
    assert str(error)


def test_a_refusal_of_terms_names_the_channels_and_the_free_way() -> None:
    error = read_error(answer("terms_of_service"))
    assert "https://repo.anaconda.com/pkgs/main" in str(error)
    assert "Miniforge" in error.remedy


@pytest.mark.parametrize(
    ("stdout", "stderr", "kind"),
    [
        ('{"success": false, "solver_problems": ["nothing provides nosuch"]}', "", "packages"),
        ('{"success": false, "solver_problems": ["package a requires b"]}', "", "conflict"),
        ("", "critical libmamba Could not solve for environment specs", "conflict"),
        ("", "error    libmamba Could not resolve host: conda.anaconda.org", "network"),
        ("", "OSError: [Errno 28] No space left on device", "disk"),
        ("", "Traceback (most recent call last):\n  File x\nKeyError: 'y'", "client"),
    ],
)
def test_an_error_in_words_alone_is_named_too(stdout: str, stderr: str, kind: str) -> None:
    assert read_error(Answer(1, stdout, stderr)).kind == kind


def test_the_answer_is_found_behind_progress_and_banners() -> None:
    said = 'banner {not json}\n{"fetch": "x", "progress": 1.0}\0{"success": true, "prefix": "/x"}\n'
    assert Answer(0, said, "").document == {"success": True, "prefix": "/x"}


def fake(folder: Path, body: str, *, name: str = "conda") -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("name", ["create", "create_dry_run"])
def test_what_would_be_linked_is_read_from_condas_answer(tmp_path: Path, name: str) -> None:
    client = Client(fake(tmp_path, f"cat {FIXTURES / f'conda_{name}.json'}"))
    linked = client.create(str(tmp_path / "env"), read_request(packages=["python"]), dry_run=True)
    assert "tinytf-2.15.0-cpu_0" in linked


def test_a_client_is_asked_unattended_and_for_the_declared_channels_alone(tmp_path: Path) -> None:
    client = Client(fake(tmp_path, 'echo "$@" > "$HOME/asked"; echo "{}"'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        client.create("/x", read_request(packages=["python=3.12"], channels=["conda-forge"]))
    asked = (tmp_path / "asked").read_text().strip()
    assert asked == "create --yes --json --quiet --prefix /x --override-channels -c conda-forge python=3.12"


@pytest.mark.parametrize("consent", [False, True])
def test_only_the_option_accepts_terms(monkeypatch: pytest.MonkeyPatch, consent: bool) -> None:
    for name in ("CI", "GITHUB_ACTIONS", "JENKINS_URL", "CONDA_PLUGINS_AUTO_ACCEPT_TOS"):
        monkeypatch.setenv(name, "yes")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    variables = Client("/opt/conda/bin/conda", accept_tos=consent).environment({"cuda": "12.8", "__glibc": "2.28"})
    assert ("CONDA_PLUGINS_AUTO_ACCEPT_TOS" in variables) is consent
    assert not {"CI", "GITHUB_ACTIONS", "JENKINS_URL"} & set(variables)
    assert variables["HTTPS_PROXY"] == "http://proxy:3128"
    assert (variables["CONDA_OVERRIDE_CUDA"], variables["CONDA_OVERRIDE_GLIBC"]) == ("12.8", "2.28")


def test_what_is_run_speaks_the_language_in_which_its_failures_are_known() -> None:
    said = run(["sh", "-c", "echo $LC_ALL"], environment={"LC_ALL": "de_DE.UTF-8"}).stdout
    assert said == "C.UTF-8\n"


def test_a_client_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(CondaError, match="cannot run"):
        Client(str(tmp_path / "none")).create("/x", read_request(packages=["python"]))


def test_the_client_named_comes_before_any_other(tmp_path: Path) -> None:
    mine = fake(tmp_path, "", name="micromamba")
    assert find_client(mine) == mine
    assert find_client(str(tmp_path / "none")) == ""
    assert Client(mine).kind == "micromamba"


def test_pips_index_is_handed_to_uv(tmp_path: Path) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text("[global]\nindex-url = https://mirror/simple\nextra-index-url =\n  https://one\n  https://two\n")
    found = pip_settings({"PIP_FIND_LINKS": "/wheels /more", "PIP_PROXY": "http://proxy:3128"}, files=[str(conf)])
    assert found["UV_DEFAULT_INDEX"] == "https://mirror/simple"
    assert found["UV_INDEX"] == "https://one https://two"
    assert found["UV_FIND_LINKS"] == "/wheels,/more"
    assert found["ALL_PROXY"] == "http://proxy:3128"
    assert pip_settings({}, files=[]) == {}


@pytest.mark.parametrize(("said", "heard"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_uv_asks_no_index_where_pip_is_told_not_to(tmp_path: Path, said: str, heard: bool) -> None:
    uv = fake(tmp_path, 'echo "$@" >> "$HOME/asked"', name="uv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        patch.setenv("PIP_NO_INDEX", said)
        Pip(uv=uv).install(str(tmp_path), packages=["six==1"])
    assert ("--no-index" in (tmp_path / "asked").read_text()) == heard


@pytest.mark.parametrize("said", ["Hash mismatch for six", "Failed to extract archive: six-1-py3-none-any.whl"])
def test_pips_failures_are_named(tmp_path: Path, said: str) -> None:
    uv = fake(tmp_path, f"echo 'error: {said}' >&2; exit 1", name="uv")
    with pytest.raises(CondaError) as caught:
        Pip(uv=uv).install(str(tmp_path), packages=[], lock="six==1 --hash=sha256:0\n")
    assert caught.value.kind == "checksum"


def test_uv_is_borrowed_from_its_lock_and_leaves_nothing(tmp_path: Path) -> None:
    """pip fetches uv into the environment's own directory, uv does the work there, and is gone afterwards."""
    prefix = tmp_path / "env"
    (prefix / "bin").mkdir(parents=True)
    uv = 'echo "uv $@" >> "$HOME/asked"; while [ "$1" != --cache-dir ]; do shift; done; mkdir -p "$2"'
    pip = f"""
echo "pip $@" >> "$HOME/asked"
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/bin"; printf '#!/bin/sh\\n%s\\n' '{uv}' > "$2/bin/uv"; chmod +x "$2/bin/uv"
"""
    fake(prefix / "bin", pip, name="python")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path))
        Pip(uv_lock="uv==1 --hash=sha256:0\n", only_binary=True).install(
            str(prefix), packages=["six==1"], lock="a==1 --hash=sha256:0\n"
        )
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[0] for line in asked] == ["pip", "uv", "uv"]
    assert "--require-hashes" in asked[0] and f"--target {prefix}" in asked[0]
    assert "--require-hashes" in asked[1] and all("--only-binary :all:" in line for line in asked)
    assert [path.name for path in prefix.iterdir()] == ["bin"]


def test_pips_report_becomes_a_lock() -> None:
    report = (
        '{"install": [{"metadata": {"name": "Six", "version": "1.17.0"},'
        ' "download_info": {"archive_info": {"hashes": {"sha256": "ab"}}}}]}'
    )
    assert render_report(report) == "six==1.17.0 \\\n    --hash=sha256:ab\n"


SECRETIVE = "https://me:hunter%2B2@mirror.example:8443/lab"
LOCKED = f"@EXPLICIT\n{SECRETIVE}/noarch/numpy-2.3.4-py312_0.conda#{'0123456789abcdef' * 4}\n"
# It keeps what it was asked, and what it was given to read, for the test to see.
KEEPER = (
    'echo "$@" > "$HOME/asked"; for file in "$NETRC" "$MAMBARC" $(echo "$@" | grep -o "[^ ]*lock.txt"); do'
    ' if [ -f "$file" ]; then cat "$file" > "$HOME/$(basename "$file")"; stat -c %a "$file" > "$HOME/mode"; fi; done;'
    ' echo "{}"'
)


@pytest.mark.parametrize("request_", [{"packages": ["python"], "channels": [SECRETIVE, "lab"]}, {"lock": LOCKED}])
def test_conda_is_told_a_password_by_a_netrc_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request_: dict[str, Any]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    (tmp_path / ".netrc").write_text("machine other.example login you password too")
    Client(fake(tmp_path, KEEPER)).create("/x", read_request(**request_))
    asked = (tmp_path / "asked").read_text() + "".join(file.read_text() for file in tmp_path.glob("lock.txt"))
    assert "hunter" not in asked and "mirror.example:8443/lab" in asked
    assert (tmp_path / "netrc").read_text().splitlines() == [
        "machine other.example login you password too",
        "machine mirror.example login me password hunter+2",
    ]
    assert (tmp_path / "mode").read_text() == "600\n"


@pytest.mark.parametrize("name", ["mamba", "micromamba"])
def test_mamba_is_told_a_password_by_its_configuration_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    Client(fake(tmp_path, KEEPER, name=name)).create(
        "/x", read_request(packages=["python"], channels=["lab", SECRETIVE])
    )
    assert "--override-channels -c lab -c gpulab-2 python" in (tmp_path / "asked").read_text()
    assert json.loads((tmp_path / "channels.yml").read_text()) == {"custom_multichannels": {"gpulab-2": [SECRETIVE]}}
    assert (tmp_path / "mode").read_text() == "600\n"


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        (["https://me:p%20q@mirror.example/lab"], "white space"),
        (["https://me:one@mirror.example/a", "https://me:two@mirror.example/b"], "one password for a host"),
    ],
)
def test_a_password_that_a_netrc_cannot_hold_is_refused(tmp_path: Path, channels: list[str], said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        Client(fake(tmp_path, "exit 9")).create("/x", read_request(packages=["python"], channels=channels))
    assert not any(secret in str(caught.value) for secret in ("p q", "p%20q", "one@", "two@"))
