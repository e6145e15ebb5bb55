#!/usr/bin/python
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_repository
short_description: Use NVIDIA's package repository, or a mirror of it
version_added: "1.0.0"
description:
  - Writes the source of NVIDIA's packages for this distribution, with its signing key, and what may come from it.
  - Trusts the key only when it is the one expected, and for this source alone. A key that is trusted already is not
    fetched again. (dnf has rpm trust it as well, for every source, from the first package on; that ends with the
    repository.)
  - On Debian and Ubuntu, pins keep the drivers of NVIDIA's repository and of the distribution's archive apart.
  - Replaces the source that NVIDIA's C(cuda-keyring) package or C(.repo) file set up, where there is one.
options:
  state:
    description: Whether the machine uses the repository.
    type: str
    choices: [present, absent]
    default: present
  mirror:
    description:
      - The address above the distributions' folders, or a directory of the target that has the same layout.
      - A user and a password in it are written where root alone can read them, for apt into a file of their own. For
        dnf that is the C(.repo) file, which the dnf of other users then skips with a warning.
      - Who leaves the repository needs to name none; the others keep theirs.
    type: str
    default: https://developer.download.nvidia.com/compute/cuda/repos
  used_by:
    description:
      - The role that takes packages from the repository. It is written down in the source; the repository goes when
        the last of them has no more use for it.
      - The driver comes from this repository only when C(nvidia_driver) uses it; otherwise its drivers are kept out.
    type: str
    required: true
  key:
    description: File name of the signing key in the distribution's folder; empty means the known one.
    type: str
    default: ""
  fingerprint:
    description:
      - Fingerprint of the signing key, or C(sha256:) and the digest of its file without C(Version) lines.
      - Empty means the known one.
    type: str
    default: ""
attributes:
  check_mode:
    support: full
    description: Says whether the repository would be added. The key is not fetched.
  diff_mode:
    support: full
    description: Shows the files before and after.
author:
  - The gpulab.workstation authors (@gpulab)
"""

EXAMPLES = r"""
- name: Take CUDA from NVIDIA's repository, and the driver from the distribution
  gpulab.workstation.nvidia_repository:
    used_by: cuda

- name: Take the driver from the lab's mirror
  gpulab.workstation.nvidia_repository:
    mirror: http://mirror.lab.example/nvidia
    used_by: nvidia_driver
"""

RETURN = r"""
url:
  description: The address of the distribution's folder; null when absent.
  returned: success
  type: str
  sample: https://developer.download.nvidia.com/compute/cuda/repos/debian13/x86_64/
files:
  description: The files that make the package manager use the repository.
  returned: success
  type: list
  elements: str
  sample: [/etc/apt/sources.list.d/gpulab-nvidia.sources]
"""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.urls import open_url
from ansible_collections.gpulab.workstation.plugins.module_utils import _nvidia_repository as nvidia
from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import without_secrets
from ansible_collections.gpulab.workstation.plugins.module_utils._files import NotWritten, read_text, write_all
from ansible_collections.gpulab.workstation.plugins.module_utils._openpgp import fingerprints
from ansible_collections.gpulab.workstation.plugins.module_utils._package_managers import quiet_runner
from ansible_collections.gpulab.workstation.plugins.module_utils._package_trouble import explain
from ansible_collections.gpulab.workstation.plugins.module_utils._system import read_system
from ansible_collections.gpulab.workstation.plugins.module_utils._used_by import users_then


def _key(path, repo):
    """Return the text of the signing key: the one here if it is the expected one, else the repository's if it is."""
    here = read_text(path)
    if here is not None:
        try:
            nvidia.check_key(here.encode(), repo.fingerprint)
            return here
        except nvidia.RepositoryError:
            pass  # the publisher changed keys
    url = repo.url + repo.key
    try:
        data = open_url(url, url_username=repo.user or None, url_password=repo.password, timeout=30).read()
    except OSError as error:
        raise nvidia.RepositoryError(f"The signing key {url} cannot be fetched: {error}.") from error
    nvidia.check_key(data, repo.fingerprint)
    return data.decode("ascii")


