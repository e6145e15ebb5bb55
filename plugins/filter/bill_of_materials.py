# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: bill_of_materials
short_description: List what the components of a run's machines are made of
version_added: "1.0.0"
description:
  - Lists for each machine that answered the system's packages, the Python distributions, the conda packages and the
    installers of its components, as a bill of materials in CycloneDX's JSON (1.6).
  - It bears no time. The same machines make the same bill.
author:
  - The gpulab.workstation authors (@gpulab)
options:
  _input:
    description: The records, one a machine, as C(playbooks/site.yml) collects them.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the bill of a run that is past
  ansible.builtin.copy:
    content: "{{ records | gpulab.workstation.bill_of_materials | to_json }}"
    dest: sbom.cdx.json
    mode: "0644"
  vars:
    records: "{{ (lookup('ansible.builtin.file', 'run.json') | from_json).records }}"
"""

RETURN = r"""
_value:
  description: The bill.
  type: dict
  sample:
    bomFormat: CycloneDX
    specVersion: "1.6"
    version: 1
    serialNumber: urn:uuid:5d2f3b52-0d2c-5f0c-8f3c-1b3f8d4ad9a1
    components:
      - type: device
        bom-ref: desk-1
        name: desk-1
        components:
          - type: library
            bom-ref: desk-1/pkg:pypi/keras@3.15.1
            name: keras
            version: 3.15.1
            purl: pkg:pypi/keras@3.15.1
"""

from typing import Any

from ansible_collections.gpulab.workstation.plugins.plugin_utils import sbom


class FilterModule:
    """The door to plugin_utils/sbom.py."""

    def filters(self) -> dict[str, Any]:
        return {"bill_of_materials": sbom.run}
