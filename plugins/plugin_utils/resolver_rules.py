# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules: what cannot go together, one small function each, and one list for each kind of choice.

A rule gets the machine and a candidate, and returns None or an Objection. Objections are about what cannot work;
what works but is not a good default is said by the reservations, which only ``auto`` listens to.
"""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.gpulab.workstation.plugins.plugin_utils.compatibility import (
    Cudnn,
    Toolkit,
    Version,
    load,
    version_key,
)
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_model import (
    ORIGINS,
    Driver,
    Gpu,
    Interpreter,
    Machine,
    Objection,
    Request,
    TensorFlow,
    dotted,
)

# Compute capabilities below this have no kernels in cuDNN 9.11 and later.
CUDNN_9_11_FLOOR: Version = (7, 5)
# Directories of one person: an interpreter below them is closed to the other users of the machine.
PRIVATE_HOMES = ("/root/", "/home/")


# --- TensorFlow, on this machine and its GPUs -----------------------------------------------------------------------


def glibc_is_new_enough(machine: Machine, tf: TensorFlow, gpus: tuple[Gpu, ...]) -> Objection | None:
    if version_key(machine.glibc) >= version_key(tf.release.glibc):
        return None
    return Objection(
        (tf.label, f"glibc {machine.glibc}"), f"{tf.label} needs glibc {tf.release.glibc}, this is {machine.glibc}"
    )


def cuda_libraries_fit_glibc(machine: Machine, tf: TensorFlow, gpus: tuple[Gpu, ...]) -> Objection | None:
    """Ranges make pip take the newest CUDA wheels, and those are built for glibc 2.27."""
    if tf.build != "cuda" or tf.release.cuda_extra != "ranges" or version_key(machine.glibc) >= (2, 27):
        return None
    return Objection(
        (tf.label, f"glibc {machine.glibc}"),
        f"{tf.label} takes the newest CUDA libraries, whose wheels need glibc 2.27, this is {machine.glibc}",
    )


def architecture_has_a_build(machine: Machine, tf: TensorFlow, gpus: tuple[Gpu, ...]) -> Objection | None:
    if machine.architecture == "x86_64" or (tf.build == "cpu" and tf.release.origin == "conda-forge"):
        return None
    if tf.build == "cuda":
        return Objection(
            (f"the CUDA build of {tf.label}", machine.architecture),
            f"{tf.label} has no CUDA build for {machine.architecture}; NVIDIA's container does",
        )
    if machine.architecture == "aarch64" and tf.release.aarch64 == "cpu":
        return None
    return Objection((tf.label, machine.architecture), f"{tf.label} has no wheel for {machine.architecture}")


def cuda_libraries_can_be_installed(machine: Machine, tf: TensorFlow, gpus: tuple[Gpu, ...]) -> Objection | None:
    if tf.build != "cuda" or tf.release.origin != "pip":
        return None
    if tf.release.cuda_extra is None:
        return Objection(
            (tf.label, "its CUDA libraries"),
            f"{tf.label} is older than tensorflow[and-cuda] (2.14): nothing on PyPI brings its CUDA {tf.release.cuda}",
        )
    if tf.release.cuda_extra_python == ():
        return Objection(
            (tf.label, "its TensorRT"), f"the [and-cuda] of {tf.label} asks for a TensorRT that has no wheel on PyPI"
        )
    return None


def wheels_work_on_the_architecture(machine: Machine, tf: TensorFlow, gpus: tuple[Gpu, ...]) -> Objection | None:
    """The wheels' PTX should reach Blackwell, and does not: CUDA_ERROR_INVALID_PTX and PTX 8.5 errors."""
    for gpu in gpus if tf.build == "cuda" and tf.release.origin == "pip" else ():
        failing = gpu.architecture.pip_wheels_fail_to if gpu.architecture else None
        if failing and version_key(tf.release.version) <= version_key(failing):
            return Objection(
                (tf.label, gpu.label),
                f"the wheels on PyPI up to {failing} fail on {gpu.label} (CUDA_ERROR_INVALID_PTX)",
            )
    return None