def _wanted(params, system, used_by, *, check_mode):
    """Return the repository's address, and the files that there should be: text by path, None for no file."""
    own = nvidia.APT_FILES if system["family"] == "debian" else nvidia.DNF_FILES
    none = {f"/{path}": None for path in own}
    if not used_by:
        return None, none
    key_path = f"/{own[0]}"
    key = read_text(key_path)
    if params["state"] == "absent":
        # Who leaves has no say in where the others find it.
        repo = nvidia.standing("\n".join(read_text(path) or "" for path in none))
    else:
        given = {name: params[name] for name in ("mirror", "key", "fingerprint")}
        repo = nvidia.repository(system=system, **given)
        # A prediction needs no network: the key's text does not decide whether anything changes.
        if not check_mode:
            key = _key(key_path, repo)
    compose = nvidia.apt_files if own is nvidia.APT_FILES else nvidia.dnf_files
    files = {f"/{path}": text for path, text in compose(repo=repo, key=key or "", used_by=used_by).items()}
    # Two sources of one address with different keys make apt refuse to work at all.
    return repo.url, {**none, **files, **{path: None for path in nvidia.superseded(system) if os.path.exists(path)}}


def _index(run, apt):
    """Fetch the repository's index, so that a wrong address or signature is known now and by its name."""
    only = ["-o", f"Dir::Etc::SourceList=/{nvidia.APT_SOURCE}", "-o", "Dir::Etc::SourceParts=-"]
    strict = ["-o", "APT::Get::List-Cleanup=0", "-o", "APT::Update::Error-Mode=any"]
    dnf = ["dnf", "-y", "--setopt=exit_on_lock=1", "--repo=gpulab-nvidia", "makecache"]
    argv = ["apt-get", *only, *strict, "update"] if apt else dnf
    status, out, err = run(argv)
    if status != 0:
        raise nvidia.RepositoryError(f"NVIDIA's repository cannot be used. {explain(out + err)}")


def _use(run, apt, before):
    """Fetch the index, or put the files of ``before`` back."""
    try:
        _index(run, apt)
    except nvidia.RepositoryError:
        # A source that cannot be used would make every later apt and dnf run fail.
        write_all(before, mode=nvidia.mode)
        raise


def _distrust(run, key):
    """Take a key from rpm, which trusts it since dnf has met the first package of the repository."""
    for fingerprint in fingerprints(key.encode()) if key else ():
        # It fails where dnf has met none.
        run(["rpm", "--erase", f"gpg-pubkey-{fingerprint[-8:].lower()}"])


def main() -> None:
    # What is written is for root to change and, but for a password, for all to read, whatever mask the administrator
    # works with.
    os.umask(0o022)
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "mirror": {"type": "str", "default": nvidia.BASE},
            "used_by": {"type": "str", "required": True},
            "key": {"type": "str", "default": "", "no_log": False},
            "fingerprint": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    # With -vvv Ansible shows what the module was given.
    module.params = without_secrets(wanted)
    system = read_system(places=())
    apt = system["family"] == "debian"
    source = read_text(f"/{nvidia.APT_SOURCE if apt else nvidia.RPM_SOURCE}")
    used_by = users_then(source, wanted["used_by"], wanted["state"])
    try:
        url, files = _wanted(wanted, system, used_by, check_mode=module.check_mode)
        before = {path: read_text(path) for path in files}
        changed = sorted(path for path in files if files[path] != before[path])
        if changed and not module.check_mode:
            write_all(files, mode=nvidia.mode)
            if wanted["state"] == "present":
                _use(quiet_runner(module), apt, before)
            elif not used_by and not apt:
                _distrust(quiet_runner(module), before[f"/{nvidia.RPM_KEY}"])
    except (nvidia.RepositoryError, NotWritten) as error:
        module.fail_json(msg=without_secrets(str(error)))
    module.exit_json(
        changed=bool(changed),
        url=url,
        files=sorted(path for path, text in files.items() if text is not None),
        diff=[
            {
                "before": nvidia.shown(before[path] or ""),
                "after": nvidia.shown(files[path] or ""),
                "before_header": path,
                "after_header": path,
            }
            for path in changed
        ],
    )


if __name__ == "__main__":
    main()
