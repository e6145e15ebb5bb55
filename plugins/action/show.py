# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Print text to the terminal as it is; the documentation is in plugins/modules/show.py."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.gpulab.workstation.plugins.plugin_utils.terminal import harmless


class ActionModule(ActionBase):
    """Runs on the controller alone."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Print O(text) and change nothing."""
        result = super().run(tmp, task_vars)
        _unused, args = self.validate_argument_spec(argument_spec={"text": {"type": "str", "required": True}})
        Display().display(harmless(args["text"]).rstrip("\n"))
        return {**result, "changed": False}
