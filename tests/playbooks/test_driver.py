"""The driver's role on a driver that broke: what it leaves alone, and what it does not put in its place."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._gpu import look
from ansible_collections.gpulab.workstation.plugins.plugin_utils import role_inputs
from support.pci_tree import MachineTree

CHECKOUT = Path(__file__).parents[2]
VERSION = "580.95.05"
INPUTS = role_inputs.defaults("nvidia_driver")
GPU = {"index": 0, "persistence": True, "processes": []}
DRIVER = {
    "installed": VERSION,
    "loaded": VERSION,
    "package": "nvidia-open",
    "module_file": "/lib/modules/k/nvidia.ko",
    "module_flavour": "open",
    "modules": "open",
}


def machine(**changes: Any) -> dict[str, Any]:
    """What the role knows of a machine whose driver is as it left it, but for ``changes`` in gpu_info."""
    gpu = {
        "gpus": [GPU],
        "driver": DRIVER,
        "kernel": {
            "boot_id": "another",
            "running": "k",
            "boots_next": None,
            "installed": ["k"],
            "newer_without_module": [],
        },
        "nouveau": {"loaded": False},
        "platform": {"container": None, "wsl": False},
        "sources": {"nvml": {"answered": True}},
        **changes,
    }
    receipt = {"intact": True, "version": VERSION, "inputs": INPUTS}
    stack = {"components": {"nvidia_driver": receipt}, "system": {"kernel": "k", "family": "debian"}}
    packages = {"version": VERSION, "changed": False, "replaced": False, "previous": "570.1-1"}
    return {"__nvidia_driver_gpu": gpu, "__nvidia_driver_stack": stack, "__nvidia_driver_packages": packages}


def play(folder: Path, variables: dict[str, Any], *tasks: dict[str, Any], collections: Path | None = None) -> str:
    """Run tasks with the role's variables in check mode, which loads no module, and return what was said."""
    playbook = folder / "play.yml"
    role_vars = str(CHECKOUT / "roles" / "nvidia_driver" / "vars" / "main.yml")
    playbook.write_text(
        json.dumps(
            [
                {
                    "hosts": "workstations",
                    "gather_facts": False,
                    "vars": {**INPUTS, **variables},
                    "vars_files": [role_vars],
                    "tasks": tasks,
                }
            ]
        )
    )
    command = ["ansible-playbook", "--check", str(playbook), "-i", "inventories/quickstart"]
    environment = {**os.environ, **({"ANSIBLE_COLLECTIONS_PATH": str(collections)} if collections else {})}
    ran = subprocess.run(
        command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    return ran.stdout


SILENT = {"sources": {"nvml": {"answered": False}}}
UNLOADED = {**SILENT, "driver": {**DRIVER, "loaded": None}}
OLD_ONE_RUNS = {**SILENT, "driver": {**DRIVER, "loaded": "570.1"}}
OTHER_FLAVOUR_RUNS = {"driver": {**DRIVER, "modules": "proprietary"}}


@pytest.mark.parametrize(
    ("changes", "reboot", "as_asked"),
    [
        pytest.param({}, "if_needed", True, id="it serves"),
        pytest.param(UNLOADED, "if_needed", False, id="not loaded"),
        pytest.param(UNLOADED, "never", False, id="not loaded, which needs no restart"),
        pytest.param(OLD_ONE_RUNS, "if_needed", False, id="the one before runs"),
        pytest.param(OLD_ONE_RUNS, "never", True, id="the one before runs and a person restarts"),
        pytest.param(OTHER_FLAVOUR_RUNS, "if_needed", False, id="the other flavour runs"),
        pytest.param(OTHER_FLAVOUR_RUNS, "never", True, id="the other flavour runs and a person restarts"),
        pytest.param({**UNLOADED, "gpus": []}, "if_needed", True, id="an image without a GPU"),
        pytest.param(
            {**UNLOADED, "platform": {"container": "docker", "wsl": False}}, "if_needed", True, id="a container"
        ),
    ],
)
def test_a_driver_is_left_alone_only_where_it_serves(tmp_path, changes, reboot, as_asked):
    variables = machine(**changes)
    inputs = {"nvidia_driver_reboot": reboot}
    variables["__nvidia_driver_stack"]["components"]["nvidia_driver"]["inputs"] = {**INPUTS, **inputs}
    said = play(
        tmp_path,
        {**variables, **inputs},
        {"ansible.builtin.debug": {"msg": "as asked: {{ __nvidia_driver_as_asked | bool }}"}},
    )
    assert f"as asked: {as_asked}" in said, said


def test_a_driver_that_came_up_after_a_restart_is_recorded_before_it_is_left_alone(tmp_path):
    variables = machine()
    variables["__nvidia_driver_stack"]["components"]["nvidia_driver"]["details"] = {"replaced": "570.1-1"}
    tell = {"ansible.builtin.debug": {"msg": "as asked: {{ __nvidia_driver_as_asked | bool }}"}}
    assert "as asked: False" in play(tmp_path, variables, tell)


WORKED = "It has worked before, and is left in its place"
PUT_BACK = "Driver 570.1-1, which was there before, could not be put back either"  # there is none on this machine
FIRST = "There was no driver before this one to go back to"
OLD_RECEIPT = {"intact": False, "version": "570.1"}
OTHER_RECEIPT = {"intact": False, "inputs": {**INPUTS, "nvidia_driver_modules": "proprietary"}}
NO_RECEIPT = {"intact": False, "version": "", "inputs": {}}


@pytest.mark.parametrize(
    ("packages", "receipt", "ending"),
    [
        pytest.param({}, {}, WORKED, id="it served, and broke since"),
        pytest.param({"replaced": True, "changed": True}, {}, PUT_BACK, id="it has just replaced another"),
        pytest.param(
            {}, {"details": {"replaced": "570.1-1"}}, PUT_BACK, id="it replaced another, and waited for a restart"
        ),
        pytest.param({}, OLD_RECEIPT, PUT_BACK, id="a run before was cut off, or failed at the restart"),
        pytest.param({}, OTHER_RECEIPT, PUT_BACK, id="so was one that changed the flavour"),
        pytest.param({}, NO_RECEIPT, PUT_BACK, id="so was one that replaced a driver of somebody else"),
        pytest.param({"changed": True, "previous": None}, NO_RECEIPT, FIRST, id="it is the first one"),
    ],
)
def test_a_driver_that_does_not_come_up_goes_if_it_never_has(tmp_path, packages, receipt, ending):
    variables = machine(**SILENT)
    variables["__nvidia_driver_packages"] |= packages
    variables["__nvidia_driver_stack"]["components"]["nvidia_driver"] |= receipt
    start = {"name": "gpulab.workstation.nvidia_driver", "tasks_from": "start"}
    said = play(tmp_path, variables, {"ansible.builtin.include_role": start})
    assert ending in said, said
    assert "One or more items failed" not in said.rpartition("fatal")[2], "the cause is named"


@pytest.mark.parametrize(
    ("changes", "inputs", "announced"),
    [
        pytest.param(OLD_ONE_RUNS, {}, f"would reboot for driver {VERSION}", id="the one before runs"),
        pytest.param(OTHER_FLAVOUR_RUNS, {}, f"would reboot for driver {VERSION}", id="the other flavour runs"),
        pytest.param(
            OLD_ONE_RUNS,
            {"nvidia_driver_reboot": "never"},
            f"would need a reboot for driver {VERSION}",
            id="the one before runs and a person restarts",
        ),
        pytest.param(
            OLD_ONE_RUNS,
            {"__nvidia_driver_on_controller": True},
            f"would need a reboot for driver {VERSION}",
            id="it is where Ansible runs, which a person restarts",
        ),
        pytest.param(
            {"nouveau": {"loaded": True}, "driver": {"installed": None, "loaded": None, "module_file": None}},
            {},
            f"would reboot for driver {VERSION}",
            id="nouveau runs",
        ),
        pytest.param(
            {"driver": {"installed": "570.1", "loaded": "570.1", "module_file": "/lib/modules/k/nvidia.ko"}},
            {},
            f"would reboot for driver {VERSION}",
            id="another one would be installed",
        ),
        pytest.param({}, {"nvidia_driver_kernel": "k2"}, f"would reboot for driver {VERSION}", id="another kernel"),
        pytest.param(UNLOADED, {}, "", id="not loaded, which needs no restart"),
        pytest.param({**OLD_ONE_RUNS, "gpus": []}, {}, "", id="an image without a GPU"),
        pytest.param({**OLD_ONE_RUNS, "platform": {"container": "docker"}}, {}, "", id="a container"),
    ],
)
def test_check_mode_announces_the_reboot(tmp_path, changes, inputs, announced):
    validate = {"name": "gpulab.workstation.nvidia_driver", "tasks_from": "validate"}
    inputs = {"__nvidia_driver_on_controller": False, **inputs}
    said = play(tmp_path, machine(**changes), {"ansible.builtin.include_role": validate, "vars": inputs})
    assert "failed=0" in said, said
    assert f"changed={int(bool(announced))}" in said, said
    assert announced in said if announced else "reboot for" not in said, said


def start_of(folder: Path, variables: dict[str, Any]) -> str:
    start = {"name": "gpulab.workstation.nvidia_driver", "tasks_from": "start"}
    return play(folder, variables, {"ansible.builtin.include_role": start})


LAPSED = {"gpus": [GPU, {**GPU, "index": 1, "persistence": False}]}
NOT_TOLD = {"gpus": [{**GPU, "persistence": None}]}


@pytest.mark.parametrize(
    ("changes", "inputs", "as_asked"),
    [
        pytest.param(LAPSED, {}, False, id="off"),
        pytest.param(NOT_TOLD, {}, True, id="not told of"),
        pytest.param(LAPSED, {"nvidia_driver_persistence": False}, True, id="off and not asked for"),
    ],
)
def test_persistence_mode_is_on_where_it_is_asked_for(tmp_path, changes, inputs, as_asked):
    variables = machine(**changes)
    variables["__nvidia_driver_stack"]["components"]["nvidia_driver"]["inputs"] = {**INPUTS, **inputs}
    tell = {"ansible.builtin.debug": {"msg": "as asked: {{ __nvidia_driver_as_asked | bool }}"}}
    check = {"name": "gpulab.workstation.nvidia_driver", "tasks_from": "persistence"}
    said = play(tmp_path, {**variables, **inputs}, tell, {"ansible.builtin.include_role": check})
    assert f"as asked: {as_asked}" in said, said
    assert ("persistence mode is off on GPU 1." in said) is not as_asked, said


JOB = {**GPU, "processes": [{"pid": 7, "user": "ada", "name": "train", "kind": "compute"}]}
ENDS_IT = "changing the driver would end train of ada"


@pytest.mark.parametrize(
    ("receipt", "ends_it"),
    [
        pytest.param({"details": {"replaced": "570.1-1"}}, False, id="only to be recorded"),
        pytest.param({"intact": False}, True, id="to be changed"),
    ],
)
def test_a_job_is_in_the_way_only_of_what_would_end_it(tmp_path, receipt, ends_it):
    variables = machine(gpus=[JOB])
    variables["__nvidia_driver_stack"]["components"]["nvidia_driver"] |= receipt
    idle = {"name": "gpulab.workstation.nvidia_driver", "tasks_from": "idle"}
    said = play(tmp_path, variables, {"ansible.builtin.include_role": idle})
    assert (ENDS_IT in said) is ends_it, said


HERE = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@pytest.mark.parametrize(("boot_id", "same"), [(HERE, True), ("another", False)])
@pytest.mark.parametrize("connection", ["local", "ssh"])
def test_the_controller_is_known_however_it_is_reached(tmp_path, boot_id, same, connection):
    variables = machine(kernel={"boot_id": boot_id})
    tell = {"ansible.builtin.debug": {"msg": "on the controller: {{ __nvidia_driver_on_controller }}"}}
    said = play(tmp_path, {**variables, "ansible_connection": connection}, tell)
    assert f"on the controller: {same}" in said, said


BY_HAND = {"driver": {**DRIVER, "package": None}}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        pytest.param(BY_HAND, True, id="of NVIDIA's installer"),
        pytest.param({}, False, id="of packages"),
        pytest.param({**BY_HAND, "platform": {"container": "docker", "wsl": False}}, False, id="of a container's host"),
        pytest.param({**BY_HAND, "platform": {"container": None, "wsl": True}}, False, id="of Windows"),
    ],
)
def test_a_driver_that_no_package_brought_is_not_removed_by_a_reboot(tmp_path, changes, refused):
    absent = {"name": "gpulab.workstation.nvidia_driver", "tasks_from": "absent"}
    said = play(tmp_path, machine(**changes), {"ansible.builtin.include_role": absent})
    assert ("run nvidia-uninstall there, then run this again" in said) is refused, said


