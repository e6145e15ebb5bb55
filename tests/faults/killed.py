"""Kill site.yml at random moments, and see that the next run makes good what was left. Prints docs/faults.md.

    PYTHONPATH=.collections:tests python -m faults.killed [--seed SEED] [--kills NUMBER] > docs/faults.md

Single kills of a seed can be repeated, and take the place of what an earlier run has printed of them on standard error:

    PYTHONPATH=.collections:tests python -m faults.killed --seed SEED --again 5 17 --earlier LOG > docs/faults.md

What is killed is the controller (whose task goes on alone on the machine), every process of the task on the machine,
or the machine itself. After each kill the next run must succeed, the machine must be as one that was never
disturbed, and of some a third run is seen to change nothing.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from faults.lab import CHECKOUT, OTHER_ENVIRONMENT, Machine, Run, image_exists, machine

KINDS = ("controller", "task", "power")
CONVERGED = "gpulab/killed-converged"
THIRD_RUN_OF = 10  # of so many kills one is followed by a third run


@dataclass(frozen=True)
class Scenario:
    """From which machine a run begins, what it is asked for, and how large its share of the kills is."""

    name: str
    story: str
    share: float
    converged: bool = True
    before: str = "true"
    request: dict[str, Any] = field(default_factory=dict)


SCENARIOS = [
    Scenario("bare", "a bare machine gets everything", 0.1, converged=False),
    Scenario(
        "packages",
        "a machine gets its packages again, which somebody removed",
        0.3,
        before="apt-get -qq purge --auto-remove build-essential pciutils > /dev/null 2>&1",
    ),
    Scenario(
        "settings",
        "a machine gets other limits, another command, and a kernel for Jupyter",
        0.35,
        request={"os_prep_open_files": 8192, "tensorflow_entry_point": "tf-python", "tensorflow_kernelspec": True},
    ),
    Scenario("proof", "a machine is proved in another way", 0.15, request={"cifar10_epochs": 2}),
    Scenario(
        "environment",
        "a machine gets a new environment beside the one in use",
        0.1,
        request=OTHER_ENVIRONMENT,
    ),
]

# What a run leaves, but for times and figures, among them uv's of a wheel's last change: kinds, modes, owners, sizes
# and targets of everything that is its own.
TREE = r"""
find /opt/gpulab /usr/local /var/lib/gpulab /etc -xdev -path '*/__pycache__' -prune \
  -o \( -path '/var/lib/gpulab/receipts/*' -o -name uv_cache.json -o -type d \) -printf '%p %y %m %u\n' \
  -o -printf '%p %y %m %u %s %l\n' | sort |
  grep -vE '^/etc/(ld[.]so[.]cache|mtab|resolv[.]conf|hosts|hostname|[.]pwd[.]lock|passwd-|group-) '
find /opt/gpulab -xdev -path '*/__pycache__/*' | sort | sha256sum
dpkg --audit
dpkg-query --show --showformat '${db:Status-Abbrev}${Package} ${Version}\n'
"""
# What the machine says of itself, asked with other means than the roles'.
PROVED = r"""
grep -q '"passed": true' /var/lib/gpulab/receipts/cifar10.json || echo 'no proof that was passed is on record'
cd /
setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/nonexistent \
  /opt/gpulab/envs/tensorflow/bin/python -I -c 'import numpy'
