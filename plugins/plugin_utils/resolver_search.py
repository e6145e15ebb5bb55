# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The search: candidates best first, the rules in between, and the first stack that stands.

TensorFlow is chosen first, and for each TensorFlow an interpreter, a driver, a toolkit and a cuDNN that go with it.
What was passed over on the way is kept, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TypeVar

from ansible_collections.gpulab.workstation.plugins.plugin_utils.compatibility import (
    Branch,
    Compat,
    Conda,
    Cudnn,
    Release,
    Toolkit,
    end_of,
    matches,
    version_key,
)
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_model import (
    Driver,
    Gpu,
    Interpreter,
    Machine,
    Objection,
    Refused,
    Request,
    TensorFlow,
)
from ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver_rules import (
    CUDNN_RULES,
    DRIVER_RULES,
    PAIR_RULES,
    TENSORFLOW_RULES,
    TOOLKIT_RULES,
    conda_forge_needs_conda,
    interpreter_is_for_everybody,
    python_has_a_wheel,
    source_modules,
    tensorflow_reservation,
    toolkit_accepts_the_compiler,
    toolkit_reservation,
)

# What every release since 2.16 and conda-forge's build support, so that a change of TensorFlow keeps the interpreter.
PREFERRED_PYTHON = "3.12"
# Long life first; within a kind the newer branch.
BRANCH_KINDS = ("LTS", "PB", "NFB", "legacy")

Candidate = TypeVar("Candidate")
# The toolkit and where it comes from, cuDNN and the CUDA major that it is for; each where it was asked for.
Libraries = tuple[Toolkit | None, str | None, Cudnn | None, str | None]


@dataclass(frozen=True)
class Rejection:
    """A candidate that was passed over: for what cannot work (``objections``), or because ``auto`` wants better."""

    component: str
    candidate: str
    reason: str
    objections: tuple[Objection, ...] = ()


@dataclass(frozen=True)
class Stack:
    """What was found. ``gpus`` are those that TensorFlow is to use; ``driven`` those the driver is for."""

    tensorflow: TensorFlow
    python: Interpreter
    conda: Conda | None
    driver: Driver | None
    toolkit: Toolkit | None
    toolkit_source: str | None
    cudnn: Cudnn | None
    cudnn_major: str | None
    cudnn_source: str | None
    gpus: tuple[Gpu, ...]
    driven: tuple[Gpu, ...]
    rejected: tuple[Rejection, ...]


class NothingFits(Exception):
    """No candidate of one component stands; the rejections say why."""

    def __init__(self, rejected: Sequence[Rejection]) -> None:
        super().__init__("nothing fits")
        self.rejected = tuple(rejected)


def search(machine: Machine, request: Request, *, compat: Compat, today: date) -> Stack:
    """Return the best stack for this machine and request, or raise Refused."""
    refuse_what_is_retired(request)
    gpus = computing_gpus(machine, request)
    driven = driven_gpus(machine, request, gpus)
    refuse_irreconcilable_gpus(driven)
    # Whoever provides the driver (a person, Windows below WSL), the toolkit and cuDNN are for the same GPUs.
    served = driven or gpus or machine.modern
    conda = pick_conda(machine, request, compat=compat) if request.env_manager == "conda" else None
    drivers = None
    if driven or wants_driver(request):
        drivers = list(driver_candidates(machine, request, driven, compat=compat, today=today))

    def complete(tf: TensorFlow) -> Stack:
        notes: list[Rejection] = []
        python = pick_python(machine, request, tf, notes)

        def libraries(driver: Driver | None) -> Libraries:
            toolkit, source = pick_toolkit(machine, request, driver, served, compat=compat, notes=notes)
            return toolkit, source, *pick_cudnn(request, tf, toolkit, driver, served, compat=compat, notes=notes)

        if drivers is None:
            driver, (toolkit, source, cudnn, major) = None, libraries(None)
        else:
            driver, (toolkit, source, cudnn, major) = pick_driver(
                machine, request, tf, driven, candidates=drivers, libraries=libraries, notes=notes
            )
        return Stack(
            tensorflow=tf,
            python=python,
            conda=conda,
            driver=driver,
            toolkit=toolkit,
            toolkit_source=source,
            cudnn=cudnn,
            cudnn_major=major,
            cudnn_source=(request.pin("cudnn_source") or "wheel") if cudnn else None,
            gpus=gpus,
            driven=driven,
            rejected=tuple(notes),
        )

    rejected: list[Rejection] = []
    second_best: Stack | None = None
    for tf in tensorflow_candidates(machine, request, gpus, compat=compat):
        objections = tensorflow_objections(machine, request, tf, gpus)
        if objections:
            rejected.append(Rejection("tensorflow", tf.label, objections[0].text, objections))
            continue
        try:
            stack = complete(tf)
        except NothingFits as nothing:
            worst = most_telling(nothing.rejected, request)
            rejected.append(Rejection("tensorflow", tf.label, worst.reason, worst.objections))
            continue
        reservation = tensorflow_reservation(tf, request)
        if reservation is None:
            return replace(stack, rejected=(*rejected, *stack.rejected))
        second_best = second_best or stack
        rejected.append(Rejection("tensorflow", tf.label, reservation))
    if second_best is not None:
        others = (entry for entry in rejected if entry.candidate != second_best.tensorflow.label)
        return replace(second_best, rejected=(*others, *second_best.rejected))
    raise refusal(rejected, request)