NEWER = {"running": "k", "boots_next": None, "installed": ["k", "k2"], "newer_without_module": ["k2"]}
NEWER_UNUSED = {**NEWER, "boots_next": "k"}
NEWEST_HAS_IT = {**NEWER, "installed": ["k", "k2", "k3"]}
REFUSED = "Kernel k2 boots next, and has no module of driver 580.95.05. Reboot into it first, then run this again."


@pytest.mark.parametrize(
    ("kernel", "inputs", "refused"),
    [
        pytest.param(NEWER, {}, True, id="a newer kernel boots next"),
        pytest.param(NEWER_UNUSED, {}, False, id="the boot loader keeps to the running one"),
        pytest.param(NEWEST_HAS_IT, {}, False, id="the newest one has it"),
        pytest.param(NEWER, {"nvidia_driver_kernel": "k"}, False, id="a person says which kernel boots"),
        pytest.param(NEWER, {"nvidia_driver_reboot": "never"}, False, id="a person restarts"),
    ],
)
def test_no_machine_is_rebooted_into_a_kernel_without_the_driver(tmp_path, kernel, inputs, refused):
    said = start_of(tmp_path, {**machine(**OLD_ONE_RUNS, kernel=kernel), **inputs})
    assert (REFUSED in said) is refused, said
    assert (f"needs a reboot for driver {VERSION}" in said) is not refused, said


