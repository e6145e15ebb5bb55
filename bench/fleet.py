# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure what a run with nothing to do costs a lab over SSH: site.yml, against its roles without the plan.

    python bench/fleet.py [ROUNDS] > docs/bench-fleet.md

The machines are containers of one image that site.yml converged and proved. Controller and machines share this host, so
the wall clock has the work of both; the seconds of CPU tell them apart.
"""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / ".collections")]

from support.smallest import SMALLEST
from support.ssh_fleet import Fleet, docker, with_ssh

HOSTS = {"site.yml": (1, 10, 40), "its roles": (1, 10)}  # with forty hosts the roles take a quarter of an hour
IMAGE = "gpulab/converged:12"
# What the plan would tell the roles, and they without the proof, which would train again.
ROLES = [
    {
        "name": "Run the roles",
        "hosts": "workstations",
        "gather_facts": False,
        "become": True,
        "vars": {
            "os_prep_python": "/usr/bin/python3.11",
            "tensorflow_python": "/usr/bin/python3.11",
            "tensorflow_python_version": "3.11",
        },
        "roles": ["gpulab.workstation.os_prep", "gpulab.workstation.tensorflow"],
    }
]
# From ansible's own count of a real run, with all modules answering "as it should be already".
DEEPOPS = "DeepOps' driver playbook alone, Ubuntu 24.04: 24 results a host, 14 of them remote tasks."


class Cost(NamedTuple):
    wall_s: float
    controller_s: float
    machines_s: float
    results: int
    load: float


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    names = [f"desk-{number:02}" for number in range(1, max(HOSTS["site.yml"]) + 1)]
    costs: dict[tuple[str, int], list[Cost]] = {}
    with tempfile.TemporaryDirectory(prefix="fleet-") as work:
        folder = Path(work)
        (folder / "roles.yml").write_text(yaml.safe_dump(ROLES))
        ways = {"site.yml": str(REPOSITORY / "site.yml"), "its roles": str(folder / "roles.yml")}
        with Fleet(folder, dict.fromkeys(names, with_ssh(converged())), gpus=False) as fleet:
            fleet.variables = SMALLEST
            for number in range(rounds):
                for way, count in turns(reverse=number % 2 == 1):
                    cost = run(fleet, ways[way], names[:count])
                    print(way, count, cost, file=sys.stderr)
                    costs.setdefault((way, count), []).append(cost)
    print("\n".join(page(costs, rounds)))


def turns(*, reverse: bool) -> list[tuple[str, int]]:
    """What is measured in a round: the ways take turns, and so does which comes first."""
    all_of_them = [(way, count) for way, counts in HOSTS.items() for count in counts]
    return sorted(all_of_them, key=lambda turn: (turn[1], (turn[0] == "site.yml") ^ reverse))


def converged() -> str:
    """The image of a Debian 12 that site.yml brought to its plan and proved; made where it is missing."""
    if subprocess.run(["docker", "image", "inspect", IMAGE], capture_output=True, check=False).returncode == 0:
        return IMAGE
    subprocess.run([REPOSITORY / "tests/containers/collections"], check=True)
    machine = subprocess.check_output([REPOSITORY / "tests/containers/booted"], text=True).strip()
    try:
        host = {"ansible_host": machine, "ansible_connection": "community.docker.docker", **SMALLEST}
        with tempfile.TemporaryDirectory() as work:
            inventory = Path(work) / "hosts.yml"
            inventory.write_text(yaml.safe_dump({"workstations": {"hosts": {"desk": host}}}))
            command = ["ansible-playbook", "-i", inventory, "site.yml", "-e", f"gpulab_report_directory={work}"]
            subprocess.run(command, cwd=REPOSITORY, env=environment(os.environ), check=True, stdout=sys.stderr)
        docker("commit", machine, IMAGE)
    finally:
        docker("rm", "--force", machine)
    return IMAGE


def environment(given: Any) -> dict[str, str]:
    paths = f"{REPOSITORY}/.collections:{REPOSITORY}/.cache/collections"
    return {
        **given,
        "ANSIBLE_CONFIG": str(REPOSITORY / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": paths,
        "ANSIBLE_STDOUT_CALLBACK": "default",
    }


def run(fleet: Fleet, playbook: str, hosts: list[str]) -> Cost:
    """Run a playbook that must find nothing to do."""
    command = fleet.command(playbook, "--limit", ",".join(hosts))
    before, load, began = processor(fleet, hosts), os.getloadavg()[0], time.monotonic()
    with (fleet.folder / "said.log").open("w") as said:
        process = subprocess.Popen(
            command, cwd=fleet.folder, env=environment(fleet.environment()), stdout=said, stderr=said
        )
        _pid, code, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    text = (fleet.folder / "said.log").read_text()
    recaps = re.findall(r"^desk-\d+ +: ok=(\d+) +changed=0 +unreachable=0 +failed=0 +skipped=(\d+)", text, re.MULTILINE)
    assert code == 0 and len(recaps) == len(hosts), text[-4000:]
    # Of the first host, which has the run's own tasks as well.
    results = sum(map(int, recaps[-1]))
    return Cost(wall, usage.ru_utime + usage.ru_stime, processor(fleet, hosts) - before, results, load)


def processor(fleet: Fleet, hosts: list[str]) -> float:
    """The seconds of CPU that the machines have had since they began, by their control groups."""
    identities = docker("inspect", "--format", "{{.Id}}", *map(fleet.container, hosts)).split()
    return sum(map(_used, identities))


def _used(container: str) -> float:
    first = Path(f"/sys/fs/cgroup/cpuacct/docker/{container}/cpuacct.usage")
    if first.exists():
        return int(first.read_text()) / 1e9
    second = Path(f"/sys/fs/cgroup/system.slice/docker-{container}.scope/cpu.stat")
    return int(second.read_text().split()[1]) / 1e6


def page(costs: dict[tuple[str, int], list[Cost]], rounds: int) -> Iterator[str]:
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    loads = [cost.load for found in costs.values() for cost in found]
    yield "# A lab where nothing is to do"
    yield ""
    machine = f"{os.cpu_count()} cores, {model[1] if model else 'unknown'}, load {min(loads):.1f} to {max(loads):.1f}"
    yield f"""\
