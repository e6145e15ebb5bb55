# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find templates in what is to be written for an inventory: Ansible runs those there, whoever the words are from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible.template import Templar

# What a template is, is Ansible's to say: it knows more beginnings than the braces.
_TEMPLAR = Templar()


def templates(value: Any) -> Iterator[str]:
    """Yield the texts in ``value``, keys included, that Ansible takes for templates, fit for a message."""
    if isinstance(value, Mapping):
        for item in value.items():
            yield from templates(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from templates(item)
    elif _TEMPLAR.is_possibly_template(value):
        yield f"{str(value)!a:.120}"
