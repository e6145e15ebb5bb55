# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The roles' inputs as their argument specs and defaults state them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

ROLES_DIR = Path(__file__).parents[2] / "roles"


@lru_cache(maxsize=None)
def roles() -> tuple[str, ...]:
    """Return the collection's roles in alphabetical order."""
    return tuple(sorted(path.parents[1].name for path in ROLES_DIR.glob("*/meta/argument_specs.yml")))


@lru_cache(maxsize=None)
def spec(role: str) -> Mapping[str, Any]:
    """Return the options of a role's main entry point, by name."""
    text = (ROLES_DIR / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["argument_specs"]["main"]["options"]


@lru_cache(maxsize=None)
def defaults(role: str) -> Mapping[str, Any]:
    """Return a role's default inputs, by name."""
    return yaml.safe_load((ROLES_DIR / role / "defaults" / "main.yml").read_text(encoding="utf-8"))


def role_of(name: str) -> str | None:
    """Return the role whose prefix the variable ``name`` carries."""
    return next((role for role in roles() if name.startswith(f"{role}_")), None)
