# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does an installed package satisfy a conda match spec or a pip requirement?

Answering that here, from names and versions alone, is what lets a run with nothing to do start no conda process.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from functools import total_ordering
from itertools import zip_longest
from typing import Any, List, Mapping, Optional, Tuple

Atom = Tuple[int, Any]

_ZERO: Atom = (2, 0)
_ATOM = re.compile(r"\d+|[^\d]+")
_BRACKET = re.compile(r"(\w+)\s*=\s*(\"[^\"]*\"|'[^']*'|[^,\]]+)")
_SPEC = re.compile(
    r"^(?:(?P<channel>[^\s]+?)::)?(?P<name>[A-Za-z0-9_.\-]+|\*)\s*(?P<rest>[^\[]*)(?:\[(?P<bracket>.*)\])?$"
)
_OPERATOR = re.compile(r"^(===|==|!=|>=|<=|~=|>|<|=)?\s*(.+)$")
_REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([<>=!~][^;@()]*)?\)?$")


class SpecError(Exception):
    """A match spec or a requirement that cannot be read."""


@total_ordering
class Version:
    """A version in conda's order, which agrees with PEP 440 for the versions that pip installs.

    Source: the rules in the docstring of conda.models.version.VersionOrder.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        epoch, _mark, rest = text.strip().lower().rpartition("!")
        rest, _mark, local = rest.partition("+")
        if not rest or (epoch and not epoch.isdigit()):
            raise SpecError(f"not a version: {text!r}")
        self.parts = [[(2, int(epoch or 0))], *_components(rest)]
        self.local = _components(local) if local else []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and _compare(self, other) == 0

    def __lt__(self, other: Version) -> bool:
        return _compare(self, other) < 0

    def __hash__(self) -> int:
        return hash(self.text)

    def startswith(self, prefix: Version) -> bool:
        """Return whether this is ``prefix`` or one of its sub-versions: 1.2 covers 1.2, 1.2.3 and 1.2rc1, not 1.20."""
        wanted = prefix.parts
        mine = self.parts + [[_ZERO]] * (len(wanted) - len(self.parts))
        last = len(wanted) - 1
        return mine[:last] == wanted[:last] and mine[last][: len(wanted[last])] == wanted[last]

    def public(self) -> Version:
        """Return this version without its local part: 2.1+cu12 is 2.1."""
        return Version(self.text.partition("+")[0])


def _components(text: str) -> List[List[Atom]]:
    return [[_atom(run) for run in _runs(component)] for component in re.split(r"[._-]", text)]


def _runs(component: str) -> List[str]:
    runs = _ATOM.findall(component)
    # A component that begins with a letter has a 0 before it: 1.post1 is 1.0post1.
    return runs if runs and runs[0].isdigit() else ["0", *runs]


def _atom(run: str) -> Atom:
    if run.isdigit():
        return (2, int(run))
    if run == "post":
        return (3, 0)
    return (0, 0) if run == "dev" else (1, run)


def _compare(left: Version, right: Version) -> int:
    for mine, theirs in ((left.parts, right.parts), (left.local, right.local)):
        for a, b in zip_longest(mine, theirs, fillvalue=[_ZERO]):
            for x, y in zip_longest(a, b, fillvalue=_ZERO):
                if x != y:
                    return -1 if x < y else 1
    return 0


@dataclass(frozen=True)
class Package:
    """One package of an environment, by what the name of its record says."""

    name: str
    version: str
    build: str

    @property
    def dist(self) -> str:
        """The name that conda gives the package's file, without its ending."""
        return f"{self.name}-{self.version}-{self.build}"

    @classmethod
    def from_dist(cls, dist: str) -> Package:
        """Read ``name-version-build``. Raises SpecError when it is not one."""
        parts = dist.rsplit("-", 2)
        if len(parts) != 3:
            raise SpecError(f"not the name of a conda package: {dist!r}")
        return cls(*parts)


