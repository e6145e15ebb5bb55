"""What must hold for every machine and every request; the rules are written here a second time, from the facts."""

from __future__ import annotations

import copy
import json
from datetime import date
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver import resolve
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lab_machines import GPU_NAMES, SUPPORTED, TODAY, gpu_facts, system_facts

SYSTEMS = (*SUPPORTED, "rocky 8", "centos 7", "ubuntu 20.04", "fedora 44")
OLD = ("maxwell", "pascal", "volta")
LEGACY = ("fermi", "kepler")
# First and last Python with a wheel, by minor release of TensorFlow.
PYTHONS = {
    10: (7, 10), 11: (7, 10), 12: (8, 11), 13: (8, 11), 14: (9, 11), 15: (9, 11),
    16: (9, 12), 17: (9, 12), 18: (9, 12), 19: (9, 12), 20: (9, 13), 21: (10, 13),
}  # fmt: skip
NEWEST_GCC = {"11.7": 11, "11.8": 11, "12.0": 12, "12.3": 12, "12.4": 13, "12.6": 13, "12.8": 14, "12.9": 14}

pins = st.fixed_dictionaries(
    {},
    optional={
        "tensorflow_version": st.sampled_from(["2.21.0", "2.20", "2.19", "2.18.0", "2.16.1", "2.14.1", "2.12", "2.99"]),
        "tensorflow_source": st.sampled_from(["pip", "conda-forge"]),
        "tensorflow_build": st.sampled_from(["cpu", "cuda"]),
        "tensorflow_env_manager": st.sampled_from(["conda", "venv", "auto"]),
        "tensorflow_python_version": st.sampled_from(["3.6", "3.9", "3.11", "3.12", "3.13", "3.14"]),
        "tensorflow_python": st.sampled_from(["/usr/bin/python3.12", "/usr/bin/python3.13"]),
        "nvidia_driver_branch": st.sampled_from(["470", "535", "570", "580", "595", "615"]),
        "nvidia_driver_modules": st.sampled_from(["open", "proprietary"]),
        "nvidia_driver_source": st.sampled_from(["distribution", "nvidia"]),
        "nvidia_driver_state": st.sampled_from(["present", "absent"]),
        "cuda_version": st.sampled_from(["auto", "11.8", "12.4", "12.8", "12.9.1", "13.0"]),
        "cuda_state": st.sampled_from(["present", "absent"]),
        "cudnn_version": st.sampled_from(["8.9", "9.10", "9.17"]),
    },
)
gpu_sets = st.lists(st.sampled_from(GPU_NAMES), max_size=4)
drivers = st.sampled_from([None, "470.256.02", "535.261.03", "550.163.01", "565.57.01", "580.95.05", "620.10.01"])


@st.composite
def machines(draw: st.DrawFn, *, systems: tuple[str, ...] = SYSTEMS) -> dict[str, Any]:
    """Draw the arguments of resolve(), less the inputs."""
    pythons = {f"/usr/bin/python3.{minor}": f"3.{minor}.1" for minor in draw(st.sets(st.integers(8, 14), min_size=1))}
    pythons |= {"/root/pythons/3.12/bin/python3.12": "3.12.1"} if draw(st.booleans()) else {}
    return {
        "gpu": gpu_facts(
            *draw(gpu_sets),
            driver=draw(drivers),
            modules=draw(st.sampled_from(["open", "proprietary"])),
            nvswitches=draw(st.sampled_from([0, 4])),
            secure_boot=draw(st.sampled_from(["enabled", "disabled", None])),
        ),
        "system": system_facts(
            draw(st.sampled_from(systems)),
            pythons=pythons,
            architecture=draw(st.sampled_from(["x86_64", "x86_64", "x86_64", "aarch64"])),
        ),
    }


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def modern(gpu: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in gpu["gpus"] if entry["architecture"] not in LEGACY]


