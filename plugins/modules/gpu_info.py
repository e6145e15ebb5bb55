#!/usr/bin/python

# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_info
short_description: Tell the truth about a machine's NVIDIA GPUs and their driver
version_added: "1.0.0"
author:
  - The gpulab.workstation authors (@gpulab)
description:
  - Reads what GPUs a machine has, what driver is installed, loaded and in use, and who uses it, and names what is
    wrong.
  - Asks NVML first, then C(nvidia-smi) if NVML does not answer, and PCI in sysfs always. RV(sources) tells which
    one answered.
  - Knows architecture and compute capability from the PCI id before any driver is installed.
  - Changes nothing. Needs nothing but Python 3.8 or newer on the target. A value that no source tells is V(null).
options:
  root:
    description:
      - The file system to look at, for an image or a chroot mounted somewhere.
      - Other than V(/), NVML and C(nvidia-smi) are asked only where O(nvml_library) and O(nvidia_smi) name them, as
        those of the running machine say nothing of another.
    type: path
    default: /
  nvml_library:
    description:
      - The NVML library to load. Without it, C(libnvidia-ml.so.1) as the dynamic linker finds it.
    type: path
  nvidia_smi:
    description:
      - The C(nvidia-smi) to run where NVML does not answer. Without it, the one in the C(PATH).
      - An empty string keeps it from being run.
    type: str
  facts:
    description:
      - Whether to set what was found as C(ansible_facts['gpulab']) as well.
    type: bool
    default: false
notes:
  - Root sees all processes' users and Secure Boot's keys. For another user some values are V(null).
attributes:
  check_mode:
    description: Can run in check mode and return what it would return otherwise.
    support: full
  diff_mode:
    description: Returns details of changes.
    support: none
seealso:
  - name: The findings and what to do about them
    description: Every code of RV(findings), with its meaning and remedy.
    link: https://github.com/gpulab/gpulab.workstation/blob/main/docs/gpu_info.md
"""

EXAMPLES = r"""
- name: Look at the GPUs
  gpulab.workstation.gpu_info:
  register: look

- name: Say what is wrong with them
  ansible.builtin.debug:
    msg: "{{ look.findings | selectattr('severity', 'eq', 'error') | map(attribute='message') }}"

- name: Keep machines without a GPU that TensorFlow can use out of the play
  ansible.builtin.meta: end_host
  when: look.gpus | selectattr('compute_capability', 'ansible.builtin.version', '6.0', '>=') | length == 0

- name: Read an image before it is ever booted
  gpulab.workstation.gpu_info:
    root: /mnt/image

- name: Have it as a fact
  gpulab.workstation.gpu_info:
    facts: true
