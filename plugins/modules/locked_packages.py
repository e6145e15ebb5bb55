#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: locked_packages
short_description: Install a lock into a Python environment, every file checked by its hash
version_added: "1.0.0"
description:
  - Installs the Python distributions of a lock into a virtual environment, with the environment's C(pip), or with the
    faster C(uv) where O(uv_lock) is given. Nothing is built from source, so no package's own code runs meanwhile.
  - What C(pip) is configured with on the machine holds for C(uv) too.
options:
  prefix:
    description: The environment, with C(bin/python) and C(pip) in it, unless O(python) makes it.
    type: path
    required: true
  python:
    description:
      - An interpreter to make the environment anew with, in place of whatever is at O(prefix), such as half of one.
      - Waits for up to ten minutes for another run at work in the folder of O(prefix), for it may be the one that was
        interrupted, of which the last task goes on alone.
    type: path
  lock:
    description: The contents of a lock with a hash for each file, as C(uv pip compile --generate-hashes) writes it.
    type: str
    required: true
  packages:
    description: More distributions, as requirements. They are installed after the lock and leave its versions alone.
    type: list
    elements: str
    default: []
  uv_lock:
    description:
      - A lock for C(uv) itself, with its hashes. C(pip) fetches it into O(prefix) for as long as the work lasts.
      - Empty for C(pip) alone.
    type: str
    default: ""
  index_url:
    description: The package index. The default is what pip is configured with on the machine.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: >-
      A requirement with an environment marker counts as not installed yet where that version is not there. Only its
      installer could tell whether the marker asks for it.
  diff_mode:
    support: full
    description: Shows the distributions before and after. In check mode those of the lock stand for what would come.
author:
  - The gpulab.workstation authors (@gpulab)
"""

EXAMPLES = r"""
- name: Make an environment with TensorFlow as locked, and one more package within these versions
  gpulab.workstation.locked_packages:
    prefix: /opt/gpulab/envs/tensorflow
    python: /usr/bin/python3
    lock: "{{ lookup('ansible.builtin.file', 'tensorflow.txt') }}"
    packages: [pandas==2.3.3]
    uv_lock: "{{ lookup('ansible.builtin.file', 'uv.txt') }}"
"""

RETURN = r"""
installed:
  description: Distributions that the environment has now and had not before, as C(name==version).
  returned: success
  type: list
  elements: str
  sample: ["numpy==2.3.5", "tensorflow-cpu==2.21.0"]
error:
  description: What kind of failure it was, and what can be done.
  returned: failure
  type: dict
  sample:
    kind: checksum
    remedy: "The file at that address is not what was promised: check the mirror, or renew the lock."
"""

import contextlib
import fcntl
import os
import shutil
import time
from typing import Any, Dict, Iterator, List

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils import _conda_prefix
from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import without_secrets
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_client import CondaError
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_client import run as run_command
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_pip import Pip
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_plan import locked_requirements
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_spec import requirement_holds

PATIENCE_S = 600


def run(module: AnsibleModule) -> Dict[str, Any]:
    """Return the module's result. Raises CondaError."""
    params = module.params
    before = {} if params["python"] else _conda_prefix.read(params["prefix"]).distributions
    if module.check_mode:
        wanted = [*locked_requirements(params["lock"]), *params["packages"]]
        return told(before, [text for text in wanted if not requirement_holds(text.partition(";")[0], before)])
    pip = Pip(uv_lock=params["uv_lock"], index_url=params["index_url"])
    with alone_in(os.path.dirname(os.path.abspath(params["prefix"]))) as lock_fd:
        if params["python"]:
            make(params["prefix"], python=params["python"], lock_fd=lock_fd)
            before = _conda_prefix.read(params["prefix"]).distributions
        pip.install(params["prefix"], packages=params["packages"], lock=params["lock"], lock_fd=lock_fd)
    after = _conda_prefix.read(params["prefix"]).distributions
    return told(before, [f"{name}=={version}" for name, version in after.items() if before.get(name) != version])


@contextlib.contextmanager
def alone_in(folder: str) -> Iterator[int]:
    """Hold a folder of environments, and yield the lock that the commands of this run are to hold as well."""
    descriptor = os.open(folder, os.O_RDONLY)
    deadline = time.monotonic() + PATIENCE_S
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = f"another run has been at work in {folder} for {PATIENCE_S} s"
                    raise CondaError(message, kind="client") from None
                time.sleep(0.2)
        yield descriptor
    finally:
        os.close(descriptor)


def make(prefix: str, *, python: str, lock_fd: int) -> None:
    """Put a new, empty environment in the place of whatever is there. Raises CondaError."""
    if os.path.lexists(prefix):
        shutil.rmtree(prefix)
    answer = run_command([python, "-m", "venv", prefix], environment=os.environ, lock_fd=lock_fd)
    if answer.code != 0:
        raise CondaError(f"{python} -m venv: {answer.stderr.strip() or answer.stdout.strip()}", kind="client")


def told(before: Dict[str, str], installed: List[str]) -> Dict[str, Any]:
    standing = [f"{name}=={version}" for name, version in before.items()]
    diff = {"before": "\n".join(standing), "after": "\n".join(sorted([*standing, *installed]))}
    return {"changed": bool(installed), "installed": installed, "diff": diff}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "prefix": {"type": "path", "required": True},
            "python": {"type": "path"},
            "lock": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            "uv_lock": {"type": "str", "default": ""},
            "index_url": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    # The environment is for everyone on the machine, whatever mask the administrator works with.
    os.umask(0o022)
    end = module.fail_json
    try:
        result = run(module)
        end = module.exit_json
    except CondaError as error:
        result = {"msg": f"{error}\n{error.remedy}", "error": {"kind": error.kind, "remedy": error.remedy}}
    # With -vvv Ansible shows what the module was given, too.
    module.params = without_secrets(module.params)
    end(**without_secrets(result))


if __name__ == "__main__":
    main()
