#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: conda_env
short_description: Declare a conda environment
version_added: "1.0.0"
description:
  - Builds an environment from declared conda and pip packages, from an C(environment.yml), or from a lock, with
    C(conda), C(mamba) or C(micromamba).
  - When the environment is as declared already, no client is started and nothing is solved. The environment's own files
    tell what is installed.
  - Every version of an environment is built in a directory of its own, C(<prefix>-<digest>), and O(prefix) is a link
    that is swung to it in one step when it is complete. A failed or killed run leaves the last version in use, and the
    next run clears away what is unfinished. Going back to an earlier declaration is a change of the link.
  - As root it runs no client that others can write, and builds nothing in a folder where they can.
  - What C(uv) unpacks is linked into the versions from C(.wheels) beside them, so that the next one fetches only what
    is new. What was changed there is found by its hash and fetched anew, what no version has any more is removed.
options:
  name:
    description: The environment's name, a directory in O(envs_path).
    type: str
  prefix:
    description: The environment's path.
    type: path
  envs_path:
    description: Where an environment given by O(name) lies. The default is C(envs) in the prefix of the client.
    type: path
  state:
    description:
      - With V(present), everything declared is there. What people have added is left alone, and carried into the next
        version by the names that they asked for, unless O(lock) or O(pip_lock) is given.
      - With V(exact), nothing else is there. What was added, changed or removed since the environment was built makes
        it drift.
      - With V(absent), neither the environment nor any version of it is there.
    type: str
    choices: [present, exact, absent]
    default: present
  channels:
    description:
      - Channels by name or URL, the most important first. The default is the client's own configuration.
      - A user and a password in a URL are told to the client in a file that nobody else can read, and are written down
        nowhere. A new password makes no new version. C(conda) takes one password for each host.
    type: list
    elements: str
    default: []
  packages:
    description: Conda packages as match specs, such as V(python=3.12) or V(tensorflow=2.19.1=cuda128*).
    type: list
    elements: str
    default: []
  pip_packages:
    description: Python distributions for pip, as requirements.
    type: list
    elements: str
    default: []
  environment:
    description:
      - The parsed contents of an C(environment.yml). Its O(ignore:name) and C(prefix) do not count.
      - O(packages) and O(pip_packages) add to it, and O(channels) replaces its channels.
    type: dict
    default: {}
  lock:
    description: The contents of a lock for the conda packages, as C(conda list --explicit --sha256) writes it.
    type: str
    default: ""
  pip_lock:
    description: The contents of a lock for the Python distributions, with a hash for each, as C(uv pip compile
      --generate-hashes) writes it. O(pip_packages) are installed after it and leave its versions alone.
    type: str
    default: ""
  virtual_packages:
    description:
      - Versions of conda's virtual packages, by name, that count instead of those the client finds, such as C(cuda) on
        a machine whose driver is not loaded yet.
    type: dict
    default: {}
  accept_tos:
    description:
      - Whether you accept the terms of service of Anaconda's channels. They are never accepted otherwise, not even
        where a C(CI) variable would have the client do so.
    type: bool
    default: false
  executable:
    description: The client. The default is that of C(/opt/conda), else the first one on the path.
    type: path
    default: ""
  uv_executable:
    description:
      - The C(uv) that installs the Python distributions. The default is the one beside the client, else the first on
        the path, and without one the environment's own C(pip) does it.
    type: path
    default: ""
  uv_lock:
    description:
      - A lock for C(uv) itself, with its hashes. Where no C(uv) is found, the environment's C(pip) fetches this one for
        as long as the build lasts.
    type: str
    default: ""
  pip_index_url:
    description: The index for pip and uv. The default is what pip is configured with on the machine.
    type: str
    default: ""
  only_binary:
    description:
      - Whether pip and uv install wheels only. With V(false), what has none is built from its source, and its author's
        code runs as the user of the task.
    type: bool
    default: true
  in_use:
    description:
      - Whether O(prefix) points to the version once it is complete. With V(false) it is only built, to be tried where
        RV(directory) says, and put to use by the same task with V(true).
    type: bool
    default: true
  keep_previous:
    description: How many earlier versions to keep beside the one in use.
    type: int
    default: 1
  export_to:
    description: A directory for C(conda.lock) and C(pip.lock), made from what is installed.
    type: path