# --- what the stack is for ------------------------------------------------------------------------------------------


def computing_gpus(machine: Machine, request: Request) -> tuple[Gpu, ...]:
    """Return the GPUs that TensorFlow is to use: none with the CPU build, legacy ones only if they were asked for."""
    if build_of(machine, request) == "cpu":
        return ()
    known = tuple(gpu for gpu in machine.modern if gpu.capabilities)
    return known if machine.modern else machine.gpus


def driven_gpus(machine: Machine, request: Request, gpus: tuple[Gpu, ...]) -> tuple[Gpu, ...]:
    """Return the GPUs that get a driver, which a machine without a CUDA build of TensorFlow may want as well."""
    if machine.wsl or request.states.get("nvidia_driver_state") == "absent":
        return ()
    if gpus or wants_driver(request):
        return machine.modern or machine.gpus
    # A GPU that only this TensorFlow cannot use (aarch64, newer than the data) still gets its driver.
    return machine.modern if request.pin("tensorflow_build") != "cpu" else ()


def wants_driver(request: Request) -> bool:
    return request.states.get("nvidia_driver_state") == "present"


def build_of(machine: Machine, request: Request) -> str:
    pinned = request.pin("tensorflow_build")
    if pinned:
        return pinned
    asks_for_legacy = request.pin("tensorflow_version") is not None and bool(machine.gpus)
    known = [gpu for gpu in machine.modern if gpu.capabilities]
    if machine.architecture != "x86_64" or not (known or (asks_for_legacy and not machine.modern)):
        return "cpu"
    return "cuda"


def refuse_what_is_retired(request: Request) -> None:
    """Answer the guide's own environment, `python=3.6` with `tensorflow-gpu`: both have ended."""
    instead = "What replaces it is tensorflow[and-cuda] in an environment with Python 3.12, which is what auto gives"
    if (request.pin("tensorflow_version") or "").startswith("tensorflow-gpu"):
        raise Refused(
            "tensorflow-gpu ended with 2.11 (2022-11-18); 2.12 is an empty package that fails to install on purpose. "
            f"{instead}.",
            conflict=("tensorflow-gpu", "TensorFlow 2.12 and later"),
        )
    python = request.pin("tensorflow_python_version")
    if python and version_key(python) < (3, 7):
        raise Refused(
            f"Python {python} is past its end (3.6: 2021-12-23), and TensorFlow 2.6 was the last for 3.6. {instead}.",
            conflict=(f"Python {python}", "TensorFlow 2.7 and later"),
        )


def refuse_irreconcilable_gpus(gpus: tuple[Gpu, ...]) -> None:
    """A kernel has one nvidia module: a GPU for the open one and a GPU for the proprietary one cannot share it."""
    needing = {gpu.modules: gpu for gpu in gpus}
    if "open" in needing and "proprietary" in needing:
        new, old = needing["open"], needing["proprietary"]
        raise Refused(
            f"{new.label} needs the open kernel modules, {old.label} the proprietary ones; a kernel has but one.",
            conflict=(new.label, old.label),
        )


