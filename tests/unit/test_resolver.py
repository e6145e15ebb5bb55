"""The resolver against a table of machines, and what a table does not say well."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.gpulab.workstation.plugins.plugin_utils import resolver_search
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver import resolve
from lab_machines import TODAY, gpu_facts, system_facts

MACHINES = yaml.safe_load((Path(__file__).parent / "resolver_machines.yml").read_text())


def plan(gpus: list[str] | tuple[str, ...] = (), system: str = "ubuntu 24.04", **inputs: Any) -> dict[str, Any]:
    return resolve(gpu=gpu_facts(*gpus), system=system_facts(system), inputs=inputs, today=TODAY)


def case_name(case: dict[str, Any]) -> str:
    asked = " ".join(f"{name}={value}" for name, value in case.get("ask", {}).items())
    parts = [
        "+".join(case.get("gpus", [])) or "no GPU",
        case["system"],
        case.get("arch", ""),
        case.get("working", ""),
        case.get("glibc", ""),
        case.get("kernel", ""),
        f"Windows with {case['windows']}" if "windows" in case else "",
        asked,
    ]
    return ", ".join(part for part in parts if part)


def outcome(found: dict[str, Any]) -> dict[str, Any]:
    """Put a plan into the words of the table."""
    stack, components = found["stack"], found["components"]
    driver, tensorflow, python = stack["driver"], stack["tensorflow"], stack["python"]
    return {
        "tensorflow": f"{tensorflow['version']} {tensorflow['build']} {tensorflow['source']}",
        "driver": f"{driver['branch']} {driver['modules']} {driver['source']}" if driver else "none",
        "driver_version": driver and driver["version"],
        "python": " ".join(part for part in (python["version"], python["path"]) if part),
        "constraints": components["tensorflow"]["tensorflow_constraints"],
        "library_path": components["tensorflow"]["tensorflow_library_path"],
        "cifar10_gpus": components["cifar10"]["cifar10_gpus"],
        "cuda": components.get("cuda", {}).get("cuda_version"),
        "cudnn": components.get("cudnn", {}).get("cudnn_version"),
        "conda": stack["conda"] and f"{stack['conda']['distribution']} {stack['conda']['version']}",
        "warns": sorted(entry["code"] for entry in found["warnings"]),
    }


@pytest.mark.parametrize("case", MACHINES, ids=case_name)
def test_a_machine_gets_the_stack_of_the_table(case: dict[str, Any]) -> None:
    version, _space, modules = case.get("working", "").partition(" ")
    gpu = gpu_facts(*case.get("gpus", ()), driver=version or None, **({"modules": modules} if modules else {}))
    if "windows" in case:
        gpu["platform"]["wsl"], gpu["driver"]["cuda"] = True, case["windows"]
    own = {name: case[name] for name in ("glibc", "kernel") if name in case}
    system = system_facts(case["system"], architecture=case.get("arch", "x86_64"), **own)
    found = resolve(gpu=gpu, system=system, inputs=case.get("ask", {}), today=TODAY)
    if "refused" in case:
        assert found["refusal"], f"resolved to {found['stack']}"
        first, second = found["refusal"]["conflict"]
        assert case["refused"][0] in first
        assert case["refused"][1] in second
        advice = [offer["advice"] for offer in found["refusal"]["nearest"]]
        assert case.get("nearest", "") in (advice[0] if advice else ""), advice
        return
    assert found["refusal"] is None, found["refusal"]
    asked = ("gpus", "system", "arch", "working", "ask", "glibc", "kernel", "windows")
    expected = {name: value for name, value in case.items() if name not in asked}
    expected["warns"] = sorted(expected.get("warns", outcome(found)["warns"]))
    got = outcome(found)
    assert {name: got[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        (name, rule)
        for name in ("TENSORFLOW_RULES", "DRIVER_RULES", "PAIR_RULES", "TOOLKIT_RULES", "CUDNN_RULES")
        for rule in getattr(resolver_search, name)
    ],
)
def test_without_any_one_of_the_rules_a_line_of_the_table_fails(
    monkeypatch: pytest.MonkeyPatch, rules: str, rule: Callable[..., Any]
) -> None:
    others = tuple(other for other in getattr(resolver_search, rules) if other is not rule)
    monkeypatch.setattr(resolver_search, rules, others)

    def fails(case: dict[str, Any]) -> bool:
        try:
            test_a_machine_gets_the_stack_of_the_table(case)
        except (AssertionError, KeyError):
            return True
        return False

    assert any(fails(case) for case in MACHINES)


def test_the_table_is_as_large_as_promised() -> None:
    assert len(MACHINES) >= 80
    assert len({case_name(case) for case in MACHINES}) == len(MACHINES)


def test_a_venv_takes_the_distributions_interpreter_before_a_newer_one_elsewhere() -> None:
    pythons = {"/usr/local/bin/python3.13": "3.13.1", "/usr/bin/python3.11": "3.11.2", "/usr/bin/python3.12": "3.12.3"}
    found = resolve(
        gpu=gpu_facts(),
        system=system_facts("debian 12", pythons=pythons),
        inputs={"tensorflow_env_manager": "venv"},
        today=TODAY,
    )
    assert found["stack"]["python"] == {"version": "3.12", "path": "/usr/bin/python3.12"}
    assert "The system's newest interpreter" in next(
        r["reason"] for r in found["reasons"] if r["component"] == "python"
    )
    assert found["components"]["os_prep"]["os_prep_python"] == "/usr/bin/python3.12", "whose venv has to be there"


@pytest.mark.parametrize("home", ["/root/pythons/3.12/bin", "/home/ada/.local/bin"])
def test_an_interpreter_in_a_private_home_is_not_for_everybody(home: str) -> None:
    system = system_facts("ubuntu 26.04", pythons={f"{home}/python3.12": "3.12.1", "/usr/bin/python3.14": "3.14.0"})
    found = resolve(gpu=gpu_facts(), system=system, inputs={"tensorflow_env_manager": "venv"}, today=TODAY)
    assert found["refusal"] is not None
    pinned = {"tensorflow_env_manager": "venv", "tensorflow_python": f"{home}/python3.12"}
    refused = resolve(gpu=gpu_facts(), system=system, inputs=pinned, today=TODAY)["refusal"]
    assert "private home" in refused["message"]


def test_a_driver_that_works_is_kept_and_the_reason_says_so() -> None:
    found = resolve(
        gpu=gpu_facts("RTX 4090", driver="580.95.05"), system=system_facts("ubuntu 24.04"), inputs={}, today=TODAY
    )
    assert found["stack"]["driver"]["version"] == "580.95.05"
    assert found["components"]["nvidia_driver"]["nvidia_driver_version"] == ""
    assert "kept" in next(entry["reason"] for entry in found["reasons"] if entry["component"] == "nvidia_driver")


def test_a_second_look_after_the_installation_plans_the_same_components() -> None:
    bare = plan(["RTX 4090"])
    installed = resolve(
        gpu=gpu_facts("RTX 4090", driver="580.178.04"), system=system_facts("ubuntu 24.04"), inputs={}, today=TODAY
    )
    assert installed["components"] == bare["components"]


def test_a_driver_that_no_package_put_there_is_left_alone() -> None:
    gpu = gpu_facts("RTX 4090", driver="580.95.05")
    gpu["driver"]["package"] = None
    found = resolve(gpu=gpu, system=system_facts("ubuntu 24.04"), inputs={}, today=TODAY)
    assert "nvidia_driver" not in found["components"]
    assert found["components"]["os_prep"]["os_prep_kernel_headers"] is False


def test_a_library_of_another_branch_than_the_module_is_not_a_working_driver() -> None:
    gpu = gpu_facts("RTX 4090", driver="550.163.01")
    gpu["driver"]["library"] = "580.178.04"
    found = resolve(gpu=gpu, system=system_facts("ubuntu 24.04"), inputs={}, today=TODAY)
    assert found["stack"]["driver"]["branch"] == "580"
    assert found["stack"]["driver"]["version"] is None


def test_under_wsl_no_driver_is_installed_and_tensorflow_uses_the_gpu() -> None:
    gpu = gpu_facts("RTX 4090", platform={"wsl": True, "container": None, "virtualization": "wsl"})
    found = resolve(gpu=gpu, system=system_facts("ubuntu 24.04"), inputs={}, today=TODAY)
    assert "nvidia_driver" not in found["components"]
    assert found["stack"]["tensorflow"]["build"] == "cuda"


def test_in_a_container_the_hosts_driver_is_used_and_never_changed() -> None:
    gpu = gpu_facts("RTX 4090", driver="580.95.05", platform={"container": "docker", "wsl": False})
    gpu["driver"]["package"] = None
    found = resolve(gpu=gpu, system=system_facts("debian 12"), inputs={}, today=TODAY)
    assert "nvidia_driver" not in found["components"]
    assert "host" in found["reasons"][0]["reason"]


def test_nvswitches_bring_the_fabric_manager() -> None:
    found = resolve(gpu=gpu_facts("H100", nvswitches=4), system=system_facts("ubuntu 24.04"), inputs={}, today=TODAY)
    assert found["components"]["nvidia_driver"]["nvidia_driver_fabric_manager"] is True


@pytest.mark.parametrize(("system", "warned"), [("ubuntu 24.04", False), ("debian 12", True)])
def test_secure_boot_is_a_matter_of_who_signs_the_modules(system: str, warned: bool) -> None:
    gpu = gpu_facts("RTX 4090", secure_boot="enabled")
    found = resolve(gpu=gpu, system=system_facts(system), inputs={}, today=TODAY)
    assert ("secure_boot" in [entry["code"] for entry in found["warnings"]]) is warned


def test_components_come_in_the_order_in_which_the_roles_run() -> None:
    found = plan(["RTX 4090"], cuda_state="present", cudnn_state="present")
    assert list(found["components"]) == [
        "os_prep", "nvidia_driver", "cuda", "cudnn", "anaconda", "tensorflow", "cifar10",
    ]  # fmt: skip


def test_pins_on_cuda_and_cudnn_do_not_bring_a_driver_to_a_machine_without_gpu() -> None:
    found = plan(nvidia_driver_branch="580", nvidia_driver_modules="open")
    assert "nvidia_driver" not in found["components"]


def test_what_the_inventory_settles_is_kept_beside_what_the_plan_decides() -> None:
    found = plan(
        ["V100"], tensorflow_constraints=["pandas<3"], tensorflow_library_path=True, os_prep_kernel_headers=False
    )
    assert found["components"]["tensorflow"]["tensorflow_constraints"] == ["nvidia-cudnn-cu12<9.11", "pandas<3"]
    assert found["components"]["tensorflow"]["tensorflow_library_path"] is True
    assert found["components"]["os_prep"]["os_prep_kernel_headers"] is False


def test_auto_empty_and_absent_are_the_same_request() -> None:
    plain = plan(["RTX 4090"])
    assert plan(["RTX 4090"], tensorflow_version="auto", nvidia_driver_branch="", tensorflow_python=None) == plain


def test_a_value_that_an_input_does_not_have_is_refused_with_those_it_has() -> None:
    refused = plan(tensorflow_env_manager="poetry")["refusal"]
    assert "conda or venv" in refused["message"]


@pytest.mark.parametrize(
    ("gpus", "inputs", "words"),
    [
        (["RTX 4090"], {}, "finds its CUDA libraries by itself and has code for RTX 4090"),
        (["A100", "GTX 970"], {}, "2.21.0 from pip has no code for GTX 970"),
        (["A100", "RTX 5090"], {}, "conda-forge's build fits; the wheels on PyPI up to 2.21.0 fail on RTX 5090"),
        (["V100"], {"tensorflow_source": "conda-forge"}, "asks for conda-forge"),
        (["K80"], {"tensorflow_build": "cuda"}, "2.21.0 from pip has no code for K80"),
        (["RTX 4090"], {"cudnn_version": "8.9"}, "built for cuDNN 9.3, and cuDNN 8.9.6 does not stand in for it"),
        ([], {"tensorflow_source": "conda-forge"}, "The newest from conda-forge for Python 3.12"),
    ],
)
def test_the_reason_for_a_tensorflow_is_what_decided(gpus: list[str], inputs: dict[str, Any], words: str) -> None:
    reasons = {entry["component"]: entry["reason"] for entry in plan(gpus, **inputs)["reasons"]}
    assert words in reasons["tensorflow"]
    assert ". " not in reasons["tensorflow"]


def test_every_choice_has_a_reason_in_one_sentence() -> None:
    for entry in plan(["V100"], "debian 12", cuda_state="present", cudnn_state="present")["reasons"]:
        assert entry["reason"].endswith(".")
        assert ". " not in entry["reason"]


def test_what_was_passed_over_says_why() -> None:
    rejected = {entry["candidate"]: entry["reason"] for entry in plan(["RTX 5090"])["rejected"]}
    assert "INVALID_PTX" in rejected["TensorFlow 2.21.0 from pip"]


def test_an_end_of_life_is_a_warning_with_its_date() -> None:
    messages = [
        entry["message"] for entry in plan(["RTX 4090"], "debian 12", nvidia_driver_source="distribution")["warnings"]
    ]
    assert any("2026-07-11" in message for message in messages)
    assert any("535" in message and "2026-06-01" in message for message in messages)
