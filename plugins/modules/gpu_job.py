#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_job
short_description: Run a long command, show its progress, and record the GPUs while it runs
version_added: "1.0.0"
description:
  - Runs a command on the target, apart from the connection, and looks at it every few seconds. What the command tells
    of its progress appears on the controller while it runs.
  - Nothing is left behind. The job, and everything it started, is ended at the timeout, when the play is interrupted,
    and when the controller has not been heard of for the length of the lease.
  - Samples every GPU about ten times a second where NVIDIA's management library (NVML) is on the target.
  - A command that says nothing about its progress works too; the last line of its output is shown instead.
options:
  argv:
    description:
      - The program and its arguments. No shell looks at them.
      - Set the job's environment with the C(environment) keyword of the task.
    type: list
    elements: str
    required: true
  chdir:
    description: The folder to run in. The default is a temporary one of the job's own.
    type: path
  user:
    description:
      - The user to run the command as, for a task that is root. Unlike C(become_user) this needs neither sudo
        nor access of that user to Ansible's files.
      - The default is the user of the task.
    type: str
  timeout:
    description: Seconds after which the job is ended. V(0) means never.
    type: float
    default: 0
  lease:
    description: Seconds without a word from the controller after which the job is ended. At least twice O(poll).
    type: float
    default: 60
  poll:
    description:
      - Seconds between two looks, or as many as the play has machines, if that is more, up to half of O(lease).
      - A job that ends is noticed at once.
    type: float
    default: 10
  folder:
    description: Where the job's own temporary folder is made. The default is the system's temporary folder.
    type: path
  telemetry:
    description: Whether to sample the GPUs. Without NVML there is nothing to sample, which is not an error.
    type: bool
    default: true
  nvml_library:
    description: The NVML library to load, by name or path.
    type: str
    default: libnvidia-ml.so.1
  _visit:
    description: What the action plugin wants of this one of its visits to the target. Not for playbooks.
    type: dict
attributes:
  check_mode:
    support: full
    description: Says what would run, and runs nothing.
  async:
    support: none
    description: The job is apart from the connection already.
notes:
  - "The command finds two names in its environment. To the file E(GPULAB_PROGRESS) it can add lines that are JSON
    objects: C({\"event\": \"epoch\", \"epoch\": 4, \"epochs\": 10, \"loss\": 0.9, \"accuracy\": 0.61}) and any object
    with a C(message) are shown. To the file E(GPULAB_RESULT) it can write one JSON object, which is returned."
  - "C({\"event\": \"mark\", \"mark\": \"steps\", \"edge\": \"begin\"}) and the same with C(end) mark stretches of time;
    the GPUs' readings inside them are summed up apart, so that start-up and evaluation do not dilute them."
author:
  - The gpulab.workstation authors (@gpulab)
"""

EXAMPLES = r"""
- name: Train overnight, as the user who owns the data
  gpulab.workstation.gpu_job:
    argv: [/opt/gpulab/envs/tensorflow/bin/python, train.py, --epochs, "200"]
    chdir: /home/ada/project
    user: ada
    timeout: 36000
  become: true
  register: training

- name: Assert that the GPU was kept busy between the marks
  ansible.builtin.assert:
    that: training.telemetry.gpus[0].window.utilization.mean >= 80
"""

RETURN = r"""
cmd:
  description: The program and its arguments.
  returned: always
  type: list
  sample: [python3, train.py]
rc:
  description: The exit status; negative for the number of the signal that ended it.
  returned: when the job has ended
  type: int
  sample: 0
reason:
  description:
    - How it ended. One of V(exited), V(killed) by a signal from elsewhere, V(out_of_memory), V(timeout),
      V(abandoned) when the lease ran out, V(stopped), V(not_started).
  returned: when the job has ended
  type: str
  sample: exited
seconds:
  description: How long it ran.
  returned: when the job has ended
  type: float
  sample: 81.4
stdout:
  description: The last 64 KiB of the standard output.
  returned: when the job has ended
  type: str
  sample: accuracy 0.6731
stderr:
  description: The last 64 KiB of the standard error.
  returned: when the job has ended
  type: str
  sample: ""
events:
  description: What the job wrote to E(GPULAB_PROGRESS).
  returned: when the job has ended
  type: list
  elements: dict
  sample: [{event: epoch, epoch: 1, epochs: 10, loss: 1.52, accuracy: 0.45}]
result:
  description: What the job wrote to E(GPULAB_RESULT); null if nothing, or if it is not JSON.
  returned: when the job has ended
  type: raw
  sample: {accuracy: 0.6731}
telemetry:
  description:
    - The GPUs while the job ran; null where there was nothing to sample.
    - For each GPU C(whole) has mean, min and max of the readings of the run, and C(window) of those between the job's
      marks, or of the run if it made none; C(marks) has those of each mark by its name. C(throttled) names what held
      the clocks down, C(used) is whether a process of the job computed on it, C(processes) are compute processes that
      are not the job's, C(pcie) is the link as it was at its best and could be, C(ecc_errors) counts new uncorrected
      memory errors, C(xid_errors) are the driver's errors by their numbers (Xid).
    - C(series) has the readings over time, at most 240 of each, with C(t) in seconds from the start.
  returned: when the job has ended
  type: dict
  sample:
    source: nvml
    window: {start: 10.0, end: 39.0}
    gpus:
      - index: 0
        name: NVIDIA GeForce RTX 4090
        window: {utilization: {mean: 96.0, min: 77, max: 99}}
        throttled: []
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils import _job, _telemetry


def _start(options: Dict[str, Any]) -> Dict[str, Any]:
    spec = _job.JobSpec(**{name: options[name] for name in ("argv", "chdir", "user", "timeout", "lease")})
    library = options["nvml_library"] if options["telemetry"] else None
    job = _job.start(spec, folder=options["folder"], recorder=lambda: _telemetry.recorder(library) if library else None)
    return {"changed": True, "job": job, "poll": options["poll"], "lease": options["lease"]}


def _visit(options: Dict[str, Any]) -> Dict[str, Any]:
    """Do what this visit is for; the action plugin, which makes the visits, says what that is."""
    visit = options["_visit"] or {"phase": "start"}
    if visit["phase"] == "start":
        return _start(options)
    if visit["phase"] == "watch":
        return _job.watch(visit["job"], offset=visit["offset"], seconds=visit["seconds"])
    if visit["phase"] == "collect":
        return {"changed": True, **_job.collect(visit["job"])}
    _job.stop(visit["job"])
    return {"changed": True}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "argv": {"type": "list", "elements": "str", "required": True},
            "chdir": {"type": "path"},
            "user": {"type": "str"},
            "timeout": {"type": "float", "default": 0},
            "lease": {"type": "float", "default": 60},
            "poll": {"type": "float", "default": 10},
            "folder": {"type": "path"},
            "telemetry": {"type": "bool", "default": True},
            "nvml_library": {"type": "str", "default": "libnvidia-ml.so.1"},
            "_visit": {"type": "dict"},
        },
        supports_check_mode=True,
    )
    options = module.params
    if not options["argv"]:
        module.fail_json(msg="argv is empty: there is no program to run")
    if options["poll"] <= 0 or options["lease"] < 2 * options["poll"] or options["timeout"] < 0:
        module.fail_json(msg="poll must be above 0, lease at least twice poll, and timeout not below 0")
    if module.check_mode:
        module.exit_json(changed=True, msg="Would run " + " ".join(options["argv"]))
    try:
        module.exit_json(**_visit(options))
    except _job.JobError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