def build_has_code_for_the_gpu(machine: Machine, tf: TensorFlow, gpus: tuple[Gpu, ...]) -> Objection | None:
    for gpu in gpus if tf.build == "cuda" else ():
        code = tf.release.code
        for capability in gpu.capabilities:
            if not code.runs_natively_on(capability) and not code.can_be_compiled_for(capability):
                lowest = dotted(min(code.machine))
                return Objection(
                    (tf.label, gpu.label),
                    f"{tf.label} has no code for {gpu.label}: it begins at compute capability {lowest}",
                )
    return None


def driver_of_windows_runs_the_cuda(machine: Machine, tf: TensorFlow, gpus: tuple[Gpu, ...]) -> Objection | None:
    """Under WSL the driver is not ours to choose: what it runs is given, by the CUDA major."""
    if not machine.wsl or not machine.driver_cuda or tf.build != "cuda":
        return None
    if version_key(machine.driver_cuda)[0] >= version_key(tf.release.cuda)[0]:
        return None
    return Objection(
        (tf.label, f"Windows' driver with CUDA {machine.driver_cuda}"),
        f"{tf.label} is built with CUDA {tf.release.cuda}, and Windows' driver runs up to {machine.driver_cuda}; "
        "a newer one is installed in Windows",
    )


TENSORFLOW_RULES: tuple[Callable[[Machine, TensorFlow, tuple[Gpu, ...]], Objection | None], ...] = (
    architecture_has_a_build,
    build_has_code_for_the_gpu,
    wheels_work_on_the_architecture,
    cuda_libraries_can_be_installed,
    glibc_is_new_enough,
    cuda_libraries_fit_glibc,
    driver_of_windows_runs_the_cuda,
)


def conda_forge_needs_conda(request: Request, tf: TensorFlow) -> Objection | None:
    if tf.release.origin == "pip" or request.env_manager == "conda":
        return None
    return Objection(
        (tf.label, "tensorflow_env_manager: venv"), f"{tf.label} needs a conda environment, and venv was asked for"
    )


# --- the interpreter ------------------------------------------------------------------------------------------------


def interpreter_is_for_everybody(python: Interpreter) -> Objection | None:
    for home in PRIVATE_HOMES:
        if python.path.startswith(home):
            return Objection(
                (f"Python {python.minor} at {python.path}", "an environment for all users"),
                f"{python.path} lies in a private home ({home}): other users could not run it",
            )
    return None


def python_has_a_wheel(tf: TensorFlow, python: Interpreter) -> Objection | None:
    minor = python.minor
    offered = tf.release.python
    if tf.build == "cuda" and tf.release.cuda_extra_python is not None:
        offered = tf.release.cuda_extra_python
    if minor in offered:
        return None
    where = " in a venv" if python.path else ""
    return Objection(
        (tf.label, f"Python {minor}{where}"), f"{tf.label} is for Python {offered[0]} to {offered[-1]}, not {minor}"
    )


# --- the driver -----------------------------------------------------------------------------------------------------


def branch_has_the_modules(machine: Machine, driver: Driver, gpus: tuple[Gpu, ...]) -> Objection | None:
    if driver.modules in driver.branch.modules:
        return None
    return Objection(
        (f"driver {driver.branch.branch}", f"{driver.modules} kernel modules"),
        f"branch {driver.branch.branch} has {' and '.join(driver.branch.modules)} kernel modules only",
    )


def branch_drives_the_gpus(machine: Machine, driver: Driver, gpus: tuple[Gpu, ...]) -> Objection | None:
    branch = driver.branch
    for gpu in gpus:
        number = version_key(branch.branch)
        pair = (f"driver {branch.branch}", gpu.label)
        if gpu.last_branch and number > version_key(gpu.last_branch):
            return Objection(pair, f"{gpu.last_branch} is the last driver branch for {gpu.label}")
        if gpu.first_branch and number < version_key(gpu.first_branch):
            return Objection(pair, f"{gpu.first_branch} is the first driver branch for {gpu.label}")
        if gpu.architecture and not branch.first <= gpu.architecture.rank <= branch.last:
            # Rubin and whatever follows are newer than any branch in the data; the newest is then the best guess.
            if gpu.architecture.rank > branch.last and not gpu.capabilities:
                continue
            return Objection(pair, f"branch {branch.branch} does not drive {gpu.label}")
    return None


