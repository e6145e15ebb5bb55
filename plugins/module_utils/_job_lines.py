# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a person sees of a job while it runs: at most a line for a look, and none that says nothing new."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

WORDS = (
    ("loss", "loss %.3f"),
    ("accuracy", "acc %.3f"),
    ("val_accuracy", "test acc %.3f"),
    ("images_per_s", "%.0f images/s"),
)


class Lines:
    """Turns what `watch` returned into the lines to show."""

    def __init__(self) -> None:
        self._speaks = False  # whether the job writes events; its output is shown only if it does not
        self._last = ""

    def of(self, look: Dict[str, Any]) -> List[str]:
        """The new lines: messages, the newest epoch with the GPUs as they are now, or else the output's last line."""
        events = [event for event in look["events"] if event.get("event") == "epoch" or event.get("message")]
        self._speaks = self._speaks or bool(events)
        lines = []
        for event, following in zip(events, [*events[1:], {}]):
            if event.get("event") != "epoch":
                lines.append(str(event["message"]))
            elif following.get("event") != "epoch":  # of several epochs in a row the newest says it all
                lines.append(epoch_line(event, look.get("live")))
        if not self._speaks and look["last_line"]:
            lines.append(look["last_line"])
        fresh = [line for line in lines if line != self._last]
        self._last = fresh[-1] if fresh else self._last
        return fresh


def epoch_line(event: Dict[str, Any], live: Optional[Dict[str, Any]]) -> str:
    """`epoch 4/10  acc 0.610  gpu 0 98 % 61 °C 412 W`, with only what is known."""
    parts = [f"epoch {event.get('epoch', '?')}/{event.get('epochs', '?')}"]
    parts += [words % event[key] for key, words in WORDS if isinstance(event.get(key), (int, float))]
    parts += [gpu_words(gpu) for gpu in (live or {}).get("gpus", [])]
    return "  ".join(parts)


def gpu_words(gpu: Dict[str, Any]) -> str:
    readings = (("utilization", "%.0f %%"), ("temperature_c", "%.0f °C"), ("power_w", "%.0f W"))
    known = [words % gpu[key] for key, words in readings if gpu.get(key) is not None]
    return " ".join([f"gpu {int(gpu['index'])}", *known])