NEXT = {"running": "k", "boots_next": "k2", "installed": ["k", "k2"], "newer_without_module": []}


@pytest.mark.parametrize(
    ("kernel", "inputs", "made_for"),
    [
        (NEWER, {}, "k"),
        (NEXT, {}, "k2"),
        (NEXT, {"nvidia_driver_kernel": "k3"}, "k3"),
        ({**NEXT, "running": "k2"}, {}, "k2"),
    ],
    ids=["the running one", "the next one", "the one that is asked for", "the next one once it runs"],
)
def test_the_modules_are_for_the_kernel_that_boots_next(tmp_path, kernel, inputs, made_for):
    tell = {"ansible.builtin.debug": {"msg": "made for {{ __nvidia_driver_kernel }}."}}
    assert f"made for {made_for}." in play(tmp_path, {**machine(kernel=kernel), **inputs}, tell)


LOADS_NEXT = {**SILENT, "kernel": NEXT, "driver": {**DRIVER, "loaded": None, "module_file": None}}


@pytest.mark.parametrize(
    ("changes", "reboots"),
    [
        pytest.param(LOADS_NEXT, True, id="only that one has the module"),
        pytest.param({"kernel": NEXT}, False, id="the driver runs in this one as well"),
        pytest.param({**UNLOADED, "kernel": NEXT}, False, id="this one can load it as well"),
    ],
)
def test_a_kernel_that_waits_is_no_reason_to_reboot_where_the_driver_can_run_now(tmp_path, changes, reboots):
    said = start_of(tmp_path, machine(**changes))
    assert (f"needs a reboot for driver {VERSION}" in said) is reboots, said