"""


@dataclass
class Kill:
    """One kill and what came of it."""

    number: int
    scenario: str
    kind: str
    task: str
    after: float
    commit: str
    converged: bool = False
    trouble: str = ""
    third: str = ""
    seconds: float = 0.0

    @property
    def phase(self) -> str:
        role, _colon, name = self.task.partition(" : ")
        if not name:
            return "the playbook's own tasks"
        return f"{role.rpartition('.')[2]}: {name.partition(' | ')[0]}"


class Harness:
    """Carries out the kills of one seed."""

    def __init__(self, seed: str, scenarios: Sequence[Scenario], work: Path, log: Path) -> None:
        self._seed, self._scenarios, self._work, self._log = seed, scenarios, work, log
        command = ["git", "rev-parse", "--short", "HEAD"]
        self._commit = subprocess.check_output(command, cwd=CHECKOUT, text=True).strip()
        self._gauges: dict[str, tuple[list[tuple[str, float]], str]] = {}

    def kills(self, turns: Sequence[int]) -> Iterator[Kill]:
        """Carry out the seed's kills of these numbers, in all scenarios by chance; yield each as it has been judged."""
        shares = [scenario.share for scenario in self._scenarios]
        for turn in turns:
            dice = random.Random(f"{self._seed} {turn}")
            scenario = dice.choices(self._scenarios, shares)[0]
            yield self._kill(turn, scenario, dice)

    @contextmanager
    def _machine(self, scenario: Scenario) -> Iterator[Machine]:
        options = ["--network", "none"]
        with machine(f"killed-{os.getpid()}", self._work, options, CONVERGED if scenario.converged else "") as desk:
            desk.inside(scenario.before)
            yield desk

    def _gauge(self, scenario: Scenario) -> tuple[list[tuple[str, float]], str]:
        """Run it undisturbed: how long each of its tasks takes, and what it leaves."""
        if scenario.name not in self._gauges:
            if scenario.converged and not image_exists(CONVERGED):
                self._gauge(SCENARIOS[0])
            with self._machine(scenario) as desk:
                run = desk.play(**scenario.request)
                assert _well(run), run.text
                ends = [*(at for _name, at in run.tasks[1:]), time.monotonic()]
                durations = [(name, end - at) for (name, at), end in zip(run.tasks, ends)]
                self._gauges[scenario.name] = durations, desk.inside(TREE)
                if not scenario.converged:
                    desk.keep_as(CONVERGED)
        return self._gauges[scenario.name]

    def _kill(self, number: int, scenario: Scenario, dice: random.Random) -> Kill:
        durations, undisturbed = self._gauge(scenario)
        kind = KINDS[number % len(KINDS)]
        # Any moment, but none of the tasks that only the controller has to do with.
        weights = [seconds + 0.2 if seconds > 0.2 else 0 for _name, seconds in durations]
        chosen = dice.choices(range(len(durations)), weights)[0]
        after = dice.uniform(0, durations[chosen][1])
        with self._machine(scenario) as desk:
            run = desk.start(**scenario.request)
            if run.wait_for_task(chosen):
                time.sleep(after)
            task, began = run.tasks[-1]
            kill = Kill(number, scenario.name, kind, task, round(time.monotonic() - began, 2), self._commit)
            _strike(kind, desk, run)
            self._judge(kill, desk, scenario, undisturbed, broken=run)
        return kill

    def _judge(self, kill: Kill, desk: Machine, scenario: Scenario, undisturbed: str, *, broken: Run) -> None:
        following = desk.play(**scenario.request)
        kill.seconds = round(following.seconds, 1)
        runs = [broken, following]
        if not _well(following):
            kill.trouble = "the next run failed: " + _message(following)
        else:
            kill.trouble = _difference(undisturbed, desk.inside(TREE)) or desk.inside(
                f"exec 2>&1; {PROVED}", check=False
            )
        kill.converged = not kill.trouble
        if kill.converged and kill.number % THIRD_RUN_OF == 0:
            third = desk.play(**scenario.request)
            runs.append(third)
            kill.third = (
                "changed nothing" if _well(third) and third.recap("desk")["changed"] == 0 else "changed something"
            )
        if kill.trouble or kill.third == "changed something":
            kept = self._log / f"kill-{self._seed}-{kill.number}.log"
            kept.write_text("\n\n==== the next run\n".join(run.text for run in runs) + "\n" + kill.trouble)


def _strike(kind: str, desk: Machine, run: Run) -> None:
    if kind == "controller":
        with suppress(ProcessLookupError):  # it had ended already
            run.kill()
    elif kind == "task":
        desk.kill_tasks()
        run.end()
    else:
        desk.cut_power()
        run.end()
        desk.boot()


def _well(run: Run) -> bool:
    return run.process.returncode == 0 and run.recap("desk").get("failed") == 0


def _message(run: Run) -> str:
    told = [line for line in run.lines if "failed" in line.lower() or "fatal" in line or "msg:" in line]
    return " / ".join(told[-6:])[:600]


def _difference(wanted: str, found: str) -> str:
    lacking = sorted(set(wanted.splitlines()) - set(found.splitlines()))
    new = sorted(set(found.splitlines()) - set(wanted.splitlines()))
    if not lacking and not new:
        return ""
    return f"lacks {len(lacking)}: {lacking[:5]}; has {len(new)} that should not be: {new[:5]}"


