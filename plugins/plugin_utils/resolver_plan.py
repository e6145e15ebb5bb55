# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack as a plan: the inputs of each role, a reason for each choice, and what a person should be warned of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import role_inputs
from ansible_collections.gpulab.workstation.plugins.plugin_utils.compatibility import Compat, end_of, version_key
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_model import (
    ORIGINS,
    Driver,
    Machine,
    Refused,
    Request,
    dotted,
    gpu_name,
    know_system,
)
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_rules import (
    gpus_without_machine_code,
    lacks_new_cudnn_kernels,
    source_modules,
)
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_search import (
    PREFERRED_PYTHON,
    Stack,
    as_dicts,
)

SCHEMA = 1
BRANCH_NAMES = {
    "LTS": "the long-term branch",
    "PB": "the production branch",
    "NFB": "the new-feature branch",
    "legacy": "the last branch",
}
# How long before its end a component is worth a warning.
NOTICE = timedelta(days=180)


def plan_of(
    machine: Machine, request: Request, stack: Stack, *, summary: str, compat: Compat, today: date
) -> dict[str, Any]:
    """Return the plan of a machine for which a stack was found."""
    return {
        "schema": SCHEMA,
        "summary": summary,
        "refusal": None,
        "stack": stack_of(stack),
        "components": {name: settled(inputs, request) for name, inputs in components(machine, request, stack)},
        "reasons": [
            {"component": component, "choice": choice, "reason": reason}
            for component, choice, reason in reasons(machine, request, stack)
        ],
        "warnings": [
            {"code": code, "message": message} for code, message in warnings(machine, stack, compat=compat, today=today)
        ],
        "rejected": list(as_dicts(stack.rejected)),
    }


