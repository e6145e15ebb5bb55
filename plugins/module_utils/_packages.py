# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide how a set of packages that must be of one version gets there: pure, the same for apt and dnf.

A driver is fifty packages whose versions must be equal. Package managers think of one package at a time: they upgrade
half of such a set, or refuse a downgrade because the other half is newer. So the set is decided as a whole here, and
carried out as one transaction by ``_package_managers``.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cmp_to_key
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

# How packages relate to versions of others, as Debian writes it.
_HOLDS = {"<<": operator.lt, "<=": operator.le, "=": operator.eq, ">=": operator.ge, ">>": operator.gt}


class PackageError(RuntimeError):
    """The set cannot be brought to what is wanted; the message says why and what to do."""


@dataclass(frozen=True)
class Request:
    """What a set should be.

    Attributes:
        name: The set's name; files that pin and hold it carry it.
        choices: Lists of packages, best first; the first list of which every package exists is taken.
        owned: Globs of the packages that belong to the set, as ``matches`` reads them.
        follows: Globs of packages that follow the kernel's version, not the set's: taken away with the set, never held.
        anchor: Globs of the packages whose version is the version of the set; the first one that exists counts.
        release: What that version has to begin with ("580", "580.178.04"), or nothing.
        absent: Globs of packages that must not be there beside the set, though they may be of its version.
        stream: The dnf module stream that the set comes from ("nvidia-driver:580-open"); one that ends in ":" is of no
            stream.
        reselect: Replace what is installed, though it fits, when no source offers it: the source has changed.
        exact: Versions, without epoch, of packages that follow another than the set: headers are those of a kernel.
    """

    name: str
    choices: Sequence[Sequence[str]]
    owned: Sequence[str] = ()
    follows: Sequence[str] = ()
    anchor: Sequence[str] = ()
    release: str = ""
    absent: Sequence[str] = ()
    stream: str = ""
    reselect: bool = False
    exact: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Found:
    """What a machine has and could have.

    Attributes:
        installed: Version by name.
        available: Versions that a source offers, newest first, by name.
        held: Names that upgrades leave alone.
        interrupted: Names that an interrupted run left unpacked but not configured, or half removed.
        stream: The enabled dnf module stream of the request's module, in the request's form.
        made_for: Of packages that follow the kernel, which versions of the set each of theirs was made for, by name and
            own version: relations (``<=``, version) that all have to hold.
    """

    installed: Mapping[str, str]
    available: Mapping[str, Sequence[str]]
    held: Iterable[str] = ()
    interrupted: Sequence[str] = ()
    stream: str = ""
    made_for: Mapping[str, Mapping[str, Sequence[Tuple[str, str]]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What one transaction does. ``version`` is the one that the set has afterwards, without its packaging revision."""

    version: str = ""
    install: Dict[str, str] = field(default_factory=dict)
    remove: List[str] = field(default_factory=list)
    unknown: List[str] = field(default_factory=list)
    repair: List[str] = field(default_factory=list)

    @property
    def transaction(self) -> bool:
        return bool(self.install or self.remove or self.repair or self.unknown)


def plan_present(*, request: Request, found: Found, sources_pending: bool = False) -> Plan:
    """Decide the transaction that brings the set to ``request``.

    What is installed and fits is kept: a newer version in the archive is no reason to touch a driver that works. Where
    what it lacks is not to be had in its version, the set moves on, for two versions side by side never work.

    Args:
        request: The set as wanted.
        found: The set as it is.
        sources_pending: The sources are not there yet (check mode), so packages may be unknown.

    Raises:
        PackageError: No source offers the packages, or none in one version of the release.
    """
    names, version, unknown = _choose(request=request, found=found, sources_pending=sources_pending)

    install, remove = {}, []
    for name in names:
        if name in request.exact and name not in unknown:
            target = _exact(name, request.exact[name], found)
        else:
            target = _target(name, version=version, request=request, found=found)
        if target and found.installed.get(name) != target:
            install[name] = target
    for name in sorted(set(found.installed) - set(names)):
        if matches(name, request.absent):
            remove.append(name)
        elif matches(name, request.owned) and not unknown:
            target = _target(name, version=version, request=request, found=found)
            if not target:
                remove.append(name)
            elif target != found.installed[name]:
                install[name] = target
    return Plan(version=version, install=install, remove=remove, unknown=unknown, repair=list(found.interrupted))


def plan_absent(*, request: Request, found: Found) -> Plan:
    """Decide the transaction that takes the whole set away."""
    remove = sorted(n for n in found.installed if matches(n, request.owned) or matches(n, request.follows))
    return Plan(remove=remove, repair=list(found.interrupted))


def plan_previous(*, previous: Mapping[str, str], request: Request, found: Found) -> Plan:
    """Decide the transaction that puts back the packages of ``previous`` (version by name) and no others.

    Raises:
        PackageError: A package is no longer offered in that version.
    """
    gone = sorted(
        f"{name} {version}"
        for name, version in previous.items()
        if found.installed.get(name) != version and version not in found.available.get(name, ())
    )
    if gone:
        raise PackageError(f"No source offers any more: {', '.join(gone)}. Name another version.")
    anchor = anchor_of(request.anchor, previous)
    return Plan(
        version=upstream(previous[anchor]) if anchor else "",
        install={name: version for name, version in previous.items() if found.installed.get(name) != version},
        remove=[name for name in plan_absent(request=request, found=found).remove if name not in previous],
        repair=list(found.interrupted),
    )


def matches(name: str, globs: Sequence[str]) -> bool:
    """Return whether ``globs`` mean ``name``. The last one that fits decides, and with ``!`` it decides against."""
    for glob in reversed(globs):
        if fnmatchcase(name, glob.lstrip("!")):
            return not glob.startswith("!")
    return False


def anchor_of(globs: Sequence[str], names: Iterable[str]) -> Optional[str]:
    """Return the package that tells the version of a set: the first glob that fits decides."""
    candidates = sorted(names)
    return next((name for glob in globs for name in candidates if fnmatchcase(name, glob)), None)


def upstream(version: str) -> str:
    """Return a version as its author wrote it: without epoch and packaging revision."""
    return version.split(":", 1)[-1].rsplit("-", 1)[0]


def in_release(version: str, release: str) -> bool:
    """Return whether ``version`` belongs to ``release``: 580.178.04 to 580, 580.178 or 580.178.04, and not to 58."""
    own = upstream(version)
    return not release or own == release or own.startswith(release + ".")


def newest_first(versions: Iterable[str]) -> List[str]:
    """Sort package versions, newest first, comparing their numbers as numbers."""
    return sorted(set(versions), key=cmp_to_key(_compare), reverse=True)


def _compare(one: str, other: str) -> int:
    """Compare as rpm does: epoch, then numbers and words from left to right; a number is newer than a word."""
    left, right = _sortable(one), _sortable(other)
    return (left > right) - (left < right)


def _sortable(version: str) -> Tuple[Any, ...]:
    epoch, _colon, rest = version.rpartition(":")
    # "~" sorts before everything, even the end: 1.0~rc1 is older than 1.0.
    parts = re.findall(r"~|\d+|[A-Za-z]+", rest)
    order = [(-1, 0, "") if p == "~" else (2, int(p), "") if p.isdigit() else (1, 0, p) for p in parts]
    return (int(epoch or 0), *order, (0, 0, ""))


def _known(name: str, found: Found) -> bool:
    return name in found.installed or bool(found.available.get(name))


def _choose(*, request: Request, found: Found, sources_pending: bool) -> Tuple[Sequence[str], str, List[str]]:
    """Return the packages of the set, its version, and those of them that are not known yet."""
    anchor = _anchor(request)
    known = [names for names in request.choices if all(_known(name, found) for name in names)]
    versions = _versions(request=request, found=found, anchor=anchor)
    for version in versions:
        for names in known:
            if not _lacking(names, version=version, request=request, found=found):
                return names, version, []
    last = request.choices[-1]
    missing = [name for name in last if not _known(name, found)]
    if sources_pending:
        return last, versions[0] if versions else request.release, missing or list(last)
    if not known:
        raise PackageError(f"No package source of this machine offers {', '.join(missing)}.")
    offered = list(dict.fromkeys(upstream(version) for version in found.available.get(anchor, ())))
    if not versions:
        others = ", ".join(offered) or "none"
        raise PackageError(f"No package source of this machine offers {anchor} {request.release}. It offers: {others}.")
    raise PackageError(_advice(known[-1], version=versions[0], offered=offered, request=request, found=found))


def _anchor(request: Request) -> str:
    return anchor_of(request.anchor, (name for names in request.choices for name in names)) or ""


def _versions(*, request: Request, found: Found, anchor: str) -> List[str]:
    """Return the versions that the set may have, best first: the one that is here, then the newest."""
    if not anchor:
        return [""]
    offered = found.available.get(anchor, ())
    current = found.installed.get(anchor)
    kept = [current] if current and (not request.reselect or current in offered) else []
    fitting = [version for version in (*kept, *offered) if in_release(version, request.release)]
    return list(dict.fromkeys(map(upstream, fitting)))


def _lacking(names: Sequence[str], *, version: str, request: Request, found: Found) -> List[str]:
    """Return the packages that would have to be of ``version`` of the set, and are not to be had so."""
    return [
        name
        for name in names
        if name not in request.exact
        and _of_the_set(name, request=request, found=found)
        and not _fitting(name, version=version, found=found, reselect=request.reselect)
    ]


def _of_the_set(name: str, *, request: Request, found: Found) -> bool:
    """Return whether the versions of ``name`` are those of the set: all that the set comes in are among them."""
    offered = set(map(upstream, found.available.get(_anchor(request), ())))
    own = set(map(upstream, found.available.get(name, ())))
    return name in found.made_for or (bool(offered) and offered <= own)


def _advice(names: Sequence[str], *, version: str, offered: Sequence[str], request: Request, found: Found) -> str:
    """Say what ``version`` lacks, and which version of its branch lacks nothing."""
    lacking = ", ".join(_lacking(names, version=version, request=request, found=found))
    branch = [other for other in offered if in_release(other, version.split(".")[0])]
    whole = [v for v in branch if not _lacking(names, version=v, request=request, found=found)]
    instead = f"It offers all that goes together in {whole[0]}: ask for that version." if whole else ""
    return f"No package source of this machine offers {lacking} {version}. {instead}".rstrip()


def _exact(name: str, version: str, found: Found) -> str:
    candidates = (found.installed.get(name, ""), *found.available.get(name, ()))
    fitting = [candidate for candidate in candidates if candidate.split(":", 1)[-1] == version]
    if not fitting:
        raise PackageError(
            f"No package source of this machine offers {name} {version}, for the kernel that the driver is to run on."
            " Upgrade the kernel, reboot, and run this again."
        )
    return fitting[0]


def _fitting(name: str, *, version: str, found: Found, reselect: bool) -> List[str]:
    """Return the versions of ``name`` that go with ``version`` of the set, the one that is here first."""
    current = [] if reselect else [found.installed.get(name, "")]
    candidates = [own for own in (*current, *found.available.get(name, ())) if own]
    return [own for own in candidates if _goes_with(own, version, found.made_for.get(name, {}).get(own))]


def _goes_with(own: str, version: str, made_for: Optional[Sequence[Tuple[str, str]]]) -> bool:
    if made_for is None:
        return upstream(own) == version
    return all(_HOLDS[relation](_compare(version, upstream(bound)), 0) for relation, bound in made_for)


def _target(name: str, *, version: str, request: Request, found: Found) -> str:
    """Return the version that ``name`` should have: one that goes with the set's, or its own newest, or none."""
    current, offered = found.installed.get(name, ""), found.available.get(name, ())
    if version:
        fitting = _fitting(name, version=version, found=found, reselect=request.reselect)
        if fitting:
            return fitting[0]
        if _of_the_set(name, request=request, found=found):
            return ""
    if current and (current in offered):
        return current
    return offered[0] if offered else ""