@pytest.mark.parametrize("runs", [OLD_ONE_RUNS, OTHER_FLAVOUR_RUNS], ids=["another version", "the other flavour"])
def test_a_driver_that_waits_for_a_restart_has_not_come_up(tmp_path, runs):
    variables = {**machine(**runs), "nvidia_driver_reboot": "never"}
    start = {"name": "gpulab.workstation.nvidia_driver", "tasks_from": "start"}
    tell = {"ansible.builtin.debug": {"msg": "came up: {{ __nvidia_driver_came_up }}"}}
    said = play(tmp_path, variables, {"ansible.builtin.include_role": start}, tell)
    assert f"needs a reboot for driver {VERSION}" in said
    assert "came up: False" in said, said


def test_a_job_is_left_alone_though_its_driver_does_not_answer_any_more(tmp_path):
    """After an upgrade under the running driver NVML and nvidia-smi fail, and what has begun before goes on."""
    machine_s = MachineTree(tmp_path / "root").kernel("k").gpu("0x2684", driver="nvidia").gpu("0x2684", driver="nvidia")
    machine_s.loaded("570.1", nodes=(0, 1)).library(VERSION)
    machine_s.process(4711, user="ada", uid=1001, name="python3", opened=("/dev/nvidia-uvm",))
    variables = {**machine(), "__nvidia_driver_gpu": look(root=str(machine_s.root))}
    idle = {"ansible.builtin.include_role": {"name": "gpulab.workstation.nvidia_driver", "tasks_from": "idle"}}
    said = play(tmp_path, variables, idle)
    assert "changing the driver would end python3 of ada (process 4711). Wait" in " ".join(said.split()), said
    assert "would end" not in play(tmp_path, {**variables, "nvidia_driver_force": True}, idle)