def refusal(rejected: Sequence[Rejection], request: Request) -> Refused:
    worst = most_telling(rejected, request)
    pair = worst.objections[0].pair if worst.objections else ()
    text = worst.objections[0].text if worst.objections else worst.reason
    # A sentence begins with a capital, except where its first word is a name such as cuDNN.
    sentence = f"{text[0].upper()}{text[1:]}" if text.split()[0].islower() else text
    return Refused(f"{sentence}.", conflict=pair, rejected=as_dicts(rejected))


def most_telling(rejected: Sequence[Rejection], request: Request) -> Rejection:
    """Return a rejection that a pin brought about, and of those the one that came closest to standing."""
    with_objections = [entry for entry in rejected if entry.objections] or list(rejected)

    def is_pinned(word: str) -> bool:
        return any(word == pin or word.startswith(f"{pin}.") for pin in request.pins.values())

    def distance(entry: Rejection) -> tuple[bool, int]:
        words = [word for objection in entry.objections for side in objection.pair for word in side.split()]
        return not any(is_pinned(word) for word in words), len(entry.objections)

    return min(with_objections, key=distance)


def as_dicts(rejected: Iterable[Rejection]) -> tuple[dict[str, str], ...]:
    """Return the rejections for the plan, each once."""
    unique = {(entry.component, entry.candidate): entry for entry in rejected}
    return tuple(
        {"component": entry.component, "candidate": entry.candidate, "reason": entry.reason}
        for entry in unique.values()
    )


# --- TensorFlow and its interpreter ---------------------------------------------------------------------------------


def tensorflow_candidates(
    machine: Machine, request: Request, gpus: tuple[Gpu, ...], *, compat: Compat
) -> Iterator[TensorFlow]:
    """Yield the releases that the pins allow: PyPI's newest first, then conda-forge's."""
    build = build_of(machine, request)
    releases = [release for release in (*compat.pip, *compat.conda_forge) if _allowed(release, request)]
    pin = request.pin("tensorflow_version")
    exact = [release for release in releases if release.version == pin]
    if not releases:
        origin = request.pin("tensorflow_source")
        newest = (compat.conda_forge if origin == "conda-forge" else compat.pip)[0].version
        wanted = f"TensorFlow {pin}" if pin else "TensorFlow"
        where = f" from {origin}" if origin else ""
        raise Refused(
            f"There are no facts about {wanted}{where}: the releases known are 2.10 to {newest}.",
            conflict=(wanted, f"the releases known{where}"),
        )
    return (TensorFlow(release=release, build=build) for release in exact or releases)


def _allowed(release: Release, request: Request) -> bool:
    origin, version = request.pin("tensorflow_source"), request.pin("tensorflow_version")
    return (origin is None or origin == release.origin) and (version is None or matches(release.version, version))


def tensorflow_objections(
    machine: Machine, request: Request, tf: TensorFlow, gpus: tuple[Gpu, ...]
) -> tuple[Objection, ...]:
    found = [rule(machine, tf, gpus) for rule in TENSORFLOW_RULES]
    found.append(conda_forge_needs_conda(request, tf))
    return tuple(objection for objection in found if objection)


def pick_python(machine: Machine, request: Request, tf: TensorFlow, notes: list[Rejection]) -> Interpreter:
    """Return the interpreter: conda brings any, a venv needs one that the machine has."""
    candidates = list(interpreters(machine, request, tf))

    def object_to(python: Interpreter) -> Iterator[Objection | None]:
        yield python_has_a_wheel(tf, python)
        yield interpreter_is_for_everybody(python)

    return _pick("python", candidates, label=_python_label, rules=object_to, notes=notes)


def interpreters(machine: Machine, request: Request, tf: TensorFlow) -> Iterator[Interpreter]:
    wanted = request.pin("tensorflow_python_version")
    path = request.pin("tensorflow_python")
    if request.env_manager == "conda":
        if path:
            raise NothingFits([_interpreter_without_use(path)])
        newest_first = sorted(tf.release.python, key=version_key, reverse=True)
        minors = [wanted] if wanted else sorted(newest_first, key=lambda minor: minor != PREFERRED_PYTHON)
        return (Interpreter(path="", version=minor) for minor in minors)
    found = [
        python
        for python in machine.pythons
        if (path is None or python.path == path) and (wanted is None or matches(python.version, wanted))
    ]
    if not found:
        asked = path or (f"Python {wanted}" if wanted else "a Python interpreter")
        raise NothingFits([_missing_interpreter(asked, machine)])
    # The distribution's own interpreters are for everybody and are kept secure; of those the newest.
    return iter(
        sorted(
            found, key=lambda python: (python.path.startswith("/usr/bin/"), version_key(python.version)), reverse=True
        )
    )


