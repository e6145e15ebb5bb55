# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the trainer's two recipes on real images: guide and fast in turn, a pair for each seed.

  scripts/environment .venv/bench requirements/bench.txt
  .venv/bench/bin/python bench/cifar10_recipes.py --python PYTHON --dataset PATH [--pairs 5] [--lock FILE]

PYTHON is one with TensorFlow, PATH the CIFAR-10 python layout. Which recipe goes first changes with every pair. The
output is docs/bench-cifar10.md and its picture. Trainings that an earlier run left in --records are kept, so a run can
go on where one was stopped.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import pyplot

TRAINER = Path(__file__).parents[1] / "roles" / "cifar10" / "files" / "cifar10_train.py"
RECIPES = ("guide", "fast")
COLORS = {"guide": "#7a7a7a", "fast": "#c2410c"}


@dataclass(frozen=True)
class Pair:
    """What the trainer said of both recipes with the same seed; times are in seconds."""

    seed: int
    guide: dict[str, Any]
    fast: dict[str, Any]

    @property
    def to_accuracy(self) -> float:
        """How long the fast recipe took to what the guide's ended with."""
        reached = (row["elapsed"] for row in self.fast["history"] if row["val_accuracy"] >= self.guide["accuracy"])
        return next(reached, float("inf"))

    def ratio(self, key: str) -> float:
        return self.fast[key] / self.guide[key]


def train_pair(options: argparse.Namespace, *, seed: int) -> Pair:
    """Both recipes one after the other, alone if there is a lock to wait for."""
    records = {recipe: options.records / f"{recipe}-{seed}.json" for recipe in RECIPES}
    with options.lock.open("a") if options.lock else nullcontext() as lock:
        if lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
        for recipe in RECIPES if seed % 2 else RECIPES[::-1]:
            if not records[recipe].exists():
                train(options, recipe=recipe, seed=seed, record=records[recipe])
    return Pair(seed, **{recipe: json.loads(record.read_text("utf-8")) for recipe, record in records.items()})


def train(options: argparse.Namespace, *, recipe: str, seed: int, record: Path) -> None:
    """One training; its record also gets the seconds of the whole command, and how busy the machine was meanwhile."""
    command = [options.python, TRAINER, "--dataset", options.dataset, "--recipe", recipe, "--seed", str(seed)]
    began, part = time.monotonic(), record.with_suffix(".part")
    busy = busy_seconds()
    subprocess.run([*command, "--result", part], check=True)
    result = json.loads(part.read_text("utf-8"))
    others = busy_seconds() - busy - result["cpu_seconds_training"]
    whole = {"seconds_whole": time.monotonic() - began, "others": others / (time.monotonic() - began)}
    record.write_text(json.dumps({**result, **whole}), encoding="utf-8")
    part.unlink()


def busy_seconds() -> float:
    """Processor time that all of the machine has spent."""
    user, nice, system, _idle, _wait, *more = map(
        int, Path("/proc/stat").read_text("utf-8").splitlines()[0].split()[1:]
    )
    return (user + nice + system + sum(more[:2])) / os.sysconf("SC_CLK_TCK")


