# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the resolver and write docs/bench-resolve_stack.md: `python bench/resolve_stack.py`."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / ".collections"), str(ROOT / "tests" / "unit")]

from ansible_collections.gpulab.workstation.plugins.plugin_utils.fleet import resolve_fleet
from ansible_collections.gpulab.workstation.plugins.plugin_utils.plan_text import plan_text
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver import resolve
from lab_machines import GPU_NAMES, SUPPORTED, gpu_facts, system_facts

PAGE = ROOT / "docs" / "bench-resolve_stack.md"
HOSTS = 1000
TODAY = date.today()
REQUESTS: tuple[dict[str, str], ...] = (
    {},
    {"tensorflow_version": "2.19"},
    {"tensorflow_env_manager": "venv"},
    {"cuda_state": "present", "cudnn_state": "present"},
)
COLD = "from ansible_collections.gpulab.workstation.plugins.plugin_utils import compatibility as c, resolver; c.load()"


def machines() -> list[dict[str, Any]]:
    """Return a thousand machines: every GPU on every system with every request, over and over."""
    space = product(GPU_NAMES, SUPPORTED, REQUESTS)
    kinds = [
        {"gpu": gpu_facts(gpu), "system": system_facts(system), "inputs": request} for gpu, system, request in space
    ]
    return list(islice(cycle(kinds), HOSTS))


def milliseconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def cold_start() -> float:
    """Return the time of a new interpreter that loads resolver and data, less that of one that loads nothing."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".collections")}

    def once(code: str) -> float:
        return milliseconds(lambda: subprocess.run([sys.executable, "-c", code], check=True, env=environment))

    loaded, empty = (statistics.median(once(code) for _round in range(7)) for code in (COLD, "import yaml"))
    return loaded - empty


def main() -> None:
    fleet = machines()
    resolve(**fleet[0], today=TODAY)
    each = [milliseconds(lambda machine=machine: resolve(**machine, today=TODAY)) for machine in fleet]
    plans = {f"host{number:04}": resolve(**machine, today=TODAY) for number, machine in enumerate(fleet)}
    alike = {f"gpu{number:04}": fleet[number % 12 * 37] for number in range(HOSTS)}
    rows = [
        ("one host, median", f"{statistics.median(each):.1f} ms", "under 5 ms"),
        ("one host, 99 of 100", f"{statistics.quantiles(each, n=100)[98]:.1f} ms", ""),
        (f"{HOSTS} hosts, all kinds of machines and requests", f"{sum(each) / 1000:.2f} s", "under 5 s"),
        (
            f"{HOSTS} hosts of a dozen kinds to one common stack",
            f"{milliseconds(lambda: resolve_fleet(alike)) / 1000:.2f} s",
            "",
        ),
        (f"the text of {HOSTS} plans", f"{milliseconds(lambda: plan_text(plans)) / 1000:.2f} s", ""),
        ("import and data, once a process", f"{cold_start():.0f} ms", ""),
    ]
    refused = sum(plan["refusal"] is not None for plan in plans.values())
    load = os.getloadavg()[0]
    PAGE.write_text(
        "# How long resolve_stack takes\n\n"
        f"Written by `bench/resolve_stack.py` on {TODAY.isoformat()}: Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, load {load:.1f}.\n"
        f"{refused} of the {HOSTS} machines are refused; the time includes the search for what would work.\n\n"
        "| what | measured | wanted |\n|---|---|---|\n"
        + "".join(f"| {what} | {measured} | {wanted} |\n" for what, measured, wanted in rows)
    )
    print(PAGE.read_text())


if __name__ == "__main__":
    main()
