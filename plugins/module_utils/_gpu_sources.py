# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask NVIDIA's own: NVML, and where it does not answer, nvidia-smi."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

from ansible_collections.gpulab.workstation.plugins.module_utils import _nvidia_smi, _nvml

Source = Dict[str, Any]


def ask(*, library: Optional[str], program: Optional[str]) -> Tuple[Optional[Dict[str, Any]], Dict[str, Source]]:
    """Return the first answer, and how each source fared. None is not asked."""
    nvml, nvidia_smi = source(library), source(None)
    answer = None
    if library:
        try:
            answer = _nvml.query(library)
            nvml["answered"] = True
        except _nvml.NvmlError as error:
            nvml.update(error=str(error), code=error.code)
    if program and answer is None:
        nvidia_smi = source(program)
        try:
            answer = _nvidia_smi.query(program)
            nvidia_smi["answered"] = True
        except _nvidia_smi.NvidiaSmiError as error:
            nvidia_smi["error"] = str(error)
    return answer, {"nvml": nvml, "nvidia_smi": nvidia_smi}


def source(asked: Optional[str]) -> Source:
    return {"asked": asked, "answered": False, "error": None, "code": None}
