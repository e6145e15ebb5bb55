# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One machine's record, made ready to be shown: how it stands, what a person must do, what was not checked.

Pure. A record may end early (a machine that did not answer has little more than a name), so every part may be missing.
"""

from __future__ import annotations

from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.report_series import history, telemetry

Record = dict[str, Any]

# From the worst to the best: the order in which people want to read them.
STATUSES = (
    "failed",
    "unreachable",
    "rolled back",
    "refused",
    "skipped",
    "drifted",
    "not checked",
    "converged",
    "as planned",
    "proved",
)
# What is said of a proof beside its figures.
PROOF = ("passed", "finished", "dataset", "recipe", "epochs", "batch_size", "precision")
# A person must act on these before the machine is a workstation.
NEED_A_PERSON = ("failed", "unreachable", "rolled back", "refused")


def machine_view(record: Record, *, points: int) -> Record:
    """What the page and the table show of ``record``; ``points`` is how many samples a telemetry chart keeps."""
    proof = record.get("proof") or {}
    checks = proof.get("checks") or []
    return {
        "host": str(record.get("host") or "a machine without a name"),
        "status": status(record),
        "skipped": str(record.get("skipped") or ""),
        "actions": actions(record),
        "not_checked": not_checked(record),
        "system": system_line(record),
        "gpus": gpu_line(record),
        "stack": stack_line(record.get("plan")),
        "changed": list(record.get("converged") or []),
        "drift": [item for item in record.get("drift") or [] if item.get("drifted")],
        "checks": checks,
        "accuracy": proof.get("accuracy"),
        "images_per_s": proof.get("images_per_s"),
        "expected": proof.get("expected"),
        "proof": {name: proof.get(name) for name in PROOF},
        "history": history(proof.get("history") or []),
        "telemetry": telemetry(proof.get("telemetry") or {}, points=points),
        "timings": {name: seconds for name, seconds in (record.get("timings") or {}).items() if seconds},
        "turn": record.get("turn"),
        "facts": facts(record),
    }


def status(record: Record) -> str:
    """The one word a machine's run comes down to."""
    failed, plan, proof = (record.get(name) or {} for name in ("failed", "plan", "proof"))
    answers = (
        ("unreachable", bool(record.get("unreachable"))),
        ("refused", bool(plan.get("refusal"))),
        ("rolled back", bool(record.get("rolled_back"))),
        ("failed", bool(failed)),
        ("failed", proof.get("passed") is False),
        ("not checked", not plan),
        ("skipped", bool(record.get("skipped"))),
        ("proved", proof.get("passed") is True and bool(record.get("proved_now"))),
        ("converged", bool(record.get("converged"))),
        ("drifted", any(item.get("drifted") for item in record.get("drift") or [])),
    )
    return next((word for word, holds in answers if holds), "as planned")


def actions(record: Record) -> list[Record]:
    """What a person must do (level ``act``) or had better look at (level ``look``), the most pressing first.

    Each has ``what`` is the matter, the ``remedy`` where one is known, and ``where`` in the run it was seen.
    """
    failed, plan, proof, gpu = (record.get(name) or {} for name in ("failed", "plan", "proof", "gpu"))
    found: list[Record] = []

    def add(level: str, what: object, remedy: object = "", where: object = "") -> None:
        found.append({"level": level, "what": _sentence(str(what)), "remedy": str(remedy), "where": str(where)})

    broken = [check for check in proof.get("checks") or [] if check.get("status") == "failed"]
    explained = bool(broken and record.get("proved_now"))  # a failed check is why the task after it failed
    if record.get("unreachable"):
        add("act", failed.get("message") or "The machine did not answer.", UNREACHABLE_REMEDY)
    elif refusal := plan.get("refusal"):
        advice = "; or ".join(str(near.get("advice")) for near in refusal.get("nearest") or [] if near.get("advice"))
        add("act", refusal.get("message"), advice and f"What would work: {advice}.")
    elif failed and not explained:
        add("act", failed.get("message") or "It failed without a message.", where=failed.get("task") or "")
    # What an earlier proof found is behind whatever is the matter now.
    level, of_when = ("act", "") if not found else ("look", f" of the proof of {str(proof.get('finished'))[:10]}")
    for check in broken:
        add(level, check.get("detail"), where=f"check {check.get('name')}{of_when}")
    for finding in gpu.get("findings") or []:
        if finding.get("severity") in ("error", "warning"):
            # What a successful run left behind is worth a look; only an error beside a failure is why it failed.
            level = "act" if found and finding["severity"] == "error" else "look"
            add(level, finding.get("message"), finding.get("remedy") or "")
    if record.get("waits"):
        add("look", "The driver waits for a restart.", f"{RESTART} Then run again to prove it.")
    elif gpu.get("reboot_pending"):
        add("look", "A restart is pending.", RESTART)
    return found