attributes:
  check_mode:
    support: full
    description:
      - Lists what would be linked and unlinked. It solves for that, or repeats the declaration on a machine that has no
        client yet.
  diff_mode:
    support: full
    description: Shows the packages before and after.
author:
  - The gpulab.workstation authors (@gpulab)
"""

EXAMPLES = r"""
- name: Declare an environment for everyone on this machine
  gpulab.workstation.conda_env:
    prefix: /opt/gpulab/envs/tensorflow
    channels: [conda-forge]
    packages: [python=3.12, tensorflow=2.19.1=cuda128*]
    virtual_packages:
      cuda: "12.8"

- name: Build an environment from an environment.yml, and write its lock
  gpulab.workstation.conda_env:
    name: vision
    environment: "{{ lookup('ansible.builtin.file', 'environment.yml') | from_yaml }}"
    export_to: /etc/gpulab/locks/vision

- name: Build the same environment elsewhere, from the lock
  gpulab.workstation.conda_env:
    name: vision
    state: exact
    lock: "{{ lookup('ansible.builtin.file', 'locks/vision/conda.lock') }}"
    pip_lock: "{{ lookup('ansible.builtin.file', 'locks/vision/pip.lock') }}"
"""

RETURN = r"""
action:
  description: What was done, or would be in check mode; V(none), V(build), V(switch) or V(remove).
  returned: success
  type: str
  sample: build
reasons:
  description: Why it was not as declared.
  returned: success
  type: list
  elements: str
  sample: ["it lacks numpy>=2"]
prefix:
  description: The environment's path, which stays the same.
  returned: success
  type: str
  sample: /opt/gpulab/envs/tensorflow
directory:
  description: The directory of the version that was declared. Empty when the environment is absent.
  returned: success
  type: str
  sample: /opt/gpulab/envs/tensorflow-5f1c9a02
linked:
  description: Packages that the environment has now and had not before.
  returned: success
  type: list
  elements: str
  sample: ["numpy-2.3.4-py312h33ff503_0", "pip: tensorflow==2.21.0"]
unlinked:
  description: Packages that the environment had before and has no more.
  returned: success
  type: list
  elements: str
  sample: ["numpy-1.26.4-py312heda63a1_0"]
removed:
  description: Directories that were removed, of earlier versions and of an unfinished run.
  returned: success
  type: list
  elements: str
  sample: ["/opt/gpulab/envs/tensorflow-0b7d41e9"]
concealed:
  description: Files of versions in which an earlier release wrote down a password, and from which it was taken.
  returned: success
  type: list
  elements: str
  sample: ["/opt/gpulab/envs/tensorflow-5f1c9a02/gpulab-env.json"]
exported:
  description: Files of O(export_to) that were written.
  returned: success
  type: list
  elements: str
  sample: ["/etc/gpulab/locks/vision/conda.lock"]
client:
  description: The client that was used. Empty when none was needed.
  returned: success
  type: str
  sample: /opt/conda/bin/conda
error:
  description: What kind of failure it was, the client's name for it, and what can be done.
  returned: failure
  type: dict
  sample:
    kind: terms_of_service
    name: CondaToSNonInteractiveError
    remedy: Accept Anaconda's terms of service with accept_tos=true, or use Miniforge and conda-forge.
