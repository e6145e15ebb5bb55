"""A conda host within reach: a stand-in channel and installers, and a machine that may be changed."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, Sequence

import pytest

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[1]
MODULE = "ansible_collections.gpulab.workstation.plugins.modules.conda_env"
VERSIONS = ("26.3.2-3", "26.7.2-0")

collect_ignore = ["stand_in_client.py"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes; run by make test-all")


@dataclass(frozen=True)
class StandIns:
    """Where the stand-ins lie."""

    folder: Path

    @property
    def channel(self) -> str:
        return (self.folder / "channel").as_uri()

    def installer(self, version: str) -> Path:
        return self.folder / "installers" / f"Miniforge3-{version}-Linux-{os.uname().machine}.sh"


@pytest.fixture(scope="session")
def stand_ins() -> StandIns:
    """Build the channel and the installers, or take those that an earlier session built from the same sources."""
    pytest.importorskip("rattler", reason="NOT CHECKED: py-rattler builds the stand-in channel")
    import stand_in_channel
    from stand_in_installer import write_installer

    if not stand_in_channel.usable_python():
        pytest.skip(
            "NOT CHECKED: this Python is patched to keep its packages elsewhere; take one from python.org or pyenv"
        )
    sources = b"".join(path.read_bytes() for path in sorted(HERE.glob("stand_in_*.py")))
    digest = hashlib.sha256(sources + sys.version.encode() + sys.prefix.encode()).hexdigest()[:12]
    folder = CHECKOUT / ".cache" / f"conda-stand-ins-{digest}"
    ready = folder / "ready"
    if not ready.exists():
        (folder / "installers").mkdir(parents=True, exist_ok=True)
        channel, payload = folder / "channel", folder / "payload.tar.gz"
        # Each in a process of its own: py-rattler may crash while its interpreter ends.
        subprocess.run([sys.executable, HERE / "stand_in_channel.py", channel], check=True)
        subprocess.run([sys.executable, HERE / "stand_in_installer.py", payload, channel], check=True)
        for version in VERSIONS:
            write_installer(StandIns(folder).installer(version), payload=payload, version=version)
        ready.touch()
    return StandIns(folder)


@pytest.fixture(scope="session")
def conda(stand_ins: StandIns, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the stand-in client, and return its executable."""
    prefix = tmp_path_factory.mktemp("base") / "conda"
    subprocess.run(["bash", stand_ins.installer(VERSIONS[0]), "-b", "-p", prefix], check=True, capture_output=True)
    return prefix / "bin" / "conda"


class Module:
    """The module conda_env, run as Ansible runs it: a process of its own, parameters on its standard input."""

    def __init__(self, **defaults: Any) -> None:
        self.defaults = defaults

    def start(self, *, under: Sequence[str | Path] = (), **parameters: Any) -> subprocess.Popen[str]:
        arguments = {key: str(v) if isinstance(v, Path) else v for key, v in {**self.defaults, **parameters}.items()}
        process = subprocess.Popen(
            [*under, sys.executable, "-m", MODULE],
            env=dict(os.environ, PYTHONPATH=str(CHECKOUT / ".collections")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdin
        process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": arguments}))
        process.stdin.close()
        process.stdin = None
        return process

    def __call__(self, *, check: bool = False, **parameters: Any) -> dict[str, Any]:
        stdout, stderr = self.start(**parameters, _ansible_check_mode=check).communicate()
        assert stdout, stderr
        return json.loads(stdout)


@pytest.fixture
def conda_env(conda: Path, stand_ins: StandIns, tmp_path: Path) -> Module:
    """The module, with the stand-in client, its channel, and an environment called ``tf``."""
    return Module(prefix=tmp_path / "tf", executable=conda, channels=[stand_ins.channel])


class Machine:
    """This machine with overlays where a role writes: what it changes there is gone afterwards."""

    OVERLAYS = ("etc", "opt", "usr/local", "var/lib")

    def __init__(self, folder: Path) -> None:
        mounts = [f"mount -t tmpfs none {folder}"]
        for path in self.OVERLAYS:
            upper, work = folder / path / "upper", folder / path / "work"
            options = f"lowerdir=/{path},upperdir={upper},workdir={work}"
            mounts += [f"mkdir -p {upper} {work}", f"mount -t overlay overlay -o {options} /{path}"]
        script = " && ".join([*mounts, "echo ready", "exec sleep infinity"])
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self._holder.stdout and self._holder.stderr
        if self._holder.stdout.readline() != "ready\n":
            pytest.skip(f"no mount namespace with overlays here: {self._holder.stderr.read().strip()}")

    def command(self, *arguments: str | Path) -> list[str]:
        # Entering the namespace changes the directory.
        enter = ["nsenter", "--mount", f"--target={self._holder.pid}", "--", "env", "-C", str(CHECKOUT)]
        return [*enter, *map(str, arguments)]

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False)

    def close(self) -> None:
        self._holder.send_signal(signal.SIGKILL)
        self._holder.communicate()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    folder = tmp_path / "overlays"
    folder.mkdir()
    machine = Machine(folder)
    yield machine
    machine.close()