"""

RETURN = r"""
gpus:
  description: The NVIDIA GPUs, each once, by PCI address.
  returned: success
  type: list
  elements: dict
  sample:
    - index: 0
      pci_address: "0000:01:00.0"
      vendor_id: "0x10de"
      device_id: "0x2684"
      subsystem_id: "1043:88e2"
      name: NVIDIA GeForce RTX 4090
      chip: AD102
      architecture: ada
      compute_capability: "8.9"
      identified_by: nvml
      kernel_modules: either
      last_branch:
      kernel_driver: nvidia
      uuid: GPU-6d3ad9c5-1d47-0f5e-9f4e-000000000001
      memory_mib: 24564
      memory_used_mib: 18800
      ecc:
      mig:
      power_limit_w: 450.0
      persistence: true
      pcie: {generation: 4, generation_max: 4, width: 16, width_max: 16}
      display_attached: false
      boot_display: false
      fabric:
      state: ok
      processes: [{pid: 4242, user: ada, name: python3, kind: compute, memory_mib: 18000}]
      errors: []
  contains:
    index:
      description: The number NVIDIA's tools give it; V(null) for a GPU that the running driver does not drive.
      type: int
      returned: always
      sample: 0
    pci_address:
      description: Its PCI address; V(null) where there is no bus to be seen, as in WSL.
      type: str
      returned: always
      sample: "0000:01:00.0"
    vendor_id:
      description: NVIDIA's PCI vendor id.
      type: str
      returned: always
      sample: "0x10de"
    device_id:
      description: The PCI device id.
      type: str
      returned: always
      sample: "0x2684"
    subsystem_id:
      description: Vendor and model of the card.
      type: str
      returned: always
      sample: "1043:88e2"
    name:
      description: The product's name, from the driver or else from the PCI id.
      type: str
      returned: always
      sample: NVIDIA GeForce RTX 4090
    chip:
      description: The chip's name.
      type: str
      returned: always
      sample: AD102
    architecture:
      description: >-
        V(fermi), V(kepler), V(maxwell), V(pascal), V(volta), V(turing), V(ampere), V(ada), V(hopper),
        V(blackwell) or newer.
      type: str
      returned: always
      sample: ada
    compute_capability:
      description: The CUDA compute capability.
      type: str
      returned: always
      sample: "8.9"
    identified_by:
      description: >-
        Who told architecture and compute capability. V(nvml) or V(nvidia_smi), the driver; V(table), the PCI
        id; V(range), inferred from where
        an id that is not listed lies among those that are.
      type: str
      returned: always
      sample: nvml
    kernel_modules:
      description: The kernel modules it runs on, V(open), V(proprietary) or V(either).
      type: str
      returned: always
      sample: either
    last_branch:
      description: The last driver branch that supports it; V(null) while current ones do.
      type: str
      returned: always
      sample: "580"
    kernel_driver:
      description: The kernel driver that is bound to it.
      type: str
      returned: always
      sample: nvidia
    uuid:
      description: NVIDIA's identifier of this very GPU.
      type: str
      returned: always
      sample: GPU-6d3ad9c5-1d47-0f5e-9f4e-000000000001
    memory_mib:
      description: Its memory.
      type: int
      returned: always
      sample: 24564
    memory_used_mib:
      description: The memory in use.
      type: int
      returned: always
      sample: 18800
    ecc:
      description: >-
        Memory error correction, now and after the next reset; errors since the driver was loaded and in the
        GPU's life; whether the
        replacement of a bad row waits for a reset or has failed. V(null) for a GPU without it.
      type: dict
      returned: always
      sample:
        current: true
        pending: true
        corrected: 0
        uncorrected: 0
        corrected_total: 0
        uncorrected_total: 0
        remap_pending: false
        remap_failed: false
    mig:
      description: >-
        Whether it is partitioned (Multi-Instance GPU), now and after the next reset. V(null) for a GPU that
        cannot be.
      type: dict
      returned: always
      sample: {current: false, pending: false}
    power_limit_w:
      description: The power limit in force.
      type: float
      returned: always
      sample: 450.0
    persistence:
      description: Whether persistence mode is on.
      type: bool
      returned: always
      sample: true
    pcie:
      description: Generation and lanes of its PCI Express link, now and at most. An idle GPU lowers the generation.
      type: dict
      returned: always
      sample: {generation: 4, generation_max: 4, width: 16, width_max: 16}
    display_attached:
      description: Whether a screen is attached.
      type: bool
      returned: always
      sample: false
    boot_display:
      description: Whether the firmware drew on it at boot.
      type: bool
      returned: always
      sample: false
    fabric:
      description: Where NVSwitches connect the GPUs, how far that is, V(not_started), V(in_progress) or V(completed).
      type: str
      returned: always
      sample: completed
    state:
      description: >-
        V(ok), the driver answers for it; V(lost), it has fallen off the bus; V(unreadable), it is there and
        does not answer; V(undriven), no NVIDIA
        driver drives it; V(passed_through), it is given to a virtual machine.
      type: str
      returned: always
      sample: ok
    processes:
      description: >-
        The processes on it. One that computes and draws is there twice. Where a driver is loaded and neither NVML nor
        nvidia-smi answers, as after an upgrade under the running driver, those that have C(/dev/nvidia-uvm) open, as
        whatever computes has, of other users for root only.
      type: list
      elements: dict
      returned: always
      sample: [{pid: 4242, user: ada, name: python3, kind: compute, memory_mib: 18000}]
    errors:
      description: The driver's refusals, in its own words, other than "not supported".
      type: list
      elements: str
      returned: always
      sample: []
other_gpus:
  description: Graphics devices of other vendors.
  returned: success
  type: list
  elements: dict
  sample: [{pci_address: "0000:00:02.0", vendor_id: "0x8086", device_id: "0x4680", vendor: Intel}]
driver:
  description: >-
    NVIDIA's driver. C(installed) is the version of the package, else of the module or library on disk; C(loaded)
    that of the running module;
    C(library) that of NVML. C(modules) is V(open) or V(proprietary), of the running module, else of the one on disk,
    which C(module_flavour) is of. C(cuda) is the newest CUDA it runs, known once it runs.
  returned: success
  type: dict
  sample:
    installed: 580.95.05
    package: nvidia-driver-580-open
    package_version: 580.95.05-0ubuntu0.24.04.1
    fabric_manager:
    module_file: /lib/modules/6.8.0-85-generic/updates/dkms/nvidia.ko
    module_version: 580.95.05
    module_flavour: open
    module_signed: true
    loaded: 580.95.05
    library: 580.95.05
    modules: open
    cuda: "13.0"