def modules_fit_the_gpus(machine: Machine, driver: Driver, gpus: tuple[Gpu, ...]) -> Objection | None:
    for gpu in gpus:
        if gpu.modules not in ("either", driver.modules):
            return Objection(
                (f"{driver.modules} kernel modules", gpu.label), f"{gpu.label} needs the {gpu.modules} kernel modules"
            )
    return None


def kernel_is_new_enough(machine: Machine, driver: Driver, gpus: tuple[Gpu, ...]) -> Objection | None:
    """What is known of a branch holds for the later ones, of which it was not read: none went back."""
    older = [branch for branch in load().branches.values() if int(branch.branch) <= int(driver.branch.branch)]
    floor = max((branch.kernel for branch in older if branch.kernel), key=version_key, default=None)
    if not floor or not machine.kernel or version_key(machine.kernel) >= version_key(floor):
        return None
    return Objection(
        (f"driver {driver.branch.branch}", f"kernel {machine.kernel}"),
        f"branch {driver.branch.branch} needs kernel {floor}, this is {machine.kernel}",
    )


def source_offers_the_branch(machine: Machine, driver: Driver, gpus: tuple[Gpu, ...]) -> Objection | None:
    """A driver that works already needs no source."""
    if driver.kept:
        return None
    branch, system = driver.branch.branch, machine.system
    pair = (f"driver {branch}", f"{system.name}, {ORIGINS[driver.source]}")
    if driver.source == "distribution" and branch in system.transitional:
        target = system.transitional[branch]
        return Objection(pair, f"in {system.name} nvidia-driver-{branch} is an empty package that installs {target}")
    if driver.modules in source_modules(machine, driver.source, branch):
        return None
    return Objection(
        pair, f"{ORIGINS[driver.source]} offers no {branch} with {driver.modules} modules for {system.name}"
    )


def archive_has_the_version(machine: Machine, driver: Driver, gpus: tuple[Gpu, ...]) -> Objection | None:
    """A distribution's archive keeps one version of a branch; older ones are gone from it."""
    if not driver.pinned or driver.kept or driver.source != "distribution":
        return None
    offered = machine.system.archive.get(driver.branch.branch, {}).get("version")
    if offered is None or offered == driver.version:
        return None
    return Objection(
        (f"driver {driver.version}", f"{machine.system.name}'s archive"),
        f"the archive of {machine.system.name} holds {offered} of this branch, not {driver.version}",
    )


DRIVER_RULES: tuple[Callable[[Machine, Driver, tuple[Gpu, ...]], Objection | None], ...] = (
    modules_fit_the_gpus,
    branch_drives_the_gpus,
    branch_has_the_modules,
    kernel_is_new_enough,
    source_offers_the_branch,
    archive_has_the_version,
)


def source_modules(machine: Machine, source: str, branch: str) -> tuple[str, ...]:
    """Return the kernel modules that a source offers of a branch; nothing where it does not have the branch."""
    compat = load()
    if source == "distribution":
        # What is known of the archives is known for x86_64.
        return (
            tuple(machine.system.archive.get(branch, {}).get("modules", ())) if machine.architecture == "x86_64" else ()
        )
    if machine.system.nvidia_repo is None or machine.architecture not in compat.nvidia_architectures:
        return ()
    return compat.nvidia_branches.get(branch, ())


# --- TensorFlow and the driver together -----------------------------------------------------------------------------