def _interpreter_without_use(path: str) -> Rejection:
    objection = Objection(
        (path, "tensorflow_env_manager: conda"),
        f"a conda environment brings its own Python and would not use {path}; tensorflow_env_manager: venv does",
    )
    return Rejection("python", path, objection.text, (objection,))


def _missing_interpreter(asked: str, machine: Machine) -> Rejection:
    there = ", ".join(f"{python.path} ({python.version})" for python in machine.pythons) or "none"
    objection = Objection((asked, machine.system.name), f"{asked} is not on this machine for a venv; found: {there}")
    return Rejection("python", asked, objection.text, (objection,))


def _python_label(python: Interpreter) -> str:
    return f"Python {python.version}{f' at {python.path}' if python.path else ''}"


# --- the driver -----------------------------------------------------------------------------------------------------


def pick_driver(
    machine: Machine,
    request: Request,
    tf: TensorFlow,
    gpus: tuple[Gpu, ...],
    *,
    candidates: list[Driver],
    libraries: Callable[[Driver], Libraries],
    notes: list[Rejection],
) -> tuple[Driver, Libraries]:
    """Return the driver, and the libraries with it: the one that works already where it will do, else by preference.

    One that is too old for a toolkit or a cuDNN that is asked for is passed over like any other that does not fit.
    """
    if not candidates:
        raise NothingFits([_missing_driver(machine, request)])
    too_old: list[Rejection] = []

    def object_to(driver: Driver) -> Iterator[Objection | None]:
        yield from (rule(machine, driver, gpus) for rule in DRIVER_RULES)
        if tf.build == "cuda":
            yield from (rule(tf, driver, gpus) for rule in PAIR_RULES)

    while True:
        try:
            driver = _pick("nvidia_driver", candidates, label=lambda one: one.label, rules=object_to, notes=notes)
        except NothingFits as nothing:
            raise NothingFits(too_old or nothing.rejected) from nothing
        try:
            return driver, libraries(driver)
        except NothingFits as nothing:
            objections = [objection for entry in nothing.rejected for objection in entry.objections]
            against = next((objection for objection in objections if driver.label in objection.pair), None)
            if against is None:
                raise
            too_old.append(Rejection("nvidia_driver", driver.label, against.text, (against,)))
            notes.append(too_old[-1])
            candidates = [other for other in candidates if other is not driver]


def _missing_driver(machine: Machine, request: Request) -> Rejection:
    asked = ", ".join(f"{name}: {pin}" for name, pin in request.pins.items() if name.startswith("nvidia_driver_"))
    if machine.driver_from_host:
        there = f"the host's driver {machine.driver}-{machine.driver_modules}"
    else:
        there = f"{machine.system.name} on {machine.architecture}"
    objection = Objection((f"a driver with {asked}", there), f"there is no driver with {asked} for {there}")
    return Rejection("nvidia_driver", asked, objection.text, (objection,))


def driver_candidates(
    machine: Machine, request: Request, gpus: tuple[Gpu, ...], *, compat: Compat, today: date
) -> Iterator[Driver]:
    version, branch = request.pin("nvidia_driver_version"), request.pin("nvidia_driver_branch")
    if version and branch and not matches(version, branch):
        raise Refused(
            f"Driver {version} is not of branch {branch}.",
            conflict=(f"driver version {version}", f"driver branch {branch}"),
        )
    wanted = branch or (version and version.split(".")[0])
    if version == wanted and version:
        raise Refused(
            f"nvidia_driver_version is {version}, and that is a branch: ask for it with nvidia_driver_branch, "
            "or name a whole version.",
            conflict=(f"nvidia_driver_version: {version}", "a whole version"),
        )
    working = working_driver(machine, compat=compat)
    if wanted and wanted not in compat.branches and not (working and working.branch.branch == wanted):
        raise Refused(
            f"There are no facts about driver branch {wanted}; known are {', '.join(compat.branches)}.",
            conflict=(f"driver {wanted}", "the branches known"),
        )
    if working and _driver_allowed(working, request):
        yield working
    if machine.driver_from_host:
        return
    last_branches = {gpu.last_branch for gpu in gpus}
    for known in by_preference(gpus, compat=compat, today=today):
        if wanted not in (None, known.branch):
            continue
        for source in _pinned_or(request, "nvidia_driver_source", ("distribution", "nvidia")):
            if (
                wanted is None
                and known.branch not in last_branches
                and not source_modules(machine, source, known.branch)
            ):
                continue
            archived = machine.system.archive.get(known.branch, {}).get("version") if source == "distribution" else None
            for modules in _pinned_or(request, "nvidia_driver_modules", ("open", "proprietary")):
                yield Driver(known, source, modules, version or archived, pinned=bool(version))


