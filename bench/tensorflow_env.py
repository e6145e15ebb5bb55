"""What an environment with TensorFlow costs, against the plain way.

    tests/run conda && .venv/conda/bin/python bench/tensorflow_env.py [WARM_ROUNDS [COLD_ROUNDS]]

Plain is what one types: `python -m venv`, then `pip install tensorflow-cpu` of the same release. Against it stand the
two ways of the role tensorflow, both from its lock, every file checked by its hash, bytecode compiled: locked_packages
in a venv, and conda_env, with Python from the stand-in channel of tests/conda and all flushed to disk. The ways take
turns. In a cold round none finds anything in its caches. In a warm one pip's cache is full, and there is a version of
the environment already, of which conda_env takes what stayed the same. Writes docs/bench-tensorflow_env.md.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable

from conda_env import CHECKOUT, module, stand_ins

RELEASE = "2.21.0"
LOCKS = CHECKOUT / "roles" / "tensorflow" / "files" / "locks"
TITLES = {
    "plain": "`python -m venv`, then `pip install`",
    "locked": "`python -m venv`, then locked_packages",
    "declared": "conda_env",
}


def main() -> None:
    rounds = {
        "cold": int(sys.argv[2]) if len(sys.argv) > 2 else 1,
        "warm": int(sys.argv[1]) if len(sys.argv) > 1 else 3,
    }
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(dir=CHECKOUT / ".cache") as scratch:
        folder = Path(scratch)
        caches = folder / "caches"
        os.environ.update(PIP_CACHE_DIR=str(caches / "pip"), UV_CACHE_DIR=str(caches / "uv"))
        channel, conda = stand_ins(folder)
        lock, uv_lock = (
            (LOCKS / name).read_text(encoding="utf-8") for name in (f"tensorflow-cpu-{RELEASE}.txt", "uv.txt")
        )
        parameters = {
            "prefix": str(folder / "envs" / "tensorflow"),
            "executable": str(conda),
            "channels": [channel],
            "packages": ["python", "pip"],
            "pip_lock": lock,
            "uv_lock": uv_lock,
        }

        def plain() -> None:
            subprocess.run([sys.executable, "-m", "venv", folder / "plain"], check=True)
            pip = [folder / "plain" / "bin" / "python", "-m", "pip", "install", "--quiet", f"tensorflow-cpu=={RELEASE}"]
            subprocess.run(pip, check=True, capture_output=True)

        def locked() -> None:
            subprocess.run([sys.executable, "-m", "venv", folder / "locked"], check=True)
            asked = {"prefix": str(folder / "locked"), "lock": lock, "uv_lock": uv_lock}
            assert module(asked, "locked_packages")["changed"]

        def declared() -> None:
            assert module(parameters)["changed"]

        for kind in ("cold", "warm"):
            if kind == "warm":
                module({**parameters, "prefix": str(folder / "envs" / "standing")})
            for round_ in range(rounds[kind]):
                if kind == "cold":
                    shutil.rmtree(caches, ignore_errors=True)
                ways: list[Callable[[], None]] = [plain, locked, declared]
                # The one that comes first is another in each round.
                ways = ways[round_ % 3 :] + ways[: round_ % 3]
                for way in ways:
                    taken.setdefault((kind, way.__name__), []).append(timed(way))
                shutil.rmtree(folder / "plain")
                shutil.rmtree(folder / "locked")
                module({**parameters, "state": "absent", "pip_lock": "", "packages": []})
    (CHECKOUT / "docs" / "bench-tensorflow_env.md").write_text(report(taken, rounds))


def timed(way: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor, that a way took."""
    began, spent = time.perf_counter(), processor()
    way()
    return time.perf_counter() - began, processor() - spent


def processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def report(taken: dict[tuple[str, str], list[tuple[float, float]]], rounds: dict[str, int]) -> str:
    rows = ""
    for kind in ("cold", "warm"):
        wall = {way: [seconds for seconds, _cpu in taken[kind, way]] for way in TITLES}
        for way, title in TITLES.items():
            faster = statistics.median(a / b for a, b in zip(wall["plain"], wall[way]))
            cpu = statistics.median(seconds for _wall, seconds in taken[kind, way])
            rows += (
                f"| {kind} | {title} | {statistics.median(wall[way]):.0f} | {min(wall[way]):.0f} | "
                f"{max(wall[way]):.0f} | {cpu:.0f} | {faster:.1f} |\n"
            )
    return (
        "# An environment with TensorFlow, measured\n\n"
        f"Written by `bench/tensorflow_env.py` on {time.strftime('%Y-%m-%d')}. TensorFlow {RELEASE}, CPU build, from "
        f"the package index; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end. The ways take turns: "
        f"{rounds['cold']} cold and {rounds['warm']} warm rounds.\n\n"
        "| caches | way | median, s | least | most | of the processor, s | times as fast as the plain way |\n"
        "|---|---|---|---|---|---|---|\n"
        f"{rows}\n"
        "*Times as fast* is the median over the rounds. locked_packages and conda_env check every file by its hash and "
        "compile all bytecode, of Jupyter's packages too; the plain way pins nothing but TensorFlow and brings no "
        "Jupyter. Warm means that pip's cache is full and that a version of the environment is there already, as when "
        "a package is added to it: what stayed the same is linked from it, not fetched.\n"
    )


if __name__ == "__main__":
    main()