def page(kills: Sequence[Kill], seed: str, again: Sequence[int]) -> str:
    """Return docs/faults.md; the kills of the numbers ``again`` were made twice, and count as they ended then."""
    cpu = next(line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line)
    commits = list(dict.fromkeys(kill.commit for kill in sorted(kills, key=lambda kill: kill.number in again)))
    good = sum(kill.converged for kill in kills)
    thirds = [kill for kill in kills if kill.third]
    by = Counter((kill.phase, kill.kind) for kill in kills)
    whole = Counter(kill.phase for kill in kills)
    converged = Counter(kill.phase for kill in kills if kill.converged)
    today = f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}"
    unchanging = sum(kill.third == "changed nothing" for kill in thirds)
    rows = [
        [phase, *(str(by[phase, kind] or "") for kind in KINDS), f"{converged[phase]} of {whole[phase]}"]
        for phase in sorted(whole)
    ]
    lines = [
        "# Killed anywhere",
        "",
        f"Measured by `tests/faults/killed.py` with seed {seed} on {today}, at {' and '.join(commits)}:",
        f"{os.cpu_count()} cores, {cpu}, load at the end {os.getloadavg()[0]:.1f};",
        "Debian 12 containers without a network, from a bundle.",
        "",
        f"`site.yml` was killed {len(kills)} times. After {good} of these the next run, with nothing mended by hand,",
        "succeeded, proved the machine, and left the same files, modes, packages and environment as a run that was",
        f"never disturbed. A third run was made after {len(thirds)} of them; {unchanging} of these changed nothing.",
        *(
            [f"Kills {', '.join(map(str, again))} were made a second time, and are counted as that went."]
            if again
            else []
        ),
        "",
        "What is killed: the *controller*, that is ansible-playbook with its workers and connections, while its task",
        "goes on alone on the machine and the next run comes upon it; the *task*, that is every process of the run on",
        "the machine; the *power*, that is the machine, which is started again.",
        "",
        "| The run | Kills |",
        "|---|---|",
        *(f"| {s.story} | {sum(k.scenario == s.name for k in kills)} |" for s in SCENARIOS),
        "",
        f"| Killed during | {' | '.join(KINDS)} | converged by the next run |",
        "|---|" + "---|" * (len(KINDS) + 1),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    failed = [kill for kill in kills if not kill.converged or kill.third == "changed something"]
    if failed:
        lines += ["", "Not made good:", ""]
        lines += [f"- {k.number}, {k.kind}, in {k.task} after {k.after} s: {k.trouble or k.third}" for k in failed]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", default=f"{random.randrange(10**6)}")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--again", type=int, nargs="+", metavar="NUMBER", help="these of the seed's kills alone")
    parser.add_argument(
        "--earlier", type=Path, metavar="LOG", help="what an earlier run of the seed printed of its kills"
    )
    parser.add_argument("--only", choices=[scenario.name for scenario in SCENARIOS], help="the kills of one scenario")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", file=sys.stderr)
    log = CHECKOUT / ".cache/test-logs/killed"
    log.mkdir(parents=True, exist_ok=True)
    scenarios = [scenario for scenario in SCENARIOS if arguments.only in (None, scenario.name)]
    turns = arguments.again or range(1, arguments.kills + 1)
    kills = {kill.number: kill for kill in _read(arguments.earlier)} if arguments.earlier else {}
    signal.signal(signal.SIGTERM, _end_early)
    with tempfile.TemporaryDirectory() as work, suppress(EndEarly):
        for kill in Harness(arguments.seed, scenarios, Path(work), log).kills(turns):
            kills[kill.number] = kill
            print(json.dumps(asdict(kill)), file=sys.stderr, flush=True)
    made = [kills[number] for number in sorted(kills)]
    print(page(made, arguments.seed, arguments.again or ()), end="")
    sound = all(kill.converged and kill.third != "changed something" for kill in made)
    return 0 if sound and set(turns) <= set(kills) else 1


def _read(log: Path) -> list[Kill]:
    return [Kill(**json.loads(line)) for line in log.read_text().splitlines() if line.startswith('{"number"')]


class EndEarly(BaseException):
    """Somebody wants to have what there is."""


def _end_early(_number: int, _frame: object) -> None:
    raise EndEarly


if __name__ == "__main__":
    sys.exit(main())