def _pinned_or(request: Request, name: str, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    pin = request.pin(name)
    return (pin,) if pin else otherwise


def by_preference(gpus: tuple[Gpu, ...], *, compat: Compat, today: date) -> list[Branch]:
    """Return the branches: long life first, what has ended last; for a GPU newer than the data the newest first."""
    newest_first = sorted(compat.branches.values(), key=lambda branch: -int(branch.branch))
    if any(not gpu.capabilities for gpu in gpus):
        return newest_first
    last_branches = {gpu.last_branch for gpu in gpus}

    def rank(branch: Branch) -> tuple[bool, int]:
        ended = branch.eol is not None and end_of(branch.eol) < today
        return branch.branch not in last_branches, len(BRANCH_KINDS) if ended else BRANCH_KINDS.index(branch.kind)

    return sorted(newest_first, key=rank)


def working_driver(machine: Machine, *, compat: Compat) -> Driver | None:
    """Return the driver that works on this machine now, as a candidate."""
    if machine.driver is None or machine.wsl:
        return None
    number = machine.driver.split(".")[0]
    modules = machine.driver_modules or "proprietary"
    branch = compat.branches.get(number) or _newer_branch(number, machine, compat=compat)
    if branch is None:
        return None
    source = "distribution" if modules in source_modules(machine, "distribution", number) else "nvidia"
    return Driver(branch, source, modules, machine.driver, kept=True)


def _newer_branch(number: str, machine: Machine, *, compat: Compat) -> Branch | None:
    """Take a branch newer than the data for a successor of the newest known one: it is no reason to downgrade."""
    newest = max(compat.branches.values(), key=lambda branch: int(branch.branch))
    if int(number) <= int(newest.branch):
        return None
    return replace(newest, branch=number, latest=None, eol=None, cuda=machine.driver_cuda or newest.cuda)


def _driver_allowed(driver: Driver, request: Request) -> bool:
    pins = {
        "nvidia_driver_branch": driver.branch.branch,
        "nvidia_driver_modules": driver.modules,
        "nvidia_driver_source": driver.source,
    }
    version = request.pin("nvidia_driver_version")
    return all(request.pin(name) in (None, value) for name, value in pins.items()) and version in (None, driver.version)


# --- on request: the CUDA toolkit and cuDNN; conda ------------------------------------------------------------------


def pick_toolkit(
    machine: Machine,
    request: Request,
    driver: Driver | None,
    gpus: tuple[Gpu, ...],
    *,
    compat: Compat,
    notes: list[Rejection],
) -> tuple[Toolkit | None, str | None]:
    if not request.wants("cuda"):
        return None, None
    archived = machine.system.archive_cuda
    source = request.pin("cuda_source") or "nvidia"
    pin = request.pin("cuda_version")
    candidates = [toolkit for toolkit in compat.toolkits if pin is None or matches(toolkit.version, pin)]
    if source == "distribution":
        candidates = [toolkit for toolkit in candidates if toolkit.version == archived]
    if not candidates:
        wanted = f"CUDA {pin}" if pin else "CUDA"
        offered = (
            f"{machine.system.name} has {archived or 'none'}"
            if source == "distribution"
            else "there are no facts about it"
        )
        raise Refused(f"{wanted} is not to be had: {offered}.", conflict=(wanted, f"{machine.system.name}, {source}"))
    # A distribution's toolkit depends on a compiler that it accepts.
    rules = [rule for rule in TOOLKIT_RULES if source == "nvidia" or rule is not toolkit_accepts_the_compiler]
    try:
        toolkit = _pick(
            "cuda",
            candidates,
            label=lambda toolkit: f"CUDA {toolkit.version}",
            rules=lambda toolkit: (rule(machine, toolkit, driver, gpus) for rule in rules),
            reservation=lambda toolkit: toolkit_reservation(toolkit, driver),
            notes=notes,
        )
    except NothingFits as nothing:
        raise NothingFits(between_two(nothing.rejected)) from nothing
    return toolkit, source


def between_two(rejected: Sequence[Rejection]) -> tuple[Rejection, ...]:
    """Put what rules out the newer releases and what rules out the older ones together: those two are the conflict."""
    newest = rejected[0]
    first = newest.objections[0]
    for older in rejected:
        other = older.objections[0]
        if other.pair[1] != first.pair[1]:
            objection = Objection((first.pair[1], other.pair[1]), f"{first.text}, and {other.text}")
            return (Rejection(newest.component, newest.candidate, objection.text, (objection,)),)
    return tuple(rejected)


def pick_cudnn(
    request: Request,
    tf: TensorFlow,
    toolkit: Toolkit | None,
    driver: Driver | None,
    gpus: tuple[Gpu, ...],
    *,
    compat: Compat,
    notes: list[Rejection],
) -> tuple[Cudnn | None, str | None]:
    """Return cuDNN and the CUDA major it is for: TensorFlow's, which is the one that will load it."""
    if not request.wants("cudnn"):
        return None, None
    own = tf.release.cuda if tf.build == "cuda" or toolkit is None else toolkit.version
    major = request.pin("cudnn_cuda_major") or own.split(".")[0]
    pin = request.pin("cudnn_version")
    candidates = [
        cudnn
        for cudnn in compat.cudnn
        if pin is None or matches(cudnn.version, pin) or matches(cudnn.wheels.get(major, cudnn.version), pin)
    ]
    if not candidates:
        known = ", ".join(cudnn.version for cudnn in compat.cudnn)
        raise Refused(
            f"There are no facts about cuDNN {pin}; known are {known}.", conflict=(f"cuDNN {pin}", "the releases known")
        )
    cudnn = _pick(
        "cudnn",
        candidates,
        label=lambda cudnn: f"cuDNN {cudnn.version}",
        rules=lambda cudnn: (rule(cudnn, major, tf, driver, gpus) for rule in CUDNN_RULES),
        notes=notes,
    )
    return cudnn, major


def pick_conda(machine: Machine, request: Request, *, compat: Compat) -> Conda:
    distribution = request.pin("anaconda_distribution") or "miniforge"
    pin = request.pin("anaconda_version")
    offered = [
        conda
        for conda in compat.conda
        if conda.distribution == distribution
        and machine.architecture in conda.architectures
        and version_key(conda.glibc) <= version_key(machine.glibc)
        and pin in (None, conda.version)
    ]
    if not offered:
        wanted = " ".join(part for part in (distribution, pin) if part)
        raise Refused(
            f"{wanted} is not to be had for {machine.architecture} with glibc {machine.glibc}.",
            conflict=(wanted, f"{machine.architecture}, glibc {machine.glibc}"),
        )
    # An installer is run as root: prefer one whose checksum rests on more than one source.
    return next((conda for conda in offered if conda.checksum == "confirmed"), offered[0])


# --- the one loop that all of them share ----------------------------------------------------------------------------


def _pick(
    component: str,
    candidates: Sequence[Candidate],
    *,
    label: Callable[[Candidate], str],
    rules: Callable[[Candidate], Iterable[Objection | None]],
    reservation: Callable[[Candidate], str | None] = lambda candidate: None,
    notes: list[Rejection],
) -> Candidate:
    """Return the first candidate without objection and reservation, else the first without objection.

    What comes before it is added to ``notes``. With no candidate left the reasons are raised as NothingFits.
    """
    rejected: list[Rejection] = []
    second_best: Candidate | None = None
    for candidate in candidates:
        objections = tuple(objection for objection in rules(candidate) if objection)
        if objections:
            rejected.append(Rejection(component, label(candidate), objections[0].text, objections))
            continue
        doubt = reservation(candidate)
        if doubt is None:
            notes.extend(rejected)
            return candidate
        rejected.append(Rejection(component, label(candidate), doubt))
        second_best = second_best or candidate
    if second_best is None:
        raise NothingFits(rejected or [Rejection(component, component, "the pins leave nothing to choose from")])
    notes.extend(entry for entry in rejected if entry.candidate != label(second_best))
    return second_best