STAND_IN = """
from pathlib import Path
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        answer = task_vars["answers"][self._task.action.rpartition(".")[2]]
        if self._task.args.get("enrol", True) and "instruction" in answer:
            Path(task_vars["staged"]).touch()
            return {"changed": True, **answer}
        return {"changed": False, **answer, "instruction": ""}
"""


@pytest.mark.parametrize("builds", [False, True], ids=["compiled by the distribution", "built on the machine"])
def test_a_person_has_to_go_to_the_console_only_for_modules_that_are_built(tmp_path, builds):
    answers: dict[str, Any] = {"nvidia_repository": {}, "apt_components": {}, "epel": {}}
    answers["driver_packages"] = {**machine()["__nvidia_driver_packages"], "builds": builds}
    answers["driver_modules"] = {"module": f"/lib/modules/k/{'updates/dkms' if builds else 'kernel'}/nvidia.ko"}
    answers["secure_boot_key"] = {"instruction": "Choose Enroll MOK."}
    plugins = tmp_path / "ansible_collections" / "gpulab" / "workstation" / "plugins"
    (plugins / "action").mkdir(parents=True)
    for part in (*CHECKOUT.glob("*"), *(CHECKOUT / "plugins").glob("*"), *(CHECKOUT / "plugins/action").glob("*.py")):
        place = plugins.parent / part.relative_to(CHECKOUT)
        if not place.exists():
            place.symlink_to(part)
    for name in answers:
        (plugins / "action" / f"{name}.py").write_text(STAND_IN)

    variables = machine()
    variables["__nvidia_driver_stack"]["system"]["id"] = "ubuntu"
    variables |= {"answers": answers, "staged": str(tmp_path / "staged"), "nvidia_driver_display": "never"}
    install = {"name": "gpulab.workstation.nvidia_driver", "tasks_from": "install"}
    said = play(tmp_path, variables, {"ansible.builtin.include_role": install}, collections=tmp_path)
    assert ("Choose Enroll MOK." in said, f"failed={int(builds)}" in said) == (builds, True), said
    assert (tmp_path / "staged").exists() is builds