kernel:
  description: >-
    The running kernel, whether its headers are installed, the kernels that are, the newest one last, the one that
    boots next where the boot loader names it, as EL's does, and the newer ones that have no nvidia module although the
    running one has. C(boot_id) is another one at each boot.
  returned: success
  type: dict
  sample:
    boot_id: 1f0c8f9e-6f0e-4c43-8f0a-2f4b0f5f9a51
    running: 6.8.0-85-generic
    headers: true
    installed: [6.8.0-85-generic]
    boots_next:
    newer_without_module: []
dkms:
  description: What DKMS has made of NVIDIA's modules, V(added), V(built) or V(installed) for a kernel.
  returned: success
  type: list
  elements: dict
  sample: [{module: nvidia, version: 580.95.05, kernel: 6.8.0-85-generic, state: installed}]
nouveau:
  description: >-
    Whether the kernel's own driver (nouveau, nova) is loaded, which GPUs it holds, and whether it is kept from
    loading.
  returned: success
  type: dict
  sample: {loaded: false, module: null, blacklisted: true, holds: []}
secure_boot:
  description: V(enabled), V(disabled), V(unsupported) on a machine that BIOS started, or V(null) where it is hidden.
  returned: success
  type: str
  sample: disabled
secure_boot_key:
  description: The certificate of the key that signs modules built on this machine, and whether the firmware trusts it.
  returned: success
  type: dict
  sample: {certificate: /var/lib/shim-signed/mok/MOK.der, enrolled: true}
device_nodes:
  description: >-
    The nodes in C(/dev) by which programs reach the GPUs. C(not_permitted) are closed to the user the module runs
    as, C(restricted) to users
    outside of their group.
  returned: success
  type: dict
  sample: {present: [/dev/nvidiactl, /dev/nvidia0, /dev/nvidia-uvm], missing: [], not_permitted: [], restricted: []}
nvswitches:
  description: How many NVSwitches there are.
  returned: success
  type: int
  sample: 0
fabric_manager_running:
  description: Whether the service that sets the NVSwitches up runs; V(null) without NVSwitches.
  returned: success
  type: bool
  sample: true
reboot_pending:
  description: Whether the machine waits for a reboot.
  returned: success
  type: bool
  sample: false
reboot_reasons:
  description: What it waits for.
  returned: success
  type: list
  elements: str
  sample: ["driver 580.95.05 is installed, 580.65.06 runs"]
sessions:
  description: Who is logged in, at the desktop (with a seat) or from elsewhere.
  returned: success
  type: list
  elements: dict
  sample: [{user: ada, seat: seat0, type: wayland, active: true}]
platform:
  description: What surrounds the GPUs; hypervisor and container engine are V(null) where none is to be seen.
  returned: success
  type: dict
  sample: {virtualization: null, container: null, wsl: false, laptop: false, product: Precision 5860 Tower}
sources:
  description: Which sources were asked, which answered, and why others did not. C(code) is NVML's number.
  returned: success
  type: dict
  sample:
    pci: {asked: /sys/bus/pci/devices, answered: true, error: null, code: null}
    nvml: {asked: libnvidia-ml.so.1, answered: true, error: null, code: null}
    nvidia_smi: {asked: null, answered: false, error: null, code: null}
findings:
  description: What is wrong or worth knowing, errors first. docs/gpu_info.md explains each code.
  returned: success
  type: list
  elements: dict
  sample:
    - code: nouveau_in_use
      severity: error
      message: The kernel's own driver nouveau holds 0000:01:00.0.
      remedy: Blacklist it, rebuild the initramfs and reboot; role nvidia_driver does.
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils._gpu import look


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "default": "/"},
            "nvml_library": {"type": "path"},
            "nvidia_smi": {"type": "str"},
            "facts": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    options = module.params
    seen = look(root=options["root"], nvml_library=options["nvml_library"], nvidia_smi=options["nvidia_smi"])
    module.exit_json(changed=False, **seen, **({"ansible_facts": {"gpulab": seen}} if options["facts"] else {}))


if __name__ == "__main__":
    main()
