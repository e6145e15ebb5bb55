# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say where this machine's apt gets the distribution's packages from, in both forms of its source files.

Debian ships NVIDIA's packages in components that a new machine has not enabled. They are to come from the very
mirrors, suites and keys that the machine uses for the others, so those are read, not assumed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, Iterable, List, Sequence, Set, Tuple


@dataclass(frozen=True)
class Source:
    """One place that apt takes packages from."""

    uri: str
    suite: str
    components: Tuple[str, ...]
    signed_by: str = ""


def parse_list(text: str) -> List[Source]:
    """Read a file in the form of one line a source (``*.list``)."""
    found = []
    for line in text.splitlines():
        entry = re.match(r"\s*deb\s+(?:\[(?P<options>[^\]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)(?P<rest>[^#]*)", line)
        if entry:
            key = re.search(r"signed-by=(\S+)", entry.group("options") or "")
            components = tuple(entry.group("rest").split())
            found.append(Source(entry.group("uri"), entry.group("suite"), components, key.group(1) if key else ""))
    return found


def parse_deb822(text: str) -> List[Source]:
    """Read a file in the form of paragraphs (``*.sources``)."""
    found = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = [line for line in paragraph.splitlines() if not line.startswith("#")]
        # A value goes on in the lines that begin with white space: that is how keys are written into the file itself.
        fields = dict(re.findall(r"(?m)^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", "\n".join(lines)))
        values = {name.lower(): value for name, value in fields.items()}
        if "deb" not in values.get("types", "").split() or values.get("enabled", "yes").lower() in ("no", "false"):
            continue
        components = tuple(values.get("components", "").split())
        for uri in values.get("uris", "").split():
            for suite in values.get("suites", "").split():
                found.append(Source(uri, suite, components, values.get("signed-by", "")))
    return found


def missing(sources: Iterable[Source], wanted: Sequence[str]) -> List[Source]:
    """Return what to add so that every place that offers ``main`` offers ``wanted`` as well."""
    here: Dict[Tuple[str, str], Set[str]] = {}
    keys: Dict[Tuple[str, str], str] = {}
    for source in sources:
        place = (source.uri.rstrip("/"), source.suite)
        here.setdefault(place, set()).update(source.components)
        keys.setdefault(place, source.signed_by)
    lacking = {place: tuple(c for c in wanted if c not in there) for place, there in here.items() if "main" in there}
    return [Source(*place, components, keys[place]) for place, components in lacking.items() if components]


def compose(sources: Iterable[Source], *, heading: str) -> str:
    """Return a file of paragraphs with ``sources``."""
    paragraphs = [heading.rstrip("\n")]
    for source in sources:
        lines = ["Types: deb", f"URIs: {source.uri}", f"Suites: {source.suite}"]
        lines.append(f"Components: {' '.join(source.components)}")
        if source.signed_by:
            lines.append(f"Signed-By: {source.signed_by}")
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs) + "\n"