"""

import os
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.gpulab.workstation.plugins.module_utils import _conda_env
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_client import (
    DEFAULT_PREFIX,
    Client,
    CondaError,
    find_client,
)
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_pip import Pip, find_uv
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_plan import (
    Request,
    RequestError,
    public,
    read_request,
)
from ansible_collections.gpulab.workstation.plugins.module_utils._writers import others_may_change

DECLARATION = ("channels", "packages", "pip_packages", "environment", "lock", "pip_lock", "virtual_packages")
DEFAULT_CLIENT = os.path.join(DEFAULT_PREFIX, "bin", "conda")


def argument_spec() -> Dict[str, Any]:
    texts = {name: {"type": "str", "default": ""} for name in ("lock", "pip_lock", "uv_lock", "pip_index_url")}
    lists = {
        name: {"type": "list", "elements": "str", "default": []} for name in ("channels", "packages", "pip_packages")
    }
    dicts = {name: {"type": "dict", "default": {}} for name in ("environment", "virtual_packages")}
    programs = {name: {"type": "path", "default": ""} for name in ("executable", "uv_executable")}
    paths = {name: {"type": "path"} for name in ("prefix", "envs_path", "export_to")}
    return {
        "name": {"type": "str"},
        "state": {"type": "str", "choices": ["present", "exact", "absent"], "default": "present"},
        "accept_tos": {"type": "bool", "default": False},
        "only_binary": {"type": "bool", "default": True},
        "in_use": {"type": "bool", "default": True},
        "keep_previous": {"type": "int", "default": 1},
        **texts,
        **lists,
        **dicts,
        **programs,
        **paths,
    }


def client_for(module: AnsibleModule) -> Client:
    """Return the client. A machine without one is refused, except where nothing would be changed anyway."""
    named = module.params["executable"]
    executable = find_client(named)
    if not executable and not module.check_mode:
        missing = named or "conda, mamba or micromamba"
        raise CondaError(f"there is no {missing} here: install one, for instance with the role anaconda", kind="client")
    return Client(executable=not_exposed(executable or DEFAULT_CLIENT), accept_tos=module.params["accept_tos"])


def not_exposed(path: str) -> str:
    """Return ``path``, where root is about to run or build something, if only root can write it. Raises CondaError."""
    shared = others_may_change(path) if os.geteuid() == 0 else []
    if shared:
        message = f"others than root may change {', '.join(shared)}, and what root runs must not lie there"
        raise CondaError(message, kind="exposed")
    return path


def prefix_of(module: AnsibleModule) -> str:
    """Return the path of the environment that the task names. Raises RequestError."""
    name, envs_path = module.params["name"], module.params["envs_path"]
    if module.params["prefix"]:
        return module.params["prefix"]
    if not name or "/" in name:
        raise RequestError("an environment's name is one word; for a path use prefix")
    return os.path.join(envs_path or os.path.join(client_for(module).root, "envs"), name)


def run(module: AnsibleModule) -> Dict[str, Any]:
    """Return the module's result. Raises RequestError and CondaError."""
    params, check_mode = module.params, module.check_mode
    declared = {name: params[name] for name in DECLARATION}
    request = Request() if params["state"] == "absent" else read_request(**declared)
    environment = _conda_env.Environment(prefix_of(module))
    not_exposed(environment.parent)

    def pip() -> Pip:
        uv = find_uv(params["uv_executable"], beside=client_for(module).root)
        return Pip(
            uv=uv,
            uv_lock=params["uv_lock"],
            wheels=environment.wheels,
            index_url=params["pip_index_url"],
            only_binary=params["only_binary"],
        )

    outcome = _conda_env.converge(
        environment,
        request,
        state=params["state"],
        client=lambda: client_for(module),
        pip=pip,
        keep=params["keep_previous"],
        check_mode=check_mode,
        in_use=params["in_use"],
    )
    exported = []
    if params["export_to"] and params["state"] != "absent" and not (check_mode and outcome.action == "build"):
        exported = _conda_env.export(outcome.path, params["export_to"], pip=pip, dry_run=check_mode)
    return {
        "changed": bool(outcome.action != "none" or outcome.removed or outcome.concealed or exported),
        "action": outcome.action,
        "reasons": list(outcome.reasons),
        "prefix": environment.prefix,
        "directory": outcome.path,
        "linked": outcome.linked,
        "unlinked": outcome.unlinked,
        "removed": list(outcome.removed),
        "concealed": list(outcome.concealed),
        "exported": exported,
        "client": outcome.client,
        "diff": {name: "".join(f"{line}\n" for line in getattr(outcome, name)) for name in ("before", "after")},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec=argument_spec(),
        mutually_exclusive=[("name", "prefix")],
        required_one_of=[("name", "prefix")],
        supports_check_mode=True,
    )
    # The environment is for everyone on the machine, whatever mask the administrator works with.
    os.umask(0o022)
    end = module.fail_json
    try:
        result = run(module)
        end = module.exit_json
    except RequestError as error:
        result = {"msg": str(error)}
    except CondaError as error:
        told = {"kind": error.kind, "name": error.name, "remedy": error.remedy}
        result = {"msg": f"{error}\n{error.remedy}", "error": told}
    # With -vvv Ansible shows what the module was given, too.
    module.params = public(module.params)
    end(**public(result))


if __name__ == "__main__":
    main()