def driver_runs_the_cuda(tf: TensorFlow, driver: Driver, gpus: tuple[Gpu, ...]) -> Objection | None:
    """Minor-version compatibility: every driver of a CUDA major's generation runs all of its minors."""
    floor = cuda_driver_floor(tf.release.cuda)
    if driver.newest >= version_key(floor):
        return None
    return Objection(
        (tf.label, driver.label), f"{tf.label} is built with CUDA {tf.release.cuda}, which needs driver {floor}"
    )


def driver_compiles_the_ptx(tf: TensorFlow, driver: Driver, gpus: tuple[Gpu, ...]) -> Objection | None:
    """PTX of a newer toolkit than the driver knows is refused (error 222): minor-version compatibility ends there."""
    for gpu in gpus_without_machine_code(tf, gpus):
        if version_key(driver.branch.cuda) < version_key(tf.release.cuda)[:2]:
            return Objection(
                (tf.label, driver.label),
                f"on {gpu.label} {tf.label} starts from PTX of CUDA {tf.release.cuda}, "
                f"and branch {driver.branch.branch} compiles up to {driver.branch.cuda}",
            )
    return None


PAIR_RULES: tuple[Callable[[TensorFlow, Driver, tuple[Gpu, ...]], Objection | None], ...] = (
    driver_runs_the_cuda,
    driver_compiles_the_ptx,
)


def cuda_driver_floor(cuda: str) -> str:
    return next(
        toolkit.driver_min for toolkit in load().toolkits if version_key(toolkit.version)[:2] == version_key(cuda)[:2]
    )


