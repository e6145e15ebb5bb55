"""What the TensorFlow environment costs, against the plain way.

    tests/run environment && .venv/test/bin/python bench/environment.py [ROUNDS]

Plain is what one types: `python -m venv`, then `pip install tensorflow-cpu`. Ours is what the role tensorflow does: the
same venv, filled from the lock by locked_packages, which checks every file by its hash and borrows uv for as long as it
works. The ways take turns: once each with an empty cache, then with the caches that this filled.
Writes docs/bench-environment.md.
"""

from __future__ import annotations

import datetime
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

CHECKOUT = Path(__file__).parents[1]
LOCKS = CHECKOUT / "roles" / "tensorflow" / "files" / "locks"
VERSION = "2.21.0"
MODULE = "ansible_collections.gpulab.workstation.plugins.modules.locked_packages"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory(dir=CHECKOUT / ".cache") as scratch:
        prefix, caches = Path(scratch) / "env", Path(scratch) / "caches"

        def ours() -> None:
            make_venv(prefix)
            lock, uv_lock = ((LOCKS / name).read_text() for name in (f"tensorflow-cpu-{VERSION}.txt", "uv.txt"))
            asked = {"ANSIBLE_MODULE_ARGS": {"prefix": str(prefix), "lock": lock, "uv_lock": uv_lock}}
            variables = {**with_caches(caches / "ours"), "PYTHONPATH": str(CHECKOUT / ".collections")}
            run([sys.executable, "-m", MODULE], variables, stdin=json.dumps(asked))

        def plain() -> None:
            make_venv(prefix)
            run(
                [prefix / "bin" / "pip", "install", "--quiet", f"tensorflow-cpu=={VERSION}"],
                with_caches(caches / "plain"),
            )

        times: dict[str, list[float]] = {"ours": [], "plain": []}
        for round_ in range(rounds + 1):
            for way in (ours, plain) if round_ % 2 else (plain, ours):
                shutil.rmtree(prefix, ignore_errors=True)
                times[way.__name__].append(timed(way))
                run([prefix / "bin" / "python", "-c", "import tensorflow"], dict(os.environ))
    (CHECKOUT / "docs" / "bench-environment.md").write_text(report(times))


def make_venv(prefix: Path) -> None:
    run([sys.executable, "-m", "venv", prefix], dict(os.environ))


def with_caches(folder: Path) -> dict[str, str]:
    return {**os.environ, "PIP_CACHE_DIR": str(folder / "pip"), "UV_CACHE_DIR": str(folder / "uv")}


def run(command: list[object], variables: dict[str, str], stdin: str = "") -> None:
    done = subprocess.run(
        list(map(str, command)), env=variables, input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def timed(way: Callable[[], None]) -> float:
    started = time.perf_counter()
    way()
    return time.perf_counter() - started


def report(times: dict[str, list[float]]) -> str:
    ways = {"ours": "venv and locked_packages", "plain": "`python -m venv` and `pip install`"}
    rows = "".join(
        f"| {ways[name]} | {cold:.0f} s | {statistics.median(warm):.1f} s | {min(warm):.1f} s | {max(warm):.1f} s |\n"
        for name, (cold, *warm) in times.items()
    )
    ratios = [plain / ours for plain, ours in zip(times["plain"], times["ours"])]
    warm_ratio, cold_ratio = statistics.median(ratios[1:]), ratios[0]
    return (
        "# The TensorFlow environment, measured\n\n"
        f"Written by `bench/environment.py` on {datetime.date.today()}: TensorFlow {VERSION}, CPU build, "
        f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end. The ways take turns.\n\n"
        "| | cold | warm, median | least | most |\n|---|---|---|---|---|\n"
        f"{rows}\n"
        f"With warm caches ours is {warm_ratio:.1f} times as fast (median of {len(ratios) - 1} rounds), with empty "
        f"ones {cold_ratio:.1f} times: there the network decides. Ours has every file checked by its hash, and all "
        "of its bytecode compiled.\n"
    )


if __name__ == "__main__":
    main()
