# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell which GPUs a machine should have and has not, so that no proof is made of those that are left.

A plan counts what is there. What was there is known from the last proof, and what should be from the inventory, whose
`cifar10_gpus` has the last word: it is the way out for a card that was taken out on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_model import is_set

# The errors of gpu_info after which a GPU computes no more, and which no role puts right.
GONE = ("gpu_lost", "gpu_unreadable")
NOT_HERE = ("lost", "unreadable", "passed_through")


def missing_gpus(
    plan: Mapping[str, Any], stack: Mapping[str, Any], inputs: Mapping[str, Any], gpu: Mapping[str, Any]
) -> list[str]:
    """Return a sentence for each reason why the machine has fewer GPUs than it should; none when it has them all.

    The arguments are those of :func:`drift.compare`. A GPU that was given to a virtual machine is in the machine, and
    one that the driver does not drive yet may be driven once the roles have done their work.
    """
    serving = [card for card in gpu["gpus"] if card.get("state") not in NOT_HERE]
    stated: Any = inputs.get("cifar10_gpus")
    if is_set(stated) and len(serving) >= int(stated):
        return []
    reasons = [f"{item['message']} {item['remedy']}" for item in gpu["findings"] if item["code"] in GONE]
    if is_set(stated):
        reasons.append(f"The inventory states cifar10_gpus: {stated}, and {len(serving)} can compute.")
    return reasons + _since_the_proof(plan, stack, gpu)


def _since_the_proof(plan: Mapping[str, Any], stack: Mapping[str, Any], gpu: Mapping[str, Any]) -> list[str]:
    """Say so when the machine was proved, or was to be, with more GPUs than are on its bus."""
    receipt = stack["components"].get("cifar10")
    if receipt is None:
        return []
    cards = gpu["gpus"]
    planned, then = plan["components"]["cifar10"]["cifar10_gpus"], receipt["inputs"].get("cifar10_gpus", 0)
    recorded = (receipt["details"].get("stack") or {}).get("gpus", [])
    if planned >= then or len(cards) >= max(then, len(recorded)):
        return []
    uuids = {card["uuid"] for card in cards if card.get("uuid")}
    slots = {card["pci_address"] for card in cards if not card.get("uuid")}  # of those that no driver tells apart
    gone = []
    for card in recorded:
        uuid, _at, slot = card.partition(" at ")
        if uuid not in uuids and slot not in slots:
            gone.append(card)
    named = f": {', '.join(gone)} left the PCI bus" if gone else ""
    proved = f"It was last proved with {then} GPU{'s' if then > 1 else ''} and has {len(cards)}{named}."
    way_out = f"where a card was taken out on purpose, set cifar10_gpus: {planned} for this machine."
    return [f"{proved} Look at seating, power and cooling; {way_out}"]
