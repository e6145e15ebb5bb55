"""What conda_env costs: a run with nothing to do, and building an environment, against the plain way; and what becomes
of runs that are killed.

    tests/run conda && .venv/conda/bin/python bench/conda_env.py [ROUNDS]

Plain is what one types: `conda create`, then the environment's own `pip install`. Both ways take turns, on the stand-in
channel of tests/conda and a few wheels from the package index, with warm caches. The kills are those of tests/conda.
Writes docs/bench-conda_env.md.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable
from xml.etree import ElementTree

CHECKOUT = Path(__file__).parents[1]
MODULES = "ansible_collections.gpulab.workstation.plugins.modules"
PACKAGES = ["python", "tinytf=2.16"]
PIP_PACKAGES = ["six==1.17.0", "rich==14.0.0", "jinja2==3.1.6"]

sys.path.insert(0, str(CHECKOUT / "tests" / "conda"))


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        channel, conda = stand_ins(folder)
        prefix = folder / "envs" / "tf"
        parameters = {
            "prefix": str(prefix),
            "executable": str(conda),
            "channels": [channel],
            "packages": PACKAGES,
            "pip_packages": PIP_PACKAGES,
        }

        def declared() -> None:
            assert module(parameters)["changed"]

        def plain() -> None:
            create = [conda, "create", "--yes", "--json", "--override-channels", "-c", channel, "-p", folder / "plain"]
            subprocess.run([*create, *PACKAGES], check=True, capture_output=True)
            pip = [folder / "plain" / "bin" / "python", "-m", "pip", "install", "--quiet", *PIP_PACKAGES]
            subprocess.run(pip, check=True, capture_output=True)

        def nothing() -> None:
            assert not module(parameters)["changed"]

        def bare() -> None:
            subprocess.run([sys.executable, "-c", "import ansible.module_utils.basic"], check=True, env=environment())

        times: dict[str, list[float]] = {name: [] for name in ("declared", "plain", "nothing", "bare")}
        for round_ in range(rounds + 1):
            shutil.rmtree(folder / "plain", ignore_errors=True)
            module({"prefix": str(prefix), "executable": str(conda), "state": "absent"})
            ways: list[Callable[[], None]] = [declared, plain] if round_ % 2 else [plain, declared]
            for way in [*ways, nothing, bare]:
                seconds = timed(way)
                # The first round warms the caches.
                if round_:
                    times[way.__name__].append(seconds)
        made_good = {name: after_kills(name, folder) for name in ("creation", "upgrade")}
    (CHECKOUT / "docs" / "bench-conda_env.md").write_text(report(times, rounds, made_good))


def stand_ins(folder: Path) -> tuple[str, Path]:
    """Build the channel, install the client, and return both."""
    from stand_in_installer import write_installer

    here = CHECKOUT / "tests" / "conda"
    channel, payload = folder / "channel", folder / "payload.tar.gz"
    subprocess.run([sys.executable, here / "stand_in_channel.py", channel], check=True)
    subprocess.run([sys.executable, here / "stand_in_installer.py", payload, channel], check=True)
    installer = write_installer(folder / "installer.sh", payload=payload, version="bench")
    subprocess.run(["bash", installer, "-b", "-p", folder / "conda"], check=True, capture_output=True)
    return channel.as_uri(), folder / "conda" / "bin" / "conda"


def after_kills(kind: str, folder: Path) -> str:
    """Kill runs at random moments, and return how many of the runs after them ended in the declared environment."""
    results = folder / f"{kind}.xml"
    words = ["-k", f"killed and {kind}", f"--junitxml={results}", "tests/conda/test_environments.py"]
    subprocess.run([sys.executable, "-m", "pytest", "-q", *words], cwd=CHECKOUT, check=False, capture_output=True)
    suite = next(ElementTree.parse(results).iter("testsuite"))
    killed, *bad = (int(suite.get(count, "0")) for count in ("tests", "failures", "errors", "skipped"))
    return f"{killed - sum(bad)} of {killed}"


def environment() -> dict[str, str]:
    return dict(os.environ, PYTHONPATH=str(CHECKOUT / ".collections"))


def module(parameters: dict, name: str = "conda_env") -> dict:
    """Run a module as Ansible does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", f"{MODULES}.{name}"],
        input=json.dumps({"ANSIBLE_MODULE_ARGS": parameters}),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    result = json.loads(done.stdout)
    assert not result.get("failed"), result
    return result


def timed(way: Callable[[], None]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def report(times: dict[str, list[float]], rounds: int, made_good: dict[str, str]) -> str:
    lines = {
        "declared": "conda_env builds the environment",
        "plain": "conda create, then pip install",
        "nothing": "conda_env with nothing to do",
        "bare": "of which: starting Python with Ansible's own module code",
    }
    median = {name: statistics.median(seconds) for name, seconds in times.items()}
    rows = "".join(
        f"| {lines[name]} | {median[name]:.2f} | {min(seconds):.2f} | {max(seconds):.2f} |\n"
        for name, seconds in times.items()
    )
    uv = shutil.which("uv") or "none"
    faster = median["plain"] / median["declared"]
    beyond = median["nothing"] - median["bare"]
    return (
        "# conda_env, measured\n\n"
        "Written by `bench/conda_env.py`. Seconds, wall clock; the ways take turns.\n\n"
        "| | median | least | most |\n|---|---|---|---|\n"
        f"{rows}\n"
        f"{rounds} rounds on {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, uv: {Path(uv).name}. Caches warm. "
        f"From the stand-in channel: {', '.join(PACKAGES)}. By pip: {', '.join(PIP_PACKAGES)}.\n\n"
        f"Building is {faster:.1f} times as fast as the plain way, with the flush to disk and the compiled bytecode. "
        f"Having nothing to do takes {beyond:.2f} s beyond the start of any module, and starts no conda.\n\n"
        "Killed at random moments, with its client or without it, a run was made good by the next, which ended in the "
        f"declared environment: {made_good['creation']} times after a creation that was cut short, "
        f"{made_good['upgrade']} after an upgrade, whose environment meanwhile stayed the one before. "
        "`tests/conda/test_environments.py` counts them.\n"
    )


if __name__ == "__main__":
    main()
