"""What a play's processes are to find loaded already, is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from ansible.plugins.loader import filter_loader, init_plugin_loader
init_plugin_loader()
resolver = "ansible_collections.gpulab.workstation.plugins.plugin_utils.resolver"
assert resolver not in sys.modules
assert filter_loader.get("gpulab.workstation.preloaded").j2_function("workstations") == "workstations"
assert resolver in sys.modules
from ansible_collections.gpulab.workstation.plugins.plugin_utils import input_problems
assert input_problems.rules.cache_info().currsize == 1
"""


def test_the_filters_are_loaded_in_this_process_with_what_they_import() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