def used(plan: dict[str, Any], gpu: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the GPUs that TensorFlow is to use: those that the data knows, or legacy ones where all are."""
    if plan["stack"]["tensorflow"]["build"] == "cpu":
        return []
    known = [entry for entry in modern(gpu) if entry["architecture"] not in ("rubin", None)]
    return known if modern(gpu) else gpu["gpus"]


def has_old(gpus: list[dict[str, Any]]) -> bool:
    return any(entry["architecture"] in (*OLD, *LEGACY) for entry in gpus)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(machine=machines(), inputs=pins)
def test_no_plan_ever_breaks_a_rule(machine: dict[str, Any], inputs: dict[str, Any]) -> None:
    before = copy.deepcopy((machine, inputs))
    plan = resolve(**machine, inputs=inputs, today=TODAY)
    assert (machine, inputs) == before
    assert json.loads(json.dumps(plan)) == plan
    if plan["refusal"]:
        assert plan["stack"] is None
        assert plan["components"] == {}
        assert len(plan["refusal"]["conflict"]) == 2
        assert plan["refusal"]["message"].endswith(".")
        return
    assert machine["system"]["name"] in SUPPORTED
    check_tensorflow(plan, machine)
    check_python(plan, machine)
    check_driver(plan, machine)
    check_cuda_and_cudnn(plan, machine)
    check_pins(plan, inputs)


def check_tensorflow(plan: dict[str, Any], machine: dict[str, Any]) -> None:
    tensorflow, gpus = plan["stack"]["tensorflow"], used(plan, machine["gpu"])
    release = numbers(tensorflow["version"])
    from_pip = tensorflow["source"] == "pip"
    if machine["system"]["architecture"] == "aarch64":
        assert tensorflow["build"] == "cpu"
    if from_pip and release >= (2, 21):
        assert numbers(machine["system"]["glibc"]) >= (2, 27)
    if not from_pip:
        assert plan["components"]["tensorflow"]["tensorflow_env_manager"] == "conda"
    if tensorflow["build"] == "cpu":
        assert tensorflow["library_path"] is False
        assert plan["components"]["cifar10"]["cifar10_gpus"] == 0
        return
    assert plan["components"]["cifar10"]["cifar10_gpus"] == len(gpus)
    architectures = {entry["architecture"] for entry in gpus}
    assert not (from_pip and "blackwell" in architectures)
    assert not ("maxwell" in architectures and (release >= (2, 17) or not from_pip))
    assert not ("kepler" in architectures and release >= (2, 15))
    assert not ({"fermi", "rubin", None} & architectures)
    if from_pip and tensorflow["version"] in ("2.16.1", "2.21.0"):
        assert tensorflow["library_path"] is True
    if has_old(gpus) and (not from_pip or release >= (2, 20)):
        assert any(constraint.endswith("<9.11") for constraint in tensorflow["constraints"])


def check_python(plan: dict[str, Any], machine: dict[str, Any]) -> None:
    tensorflow, python = plan["stack"]["tensorflow"], plan["stack"]["python"]
    first, last = PYTHONS[numbers(tensorflow["version"])[1]]
    if tensorflow["source"] == "conda-forge":
        last = 12
    assert first <= numbers(python["version"])[1] <= last
    if plan["components"]["tensorflow"]["tensorflow_env_manager"] == "venv":
        there = {entry["path"]: entry["version"] for entry in machine["system"]["pythons"]}
        assert there[python["path"]].startswith(f"{python['version']}.")
        assert not python["path"].startswith(("/root/", "/home/"))
        assert "anaconda" not in plan["components"]
    else:
        assert python["path"] is None
        assert "anaconda" in plan["components"]


def check_driver(plan: dict[str, Any], machine: dict[str, Any]) -> None:
    driver, tensorflow = plan["stack"]["driver"], plan["stack"]["tensorflow"]
    if driver is None:
        assert "nvidia_driver" not in plan["components"]
        return
    branch = int(driver["branch"])
    for entry in modern(machine["gpu"]) or machine["gpu"]["gpus"]:
        assert entry["kernel_modules"] in (driver["modules"], "either", None)
        if entry["architecture"] in OLD:
            assert branch <= 580
        if entry["architecture"] == "kepler":
            assert branch <= 470
        if entry["architecture"] == "blackwell":
            assert branch >= 570
        if entry["device_id"] == "0x2c09":
            assert branch >= 615
    assert driver["modules"] == "open" or branch < 615
    assert driver["modules"] == "proprietary" or branch >= 515
    if tensorflow["build"] == "cuda":
        assert branch >= (525 if numbers(tensorflow["version"]) >= (2, 15) else 450)
    if machine["system"]["id"] in ("rocky", "rhel", "centos") and driver["version"] is None:
        assert driver["source"] == "nvidia"


def check_cuda_and_cudnn(plan: dict[str, Any], machine: dict[str, Any]) -> None:
    # Also where no driver is wanted, or no GPU is used by TensorFlow.
    gpus = used(plan, machine["gpu"]) or modern(machine["gpu"])
    cuda = plan["components"].get("cuda")
    if cuda:
        toolkit = numbers(cuda["cuda_version"])
        assert not (toolkit >= (13,) and has_old(gpus))
        assert not (toolkit < (12, 8) and any(entry["architecture"] == "blackwell" for entry in gpus))
        assert not (toolkit < (12, 9) and any(entry["compute_capability"] == "10.3" for entry in gpus))
        limit = NEWEST_GCC.get(".".join(str(part) for part in toolkit[:2]))
        if limit and cuda["cuda_source"] == "nvidia":
            assert numbers(machine["system"]["gcc"])[0] <= limit
    cudnn = plan["components"].get("cudnn")
    if cudnn:
        assert not (numbers(cudnn["cudnn_version"]) >= (9, 11) and has_old(gpus))
        if plan["stack"]["tensorflow"]["build"] == "cuda":
            wants = 9 if numbers(plan["stack"]["tensorflow"]["version"]) >= (2, 18) else 8
            assert numbers(cudnn["cudnn_version"])[0] == wants


def check_pins(plan: dict[str, Any], inputs: dict[str, Any]) -> None:
    decided = {name: value for component in plan["components"].values() for name, value in component.items()}
    for name, pin in inputs.items():
        if name in decided and pin != "auto":
            assert str(decided[name]) == pin or str(decided[name]).startswith(f"{pin}.")
    for component in ("cuda", "cudnn"):
        if inputs.get(f"{component}_state") == "absent":
            assert component not in plan["components"]
    if inputs.get("nvidia_driver_state") == "absent":
        assert "nvidia_driver" not in plan["components"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(machine=machines(systems=SUPPORTED))
def test_auto_never_refuses_a_supported_machine(machine: dict[str, Any]) -> None:
    needed = {entry["kernel_modules"] or "open" for entry in modern(machine["gpu"])}
    assume(not {"open", "proprietary"} <= needed)
    # A GPU that a branch is too new for, beside one that it is too old for, has no common driver either.
    assume(not (needed >= {"proprietary"} and any(entry["architecture"] is None for entry in modern(machine["gpu"]))))
    plan = resolve(**machine, inputs={}, today=TODAY)
    assert plan["refusal"] is None, plan["refusal"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(machine=machines(), inputs=pins)
def test_what_a_refusal_offers_does_resolve(machine: dict[str, Any], inputs: dict[str, Any]) -> None:
    refusal = resolve(**machine, inputs=inputs, today=TODAY)["refusal"]
    assume(refusal)
    assert len(refusal["nearest"]) <= 3
    for offer in refusal["nearest"]:
        gpu = machine["gpu"]
        if "gpus" in offer["machine"]:
            kept = [entry for entry in gpu["gpus"] if entry["name"].removeprefix("NVIDIA ") in offer["machine"]["gpus"]]
            assert len(kept) < len(gpu["gpus"])
            gpu = {**gpu, "gpus": kept}
        system = offer["machine"].get("system", machine["system"])
        assert resolve(gpu=gpu, system=system, inputs=offer["inputs"], today=TODAY)["refusal"] is None, offer


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(machine=machines(systems=SUPPORTED), inputs=pins)
def test_a_refusal_on_a_supported_system_always_offers_a_way_out(
    machine: dict[str, Any], inputs: dict[str, Any]
) -> None:
    refusal = resolve(**machine, inputs=inputs, today=TODAY)["refusal"]
    assume(refusal)
    assert refusal["nearest"], refusal


@settings(max_examples=100, deadline=None)
@given(machine=machines(systems=SUPPORTED), day=st.dates(date(2024, 1, 1), date(2036, 1, 1)))
def test_auto_works_on_any_day(machine: dict[str, Any], day: date) -> None:
    today, other = (resolve(**machine, inputs={}, today=when)["refusal"] for when in (TODAY, day))
    assert (today is None) == (other is None)