Measured by `bench/fleet.py {rounds}` on {date.today()}: {machine}
before a run; Python {sys.version.split()[0]}, ansible-core {core()}. The lab is containers of Debian 12 on the same
host, reached over SSH as a user who becomes root, converged and proved by `site.yml` (packages, the CPU environment, a
short proof). Of each the cheapest of the rounds; the ways take turns.

| | hosts | wall clock, s | controller, s of CPU | a host, s | machines, s of CPU | results of a host |
|---|---|---|---|---|---|---|"""
    best = {key: min(found, key=lambda cost: cost.controller_s) for key, found in costs.items()}
    for (way, count), cost in sorted(best.items(), key=lambda item: (item[0][0] != "site.yml", item[0][1])):
        yield (
            f"| {way} | {count} | {min(one.wall_s for one in costs[way, count]):.1f} | {cost.controller_s:.1f} |"
            f" {cost.controller_s / count:.2f} | {cost.machines_s:.1f} | {cost.results} |"
        )
    yield f"""
`its roles` are os_prep and tensorflow as they are, told what the plan would tell them, and without the proof, which
they would repeat. For comparison, counted by Ansible: {DEEPOPS}
"""
    most = best["site.yml", max(HOSTS["site.yml"])]
    both, cores = most.controller_s + most.machines_s, os.cpu_count() or 1
    yield (
        f"- The goal for 40 hosts is 25 s on 2 cores. Controller and machines together worked {both:.0f} s:"
        f" on {cores} cores no less than {both / cores:.0f} s of wall clock."
    )
    yield from (added(way, best) for way in dict.fromkeys(way for way, _count in best))


def added(way: str, best: dict[tuple[str, int], Cost]) -> str:
    """What one more host costs, in the small and in the large."""
    steps = []
    for fewer, more in itertools.pairwise(HOSTS[way]):
        cost = (best[way, more].controller_s - best[way, fewer].controller_s) / (more - fewer)
        steps.append(f"{cost:.2f} s between {fewer} and {more} hosts")
    return f"- One more host costs the controller, with {way}, {', '.join(steps)}."


def core() -> str:
    return subprocess.check_output(["ansible", "--version"], text=True).splitlines()[0].split()[-1].strip("]")


if __name__ == "__main__":
    main()
