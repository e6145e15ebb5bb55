# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is drawn as a chart: columns of numbers, no more of them than a chart can show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

HISTORY = ("epoch", "accuracy", "val_accuracy", "loss", "val_loss")
TELEMETRY = ("utilization", "power_w", "temperature_c")


def history(epochs: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """The training's epochs as columns; empty where there was no training."""
    return {name: [_number(epoch.get(name)) for epoch in epochs] for name in HISTORY} if epochs else {}


def telemetry(found: dict[str, Any], *, points: int) -> dict[str, Any]:
    """The GPUs' series, thinned to at most ``points`` samples, with the window that the checks looked at (seconds)."""
    if not found.get("gpus"):
        return {}
    window = found.get("window") or {}
    start, end = _number(window.get("start")), _number(window.get("end"))
    return {
        "window": None if start is None or end is None else {"start": start, "end": end},
        "gpus": [_gpu(gpu, points) for gpu in found["gpus"]],
    }


def _gpu(gpu: dict[str, Any], points: int) -> dict[str, Any]:
    series = gpu.get("series") or {}
    return {
        **{name: gpu.get(name) for name in ("index", "name", "window", "throttled")},
        "series": {name: thinned(series.get(name) or [], points) for name in ("t", *TELEMETRY)},
    }


def thinned(values: Sequence[Any], points: int) -> list[float | None]:
    """At most ``points`` means of neighbours: a mean keeps what a gate on the mean has seen, a pick would not."""
    step = max(1, math.ceil(len(values) / points))
    return [_mean(values[start : start + step]) for start in range(0, len(values), step)]


def _mean(values: Sequence[Any]) -> float | None:
    numbers = [number for number in map(_number, values) if number is not None]
    return round(sum(numbers) / len(numbers), 2) if numbers else None


def _number(value: Any) -> float | None:
    """``value`` where it can be drawn: JSON has no NaN, and a chart no place for infinity."""
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None