@dataclass(frozen=True)
class MatchSpec:
    """What one entry of O(packages) asks for."""

    name: str
    version: str = ""
    build: str = ""
    channel: str = ""

    @classmethod
    def parse(cls, text: str) -> MatchSpec:
        """Read ``name``, ``name=1.2``, ``name>=1,<2``, ``name 1.2 build``, ``channel::name=1.2=build`` or ``name[…]``.

        Raises SpecError for what is not a match spec.
        """
        match = _SPEC.match(text.strip())
        if not match:
            raise SpecError(f"not a conda match spec: {text!r}")
        version, build = _version_and_build(match.group("rest").strip())
        bracket = {key: value.strip("\"' ") for key, value in _BRACKET.findall(match.group("bracket") or "")}
        unknown = set(bracket) - {"version", "build", "channel"}
        if unknown:
            raise SpecError(f"{text!r}: {', '.join(sorted(unknown))} cannot be asked for; use a lock")
        return cls(
            name=match.group("name").lower(),
            version=bracket.get("version", version),
            build=bracket.get("build", build),
            channel=bracket.get("channel") or match.group("channel") or "",
        )

    def matches(self, package: Package) -> bool:
        """Return whether ``package`` satisfies name, version and build. The channel is not the package's to tell."""
        return (
            package.name == self.name
            and _glob(self.build, package.build)
            and any(
                all(_holds(term, Version(package.version)) for term in alternative.split(",") if term.strip())
                for alternative in self.version.split("|")
            )
        )


def _version_and_build(rest: str) -> Tuple[str, str]:
    if not rest:
        return "", ""
    if " " in rest and not re.search(r"[<>=!~,|]\s", rest):
        version, _space, build = rest.partition(" ")
        return version if _OPERATOR.match(version).group(1) else f"=={version}", build.strip()  # type: ignore[union-attr]
    exact = re.match(r"^(==?)([^=<>!~,|\s]+)=([^=\s]+)$", rest)
    if exact:
        # With a build named, "=1.2=build" means exactly 1.2.
        return f"=={exact.group(2)}", exact.group(3)
    if not re.match(r"[<>=!~]", rest) and not rest.endswith("*"):
        return f"=={rest}", ""
    return rest, ""


def _glob(pattern: str, text: str) -> bool:
    if pattern.startswith("^") and pattern.endswith("$"):
        return re.match(pattern, text) is not None
    return not pattern or fnmatch.fnmatchcase(text, pattern)


def _holds(term: str, version: Version) -> bool:
    """Return whether ``version`` is within one term of a version constraint such as ``>=1.2`` or ``1.2.*``."""
    match = _OPERATOR.match(term.strip())
    if not match:
        raise SpecError(f"not a version constraint: {term!r}")
    operator, bound = match.group(1) or "", match.group(2).strip()
    if bound == "*":
        return True
    if bound.endswith("*"):
        prefix = Version(bound[:-1].rstrip("."))
        within = version.startswith(prefix)
        # ">=1.2.*" is how some recipes write ">=1.2".
        return {"!=": not within, ">=": version >= prefix, ">": version > prefix, "<": version < prefix}.get(
            operator, within
        )
    wanted = Version(bound)
    if operator == "~=":
        family = Version(re.sub(r"[._-][^._-]*$", "", bound))
        return version >= wanted and version.startswith(family)
    return {
        "": version == wanted,
        "=": version.startswith(wanted),
        "==": version == wanted,
        "===": version.text == bound,
        "!=": version != wanted,
        ">=": version >= wanted,
        "<=": version <= wanted,
        ">": version > wanted,
        "<": version < wanted,
    }[operator]


def normalized(name: str) -> str:
    """Return the name of a Python distribution as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_name(requirement: str) -> str:
    """Return the normalized name in a pip requirement; empty for a bare URL or path."""
    match = re.match(r"^\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[|[<>=!~;@(\s]|$)", requirement)
    return normalized(match.group(1)) if match else ""


def requirement_holds(requirement: str, distributions: Mapping[str, str]) -> Optional[bool]:
    """Return whether ``distributions`` (normalized name to version) satisfy a pip requirement.

    None when name and version alone cannot tell: a URL, a path, or an environment marker.
    """
    match = _REQUIREMENT.match(requirement.strip())
    if not match:
        return None
    installed = distributions.get(normalized(match.group(1)))
    if installed is None:
        return False
    terms = [term for term in (match.group(2) or "").split(",") if term.strip()]
    return all(_pip_term_holds(term, installed) for term in terms)


def _pip_term_holds(term: str, installed: str) -> bool:
    version = Version(installed)
    if "+" not in term:
        version = version.public()
    match = re.match(r"^\s*<\s*([^=*]+)$", term)
    # PEP 440: "<2" excludes 2.0rc1, which conda's order puts before 2.
    if match and version.startswith(Version(match.group(1))):
        return False
    return _holds(term, version)