def refused_plan(refused: Refused, *, summary: str, nearest: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the plan of a machine for which there is none, in the same shape."""
    return {
        "schema": SCHEMA,
        "summary": summary,
        "refusal": {"message": refused.message, "conflict": list(refused.conflict), "nearest": nearest},
        "stack": None,
        "components": {},
        "reasons": [],
        "warnings": [],
        "rejected": list(refused.rejected),
    }


def describe(*, gpu: Mapping[str, Any], system: Mapping[str, Any], compat: Compat) -> str:
    """Say what a machine is, supported or not: 'Ubuntu 24.04, x86_64, 2 × GeForce RTX 4090'."""
    known = know_system(system, compat=compat)
    name = known.name if known else system.get("name") or system.get("id") or "an unknown system"
    counts = Counter(gpu_name(entry) for entry in gpu.get("gpus") or ())
    gpus = " + ".join(f"{count} × {name}" if count > 1 else name for name, count in counts.items())
    return f"{name}, {system.get('architecture') or 'x86_64'}, {gpus or 'no NVIDIA GPU'}"


def stack_of(stack: Stack) -> dict[str, Any]:
    tf, driver = stack.tensorflow, stack.driver
    uses_cuda = tf.build == "cuda"
    return {
        "driver": driver
        and {
            "branch": driver.branch.branch,
            "version": driver.version if driver.pinned or driver.kept else None,
            "modules": driver.modules,
            "source": driver.source,
        },
        "cuda": _cuda_of(stack, uses_cuda=uses_cuda),
        "cudnn": _cudnn_of(stack, uses_cuda=uses_cuda),
        "conda": stack.conda and {"distribution": stack.conda.distribution, "version": stack.conda.version},
        "python": {"version": stack.python.minor, "path": stack.python.path or None},
        "tensorflow": {
            "version": tf.release.version,
            "build": tf.build,
            "source": tf.release.origin,
            "constraints": constraints(stack),
            "library_path": needs_library_path(stack),
        },
    }


def _cuda_of(stack: Stack, *, uses_cuda: bool) -> dict[str, Any] | None:
    if stack.toolkit:
        return {"version": stack.toolkit.version, "needed_by": "inventory"}
    return {"version": stack.tensorflow.release.cuda, "needed_by": "tensorflow"} if uses_cuda else None


def _cudnn_of(stack: Stack, *, uses_cuda: bool) -> dict[str, Any] | None:
    if stack.cudnn and stack.cudnn_major:
        return {"version": stack.cudnn.wheels[stack.cudnn_major], "cuda_major": stack.cudnn_major}
    if not uses_cuda:
        return None
    release = stack.tensorflow.release
    return {"version": release.cudnn, "cuda_major": release.cuda.split(".")[0]}


def constraints(stack: Stack) -> list[str]:
    """Return what TensorFlow's own requirements leave open and these GPUs do not allow."""
    release = stack.tensorflow.release
    extra = []
    takes_newest_cudnn = release.origin == "conda-forge" or release.cuda_extra == "ranges"
    if takes_newest_cudnn and lacks_new_cudnn_kernels(stack.gpus):
        extra.append("cudnn<9.11" if release.origin == "conda-forge" else "nvidia-cudnn-cu12<9.11")
    return [*release.constraints, *extra]


def needs_library_path(stack: Stack) -> bool:
    """The path is harmless where the wheel finds its libraries anyway, so a wheel that was not read gets it too."""
    tf = stack.tensorflow
    return tf.build == "cuda" and tf.release.origin == "pip" and tf.release.finds_libraries is not True


def manages_driver(machine: Machine, stack: Stack) -> bool:
    """A driver that works is left alone if it is the host's, if no package put it there, or if no source offers it."""
    driver = stack.driver
    if driver is None or machine.driver_from_host:
        return False
    offered = driver.modules in source_modules(machine, driver.source, driver.branch.branch)
    return not driver.kept or (machine.driver_packaged and offered)


# --- the inputs of the roles, in the order in which they run --------------------------------------------------------


def components(machine: Machine, request: Request, stack: Stack) -> Iterator[tuple[str, dict[str, Any]]]:
    tf, driver = stack.tensorflow, stack.driver
    managed = manages_driver(machine, stack)
    yield (
        "os_prep",
        {
            "os_prep_kernel_headers": managed,
            "os_prep_python": stack.python.path or role_inputs.defaults("os_prep")["os_prep_python"],
        },
    )
    if managed and driver:
        yield (
            "nvidia_driver",
            {
                "nvidia_driver_branch": driver.branch.branch,
                "nvidia_driver_version": driver.version if driver.pinned else "",
                "nvidia_driver_modules": driver.modules,
                "nvidia_driver_source": driver.source,
                "nvidia_driver_fabric_manager": machine.nvswitches > 0,
            },
        )
    if stack.toolkit:
        yield "cuda", {"cuda_version": stack.toolkit.version, "cuda_source": stack.toolkit_source}
    if stack.cudnn and stack.cudnn_major:
        yield (
            "cudnn",
            {
                "cudnn_version": stack.cudnn.wheels[stack.cudnn_major],
                "cudnn_cuda_major": stack.cudnn_major,
                "cudnn_source": stack.cudnn_source,
            },
        )
    if stack.conda:
        yield (
            "anaconda",
            {
                "anaconda_distribution": stack.conda.distribution,
                "anaconda_version": stack.conda.version,
            },
        )
    yield (
        "tensorflow",
        {
            "tensorflow_version": tf.release.version,
            "tensorflow_build": tf.build,
            "tensorflow_source": tf.release.origin,
            "tensorflow_env_manager": "conda" if stack.conda else "venv",
            "tensorflow_python_version": stack.python.minor,
            "tensorflow_python": stack.python.path,
            "tensorflow_constraints": constraints(stack),
            "tensorflow_library_path": needs_library_path(stack),
            "tensorflow_conda_prefix": request.places["anaconda_prefix"],
        },
    )
    yield (
        "cifar10",
        {
            "cifar10_gpus": len(stack.gpus),
            "cifar10_python": f"{request.places['tensorflow_prefix']}/bin/python",
        },
    )


def settled(decided: Mapping[str, Any], request: Request) -> dict[str, Any]:
    """Return a role's inputs with what the inventory settles by itself; its constraints come on top of the plan's."""
    inputs = {name: request.settings.get(name, value) for name, value in decided.items()}
    if "tensorflow_constraints" in inputs:
        asked = request.settings.get("tensorflow_constraints", [])
        inputs["tensorflow_constraints"] = list(dict.fromkeys([*decided["tensorflow_constraints"], *asked]))
    return inputs


# --- why ------------------------------------------------------------------------------------------------------------


def reasons(machine: Machine, request: Request, stack: Stack) -> Iterator[tuple[str, str, str]]:
    """Yield (component, choice, one sentence), in the order of the components."""
    if stack.driver:
        yield "nvidia_driver", driver_choice(stack.driver), driver_reason(machine, request, stack, stack.driver)
    elif machine.gpus:
        yield "nvidia_driver", "none", no_driver_reason(machine, request)
    if stack.toolkit:
        yield (
            "cuda",
            f"{stack.toolkit.version} from {ORIGINS[stack.toolkit_source or 'nvidia']}",
            _asked_for(
                request,
                "cuda_version",
                "The newest toolkit that these GPUs, the driver and this machine's gcc go with.",
            ),
        )
    if stack.cudnn and stack.cudnn_major:
        yield (
            "cudnn",
            f"{stack.cudnn.wheels[stack.cudnn_major]} for CUDA {stack.cudnn_major}",
            _asked_for(
                request,
                "cudnn_version",
                f"The newest verified release with kernels for these GPUs and CUDA {stack.cudnn_major}.",
            ),
        )
    if stack.tensorflow.build == "cuda":
        yield from own_libraries(stack)
    if stack.conda:
        yield "anaconda", f"{stack.conda.distribution} {stack.conda.version}", conda_reason(request, stack)
    at = f" at {stack.python.path}" if stack.python.path else ""
    yield "python", f"{stack.python.version}{at}", python_reason(request, stack)
    build = {"cpu": "CPU build", "cuda": "CUDA build"}[stack.tensorflow.build]
    release = stack.tensorflow.release
    yield "tensorflow", f"{release.version}, {build} from {release.origin}", tensorflow_reason(machine, request, stack)


def driver_choice(driver: Driver) -> str:
    origin = "already working" if driver.kept else f"from {ORIGINS[driver.source]}"
    version = driver.version if driver.kept or driver.pinned else driver.branch.branch
    return f"{version}, {driver.modules} modules, {origin}"


def own_libraries(stack: Stack) -> Iterator[tuple[str, str, str]]:
    """Yield the CUDA and cuDNN that TensorFlow brings along, which need nothing on the system but the driver."""
    release = stack.tensorflow.release
    if stack.toolkit is None:
        yield "cuda", f"{release.cuda}, in the environment", "TensorFlow's own libraries; no toolkit is needed."
    if stack.cudnn is None:
        built = dotted(version_key(release.cudnn)[:2])
        if any("cudnn" in constraint for constraint in constraints(stack)):
            old, *_others = (gpu for gpu in stack.gpus if lacks_new_cudnn_kernels((gpu,)))
            yield "cudnn", "below 9.11, in the environment", f"cuDNN 9.11 dropped the kernels for {old.label}."
        else:
            later = " or later" if release.cuda_extra != "exact" else ""
            yield "cudnn", f"{built}{later}, in the environment", "TensorFlow's own as well."


def _asked_for(request: Request, name: str, otherwise: str) -> str:
    return f"The inventory asks for {request.pin(name)}." if request.pin(name) else otherwise


def driver_reason(machine: Machine, request: Request, stack: Stack, driver: Driver) -> str:
    branch = driver.branch
    if driver.kept and machine.driver_from_host:
        return f"The host's driver {driver.version} serves this container and is not the container's to change."
    if driver.kept:
        return f"{driver.version} works and does all that this stack needs, so it is kept unless pinned."
    pinned = request.pin("nvidia_driver_version") or request.pin("nvidia_driver_branch")
    if pinned:
        return f"The inventory asks for {pinned}; {modules_reason(stack, driver)}."
    life = BRANCH_NAMES[branch.kind]
    until = f", until {branch.eol}" if branch.eol and branch.kind != "legacy" else ""
    where = ORIGINS[driver.source]
    if driver.source == "distribution" and machine.system.precompiled:
        where = f"{machine.system.name}'s archive with signed, precompiled modules"
    return f"{branch.branch} is {life} for these GPUs{until}, from {where}; {modules_reason(stack, driver)}."


def modules_reason(stack: Stack, driver: Driver) -> str:
    needing = next((gpu for gpu in stack.driven if gpu.modules == driver.modules), None)
    if needing:
        return f"{driver.modules} modules, because {needing.label} needs them"
    if driver.modules == "open":
        return "open modules, recommended from Turing on"
    return "proprietary modules as asked for"


def no_driver_reason(machine: Machine, request: Request) -> str:
    if machine.wsl:
        return "Under WSL the driver is Windows' own; none is installed here."
    if request.states.get("nvidia_driver_state") == "absent":
        return "The inventory says nvidia_driver_state: absent."
    if request.pin("tensorflow_build") == "cpu":
        return "The inventory asks for the CPU build, which uses no driver."
    return f"No driver that is still maintained knows {machine.gpus[0].label}."


def conda_reason(request: Request, stack: Stack) -> str:
    if request.pin("anaconda_version") or request.pin("anaconda_distribution"):
        return "The inventory asks for it."
    return "Free for all, and the newest installer whose checksum several sources confirm."


def python_reason(request: Request, stack: Stack) -> str:
    if request.pin("tensorflow_python") or request.pin("tensorflow_python_version"):
        return "The inventory asks for it."
    if stack.python.path:
        here = (
            "The system's newest interpreter"
            if stack.python.path.startswith("/usr/bin/")
            else "The newest interpreter here"
        )
        return f"{here} that TensorFlow {stack.tensorflow.release.version} has a wheel for."
    if stack.python.minor == PREFERRED_PYTHON:
        return (
            f"conda brings any Python; TensorFlow since 2.16 supports {PREFERRED_PYTHON}, so a later change keeps it."
        )
    return f"The newest Python that TensorFlow {stack.tensorflow.release.version} can be installed for."


def tensorflow_reason(machine: Machine, request: Request, stack: Stack) -> str:
    tf, source = stack.tensorflow, request.pin("tensorflow_source")
    if request.pin("tensorflow_version"):
        return f"The inventory asks for {request.pin('tensorflow_version')}, and everything else here goes with it."
    if tf.build == "cpu":
        newest = f"The newest from {source}" if source else "The newest"
        why = cpu_reason(machine, request)
        return f"{newest} for Python {stack.python.minor} and glibc {machine.glibc}; {why}."
    against = next((entry for entry in stack.rejected if entry.component == "tensorflow" and entry.objections), None)
    if against:
        chosen = "The newest that fits" if tf.release.origin == "pip" else "conda-forge's build fits"
        return f"{chosen}; {against.reason}."
    if source == "conda-forge":
        return "The inventory asks for conda-forge."
    gpus = list(dict.fromkeys(gpu.label for gpu in stack.gpus)) or ["the GPUs to come"]
    return f"The newest release that finds its CUDA libraries by itself and has code for {' and '.join(gpus)}."


def cpu_reason(machine: Machine, request: Request) -> str:
    if request.pin("tensorflow_build"):
        return "the CPU build was asked for"
    if not machine.gpus:
        return "there is no NVIDIA GPU, so it is the CPU build"
    if machine.architecture != "x86_64":
        return f"neither PyPI nor conda-forge has a CUDA build for {machine.architecture}"
    if not machine.modern:
        return f"current TensorFlow cannot use {machine.gpus[0].label}, so it is the CPU build"
    return f"the compute capability of {machine.modern[0].name} is not known, so it is the CPU build"


# --- what to be warned of -------------------------------------------------------------------------------------------


def warnings(machine: Machine, stack: Stack, *, compat: Compat, today: date) -> Iterator[tuple[str, str]]:
    """Yield (code, sentence)."""
    yield from end_of_life(machine, stack, compat=compat, today=today)
    yield from left_aside(machine, stack, compat=compat)
    tf, driver = stack.tensorflow, stack.driver
    for gpu in gpus_without_machine_code(tf, stack.gpus)[:1]:
        yield (
            "first_start_compiles",
            f"{tf.label} has no machine code for {gpu.label}: the driver compiles its PTX at the first start, "
            "which can take half an hour.",
        )
    if tf.release.origin == "conda-forge" and any(
        g.architecture and g.architecture.name == "blackwell" for g in stack.gpus
    ):
        yield (
            "unverified",
            "conda-forge's build is compiled for Blackwell; nobody here has seen it run on one. The proof will.",
        )
    if not tf.release.locked:
        yield "no_lock", f"{tf.label} has no hashed lock in this collection: its packages are not pinned by checksum."
    if stack.conda and stack.conda.checksum != "confirmed":
        conda = f"{stack.conda.distribution} {stack.conda.version}"
        yield "checksum", f"The checksum of {conda} rests on {_confidence(stack.conda.checksum)}."
    if (
        machine.secure_boot
        and driver
        and manages_driver(machine, stack)
        and not driver.kept
        and not _signed(machine, driver)
    ):
        yield (
            "secure_boot",
            "Secure Boot is on and these modules are built here: enrol their key once at the console (mokutil).",
        )


def _confidence(checksum: str) -> str:
    return "one source" if checksum == "one_source" else "no source that could be verified"


def _signed(machine: Machine, driver: Driver) -> bool:
    return driver.source == "distribution" and machine.system.precompiled


def end_of_life(machine: Machine, stack: Stack, *, compat: Compat, today: date) -> Iterator[tuple[str, str]]:
    system = machine.system
    lives: list[tuple[str, str | None, str]] = [
        (system.name, system.eol, f"; long-term support until {system.eol_lts}" if system.eol_lts else ""),
        (f"Python {stack.python.minor}", compat.python_eol.get(stack.python.minor), ""),
    ]
    if stack.driver:
        lives.append((f"Driver branch {stack.driver.branch.branch}", stack.driver.branch.eol, ""))
    for name, day, extra in lives:
        if day and end_of(day) < today:
            yield "end_of_life", f"{name} reached its end of life on {day}{extra}."
        elif day and end_of(day) - today < NOTICE:
            yield "end_of_life_near", f"{name} reaches its end of life on {day}{extra}."


def left_aside(machine: Machine, stack: Stack, *, compat: Compat) -> Iterator[tuple[str, str]]:
    """Tell what becomes of each kind of GPU that this stack does not use."""
    if stack.tensorflow.build == "cpu" and machine.gpus and machine.architecture != "x86_64":
        yield (
            "gpu_without_tensorflow",
            f"PyPI and conda-forge have no CUDA TensorFlow for {machine.architecture}: NVIDIA's container has one.",
        )
    used = {id(gpu) for gpu in (*stack.gpus, *stack.driven)}
    for label, gpu in {gpu.label: gpu for gpu in machine.gpus if id(gpu) not in used}.items():
        if gpu.architecture is None or not gpu.architecture.legacy:
            continue
        if gpu.architecture.name == "kepler" and max(gpu.capabilities) >= (3, 5):
            yield (
                "gpu_left_aside",
                f"{label} is left aside. What is left for it: tensorflow_version '2.14.1', Python 3.10 and driver 470 "
                "(ended 2024-07-20; Ubuntu 22.04, 24.04 and Debian 12 only); that its cuDNN works is unverified.",
            )
        else:
            yield (
                "gpu_left_aside",
                f"{label} is left aside: driver {gpu.last_branch} was its last, and no TensorFlow has code for it.",
            )
    for gpu in machine.modern:
        if not gpu.capabilities:
            yield (
                "gpu_unknown",
                f"{gpu.name} is not in the data of {compat.as_of}: it gets the newest driver, and TensorFlow's "
                "CPU build until facts are added.",
            )