def gpus_without_machine_code(tf: TensorFlow, gpus: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """Return the GPUs for which the driver compiles TensorFlow's PTX at the first start."""
    if tf.build != "cuda":
        return ()
    code = tf.release.code
    return tuple(gpu for gpu in gpus if not all(code.runs_natively_on(capability) for capability in gpu.capabilities))


def lacks_new_cudnn_kernels(gpus: tuple[Gpu, ...]) -> bool:
    return any(capability < CUDNN_9_11_FLOOR for gpu in gpus for capability in gpu.capabilities)


# --- the CUDA toolkit and cuDNN, where they were asked for ----------------------------------------------------------


def toolkit_compiles_for_the_gpus(
    machine: Machine, toolkit: Toolkit, driver: Driver | None, gpus: tuple[Gpu, ...]
) -> Objection | None:
    low, high = version_key(toolkit.capability_min), version_key(toolkit.capability_max)
    missing = {version_key(capability) for capability in toolkit.lacks}
    without = f" without {' and '.join(toolkit.lacks)}" if toolkit.lacks else ""
    for gpu in gpus:
        if not all(low <= capability <= high and capability not in missing for capability in gpu.capabilities):
            return Objection(
                (f"CUDA {toolkit.version}", gpu.label),
                f"CUDA {toolkit.version} compiles for {dotted(low)} to {dotted(high)}{without}, not for {gpu.label}",
            )
    return None


def driver_runs_the_toolkit(
    machine: Machine, toolkit: Toolkit, driver: Driver | None, gpus: tuple[Gpu, ...]
) -> Objection | None:
    if driver is None or driver.newest >= version_key(toolkit.driver_min):
        return None
    return Objection(
        (f"CUDA {toolkit.version}", driver.label), f"CUDA {toolkit.version} needs driver {toolkit.driver_min} or later"
    )


def toolkit_accepts_the_compiler(
    machine: Machine, toolkit: Toolkit, driver: Driver | None, gpus: tuple[Gpu, ...]
) -> Objection | None:
    limit = newest_compiler(toolkit)
    if machine.gcc is None or version_key(machine.gcc)[0] <= limit:
        return None
    return Objection(
        (f"CUDA {toolkit.version}", f"gcc {machine.gcc}"),
        f"CUDA {toolkit.version} accepts gcc up to {limit}, this is {machine.gcc}",
    )


def newest_compiler(toolkit: Toolkit) -> int:
    """Return the newest gcc a toolkit accepts. Where that was not read it is at most what the next release accepts."""
    toolkits = load().toolkits
    later = reversed(toolkits[: toolkits.index(toolkit) + 1])
    return next(int(known.gcc) for known in later if known.gcc)


TOOLKIT_RULES: tuple[Callable[[Machine, Toolkit, Driver | None, tuple[Gpu, ...]], Objection | None], ...] = (
    toolkit_compiles_for_the_gpus,
    driver_runs_the_toolkit,
    toolkit_accepts_the_compiler,
)


def cudnn_exists_for_the_cuda(
    cudnn: Cudnn, major: str, tf: TensorFlow, driver: Driver | None, gpus: tuple[Gpu, ...]
) -> Objection | None:
    if major in cudnn.wheels:
        return None
    return Objection(
        (f"cuDNN {cudnn.version}", f"CUDA {major}"),
        f"cuDNN {cudnn.version} is made for CUDA {' and '.join(cudnn.wheels)}, not for {major}",
    )


def cudnn_has_kernels_for_the_gpus(
    cudnn: Cudnn, major: str, tf: TensorFlow, driver: Driver | None, gpus: tuple[Gpu, ...]
) -> Objection | None:
    low, high = version_key(cudnn.capability_min), version_key(cudnn.capability_max)
    for gpu in gpus:
        if not all(low <= capability <= high for capability in gpu.capabilities):
            return Objection(
                (f"cuDNN {cudnn.version}", gpu.label),
                f"cuDNN {cudnn.version} is for compute capability {dotted(low)} to {dotted(high)}, not for {gpu.label}",
            )
    return None


def cudnn_is_what_tensorflow_loads(
    cudnn: Cudnn, major: str, tf: TensorFlow, driver: Driver | None, gpus: tuple[Gpu, ...]
) -> Objection | None:
    """The loader knows cuDNN by its major version alone: one too old, or for another CUDA, is taken all the same."""
    if tf.build != "cuda":
        return None
    built = version_key(tf.release.cudnn)
    wanted = version_key(tf.release.cuda)[0]
    pair = (tf.label, f"cuDNN {cudnn.version} for CUDA {major}")
    if version_key(cudnn.version)[0] != built[0] or version_key(cudnn.version) < built[:2]:
        return Objection(
            pair,
            f"{tf.label} is built for cuDNN {dotted(built[:2])}, and cuDNN {cudnn.version} does not stand in for it",
        )
    if int(major) != wanted:
        return Objection(
            pair,
            f"{tf.label} uses CUDA {wanted}; a cuDNN for CUDA {major} beside it would be loaded instead of its own",
        )
    return None


def driver_runs_the_cudnn(
    cudnn: Cudnn, major: str, tf: TensorFlow, driver: Driver | None, gpus: tuple[Gpu, ...]
) -> Objection | None:
    floor = cudnn.driver_min.get(major)
    if driver is None or floor is None or driver.newest >= version_key(floor):
        return None
    return Objection((f"cuDNN {cudnn.version}", driver.label), f"cuDNN {cudnn.version} needs driver {floor} or later")


CUDNN_RULES: tuple[Callable[[Cudnn, str, TensorFlow, Driver | None, tuple[Gpu, ...]], Objection | None], ...] = (
    cudnn_exists_for_the_cuda,
    cudnn_has_kernels_for_the_gpus,
    cudnn_is_what_tensorflow_loads,
    driver_runs_the_cudnn,
)


# --- reservations: what `auto` does not pick by itself --------------------------------------------------------------


def tensorflow_reservation(tf: TensorFlow, request: Request) -> str | None:
    if request.pin("tensorflow_version"):
        return None
    if tf.build == "cuda" and tf.release.finds_libraries is False:
        return f"{tf.label} does not find its CUDA libraries by itself; pin it to have the library path set for it"
    if not tf.release.locked:
        return f"{tf.label} has no hashed lock in this collection"
    return None


def toolkit_reservation(toolkit: Toolkit, driver: Driver | None) -> str | None:
    if driver is None or driver.newest >= version_key(toolkit.driver):
        return None
    return f"all of CUDA {toolkit.version} needs driver {toolkit.driver}; {driver.label} runs a part of it"