def page(pairs: list[Pair], *, picture: str) -> str:
    """The page of figures, as Markdown."""
    one = pairs[0].guide
    ratio = statistics.median(pair.to_accuracy / pair.guide["seconds_training"] for pair in pairs)
    gain = statistics.median(pair.fast["accuracy"] - pair.guide["accuracy"] for pair in pairs)
    others = statistics.mean(pair_of["others"] for pair in pairs for pair_of in (pair.guide, pair.fast))
    rows = [
        f"| {pair.seed} | {pair.guide['accuracy']:.4f} | {pair.fast['accuracy']:.4f} "
        f"| {pair.guide['seconds_training']:.0f} s | {pair.to_accuracy:.0f} s "
        f"| 1/{pair.guide['seconds_training'] / pair.to_accuracy:.1f} "
        f"| 1/{1 / pair.ratio('cpu_seconds_training'):.1f} | 1/{1 / pair.ratio('seconds_whole'):.1f} |"
        for pair in pairs
    ]
    curves = [
        f"| {recipe} | {rows_of[0]['epoch']} | {mean(rows_of, 'elapsed'):.0f} s | {mean(rows_of, 'loss'):.3f} "
        f"| {mean(rows_of, 'val_loss'):.3f} | {mean(rows_of, 'val_accuracy'):.4f} |"
        for recipe in RECIPES
        for rows_of in zip(*(getattr(pair, recipe)["history"] for pair in pairs), strict=True)
    ]
    return f"""# The two recipes of the CIFAR-10 trainer

Written by `bench/cifar10_recipes.py`: {len(pairs)} interleaved pairs with different seeds, on JPEG copies of CIFAR-10's
images in its layout (SHA-256 of the batches {one["dataset"]["sha256"][:12]}…), {one["dataset"]["train"]:,} to train on
and {one["dataset"]["test"]:,} to test with. TensorFlow {one["framework"]["tensorflow"]} on {os.cpu_count()} cores of
{processor()}; guide in {one["precision"]}, fast in {pairs[0].fast["precision"]}. Other work kept {others:.2f} cores
busy on average.

**The fast recipe reaches what the guide's ends with in 1/{1 / ratio:.1f} of its time, and ends
{abs(gain) * 100:.1f} points {"above" if gain > 0 else "below"} it (medians of the pairs).**

![Test accuracy over time, both recipes]({picture})

| seed | guide, accuracy | fast, accuracy | guide, time | fast, time to that | ratio | processor time | whole command |
|---|---|---|---|---|---|---|---|
{chr(10).join(rows)}

Times are from the first preparation to the end of an epoch's test, compilation and every test included. The ratio of
processor time is of all of both trainings; that of the whole command has the start of Python and the reading of the
images in it as well.

The curves, means over the pairs:

| recipe | epoch | time | loss | test loss | test accuracy |
|---|---|---|---|---|---|
{chr(10).join(curves)}
"""


def mean(rows: tuple[dict[str, float], ...], key: str) -> float:
    return statistics.mean(row[key] for row in rows)


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    return next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.machine())


def draw(pairs: list[Pair], path: Path) -> None:
    """Test accuracy over time: a thin line for each training, the guide's end as a level."""
    pyplot.rcParams.update({"svg.hashsalt": "cifar10", "svg.fonttype": "none", "font.size": 10})
    figure, axes = pyplot.subplots(figsize=(7.2, 3.6), layout="constrained")
    for pair in pairs:
        for recipe in RECIPES:
            history = getattr(pair, recipe)["history"]
            label = f"{recipe}, {len(pairs)} seeds" if pair is pairs[0] else None
            times, accuracies = ([row[key] for row in history] for key in ("elapsed", "val_accuracy"))
            axes.plot(times, accuracies, "o-", color=COLORS[recipe], markersize=2.5, linewidth=1, label=label)
    level = statistics.median(pair.guide["accuracy"] for pair in pairs)
    axes.axhline(level, color=COLORS["guide"], linestyle=":", linewidth=1)
    axes.set(xlabel="seconds since the training began", ylabel="test accuracy", xlim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    pyplot.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--records", type=Path, default=Path(".cache/bench-cifar10"), help="where results are kept")
    parser.add_argument("--lock", type=Path, help="a file to lock for each pair, where others measure as well")
    parser.add_argument("--output", type=Path, default=Path("docs/bench-cifar10.md"))
    options = parser.parse_args()
    options.records.mkdir(parents=True, exist_ok=True)
    picture = options.output.with_suffix(".svg")
    pairs: list[Pair] = []
    for seed in range(1, options.pairs + 1):
        pairs.append(train_pair(options, seed=seed))
        # After each pair, so that a run that is stopped leaves what it found.
        draw(pairs, picture)
        options.output.write_text(page(pairs, picture=picture.name), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
