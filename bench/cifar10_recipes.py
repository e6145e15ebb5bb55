# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the trainer's two recipes on real images: guide and fast in turn, a pair for each seed.

  python bench/cifar10_recipes.py --python PYTHON --dataset PATH [--pairs 5] [--lock FILE] [--output MARKDOWN]

PYTHON is one with TensorFlow, PATH the CIFAR-10 python layout. Which recipe goes first changes with every pair. Times
are of the training alone: without the start of Python and the reading of the images, with compilation and every test.
On a machine with other work the processor time says more than the time by the clock; both are given.
Pairs that an earlier run left in --records are kept, so a run can go on where one was stopped.
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
from contextlib import nullcontext
from pathlib import Path

TRAINER = Path(__file__).parents[1] / "roles" / "cifar10" / "files" / "cifar10_train.py"
RECIPES = ("guide", "fast")


def train_pair(options: argparse.Namespace, *, seed: int) -> dict[str, dict]:
    """Both recipes one after the other, alone if there is a lock to wait for."""
    records = {recipe: options.records / f"{recipe}-{seed}.json" for recipe in RECIPES}
    if not all(record.exists() for record in records.values()):
        with options.lock.open("a") if options.lock else nullcontext() as lock:
            if lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
            for recipe in RECIPES if seed % 2 else RECIPES[::-1]:
                command = [options.python, TRAINER, "--dataset", options.dataset, "--recipe", recipe]
                subprocess.run([*command, "--seed", str(seed), "--result", records[recipe]], check=True)
    return {recipe: json.loads(record.read_text(encoding="utf-8")) for recipe, record in records.items()}


def page(pairs: list[dict[str, dict]], *, load: float) -> str:
    """The page of figures, as Markdown."""

    def ratio(key: str) -> float:
        return statistics.median(pair["guide"][key] / pair["fast"][key] for pair in pairs)

    def row(seed: int, pair: dict[str, dict]) -> str:
        cells = [f"{pair[recipe]['accuracy']:.4f}" for recipe in RECIPES]
        for key in ("seconds_training", "cpu_seconds_training"):
            guide, fast = (pair[recipe][key] for recipe in RECIPES)
            cells += [f"{guide:.0f} s", f"{fast:.0f} s", f"{guide / fast:.1f}"]
        return f"| {seed} | " + " | ".join(cells) + " |"

    def curve(recipe: str) -> list[str]:
        epochs = zip(*(pair[recipe]["history"] for pair in pairs))
        return [
            f"| {recipe} | {number} | {statistics.mean(epoch['val_accuracy'] for epoch in same):.4f} "
            f"| {statistics.mean(epoch['val_loss'] for epoch in same):.3f} |"
            for number, same in enumerate(epochs, 1)
        ]

    one = pairs[0]["guide"]
    lines = [
        "# The two recipes of the CIFAR-10 trainer",
        "",
        f"Written by `bench/cifar10_recipes.py`. {len(pairs)} pairs on {one['dataset']['name']}, "
        f"{one['dataset']['train']:,} images to train on and {one['dataset']['test']:,} to test with; "
        f"TensorFlow {one['framework']['tensorflow']}, {platform.machine()}, {os.cpu_count()} cores; "
        f"the machine's load was {load:.1f} at the end.",
        "",
        f"**The fast recipe took 1/{ratio('cpu_seconds_training'):.1f} of the guide's processor time and "
        f"1/{ratio('seconds_training'):.1f} of its time by the clock (medians of the pairs).**",
        "",
        "| seed | guide, accuracy | fast, accuracy | guide, clock | fast, clock | ratio | guide, processor "
        "| fast, processor | ratio |",
        "|---|---|---|---|---|---|---|---|---|",
        *(row(seed, pair) for seed, pair in enumerate(pairs, 1)),
        "",
        "Curves, means over the pairs:",
        "",
        "| recipe | epoch | test accuracy | test loss |",
        "|---|---|---|---|",
        *(line for recipe in RECIPES for line in curve(recipe)),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--records", type=Path, default=Path(".cache/bench-cifar10"), help="where results are kept")
    parser.add_argument("--lock", type=Path, help="a file to lock for each training, where others measure as well")
    parser.add_argument("--output", type=Path, default=Path("docs/bench-cifar10.md"))
    options = parser.parse_args()
    options.records.mkdir(parents=True, exist_ok=True)
    pairs = []
    for seed in range(1, options.pairs + 1):
        pairs.append(train_pair(options, seed=seed))
        # After each pair, so that a run that is stopped leaves what it found.
        options.output.write_text(page(pairs, load=os.getloadavg()[0]), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