def _sentence(text: str) -> str:
    """Messages of tools end anyhow; beside a remedy they must end as a sentence does."""
    text = text.strip()
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


RESTART = "Restart the machine when nobody uses it."
UNREACHABLE_REMEDY = "See that it is switched on and reachable over SSH, then run again for this machine."


def not_checked(record: Record) -> list[Record]:
    """What nobody may take as passed: ``name`` and ``why``."""
    proof = record.get("proof") or {}
    if waits := record.get("waits"):
        return [{"name": "proof", "why": f"Restart pending. {' '.join(waits)}"}]
    if not proof:
        return [{"name": "proof", "why": WHY_NO_PROOF.get(status(record), "No proof was asked for.")}]
    return [
        {"name": check.get("name"), "why": check.get("detail")}
        for check in proof.get("checks") or []
        if check.get("status") == "not_checked"
    ]


WHY_NO_PROOF = {
    "failed": "The run ended before the proof.",
    "unreachable": "The machine did not answer.",
    "refused": "Nothing was installed.",
    "rolled back": "The run ended before the proof.",
    "skipped": "The machine was left for later.",
    "drifted": "Nothing was changed, so there is nothing new to prove.",
    "not checked": "There is no plan for this machine.",
}


def system_line(record: Record) -> str:
    """The machine without its GPUs, on one line."""
    system = record.get("system") or {}
    cpu = system.get("cpu") or {}
    memory = system.get("memory_mib")
    parts = (
        system.get("name"),
        system.get("architecture"),
        cpu.get("cores") and f"{cpu['cores']} cores",
        memory and f"{memory / 1024:.0f} GiB",
    )
    return ", ".join(str(part) for part in parts if part)


def gpu_line(record: Record) -> str:
    """The GPUs, equal ones counted."""
    gpu = record.get("gpu")
    if not gpu:
        return ""
    names = [str(card.get("name") or card.get("chip") or card.get("device_id")) for card in gpu.get("gpus") or []]
    counted = [(names.count(name), name) for name in dict.fromkeys(names)]
    return " + ".join(name if count == 1 else f"{count} × {name}" for count, name in counted) or "no NVIDIA GPU"


def stack_line(plan: Record | None) -> str:
    """The planned stack on one line: what people call it when they compare machines."""
    stack = (plan or {}).get("stack") or {}
    tensorflow, python, driver, cuda, cudnn = (
        stack.get(name) or {} for name in ("tensorflow", "python", "driver", "cuda", "cudnn")
    )
    build = " CPU" if tensorflow.get("build") == "cpu" else ""
    parts = (
        tensorflow.get("version") and f"TensorFlow {tensorflow['version']}{build}",
        driver.get("branch") and f"driver {driver['branch']} {driver.get('modules') or ''}".rstrip(),
        python.get("version") and f"Python {python['version']}",
        cuda.get("version") and f"CUDA {cuda['version']}",
        cudnn.get("version") and f"cuDNN {cudnn['version']}",
    )
    return " · ".join(part for part in parts if part)


def facts(record: Record) -> list[list[str]]:
    """The machine as it was found, as rows of label and value."""
    system, gpu = record.get("system") or {}, record.get("gpu") or {}
    driver = gpu.get("driver") or {}
    rows: list[list[Any]] = [
        ["System", system.get("name")],
        ["Kernel", system.get("kernel")],
        ["Processor", (system.get("cpu") or {}).get("model")],
        ["glibc", system.get("glibc")],
        ["Driver", driver.get("loaded") or driver.get("installed") or (gpu and "none")],
        ["Secure Boot", gpu.get("secure_boot")],
        *([f"GPU {card.get('index', '')}".rstrip(), _card(card)] for card in gpu.get("gpus") or []),
        *([f"Other GPU {card.get('pci_address')}", card.get("vendor")] for card in gpu.get("other_gpus") or []),
    ]
    return [[label, str(value)] for label, value in rows if value]


def _card(card: Record) -> str:
    link = card.get("pcie") or {}
    memory = card.get("memory_mib")
    parts = (
        card.get("name") or card.get("chip"),
        card.get("architecture") and str(card["architecture"]).capitalize(),
        card.get("compute_capability") and f"compute capability {card['compute_capability']}",
        memory and f"{memory / 1024:.0f} GiB",
        link.get("generation") and f"PCIe {link['generation']} x{link.get('width')}",
        card.get("pci_address"),
    )
    return ", ".join(str(part) for part in parts if part)
