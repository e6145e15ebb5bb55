"""Everything that a run wrote on the machine, by comparison with before: whose it is, and who may change it."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

ENVIRONMENT = re.compile(r"/opt/gpulab/envs/tensorflow-[0-9a-f]{8}/.")

OURS = {
    "/etc/security/limits.d/90-gpulab.conf": "f root:root 644",
    "/opt/gpulab": "d root:root 755",
    "/opt/gpulab/envs": "d root:root 755",
    "/opt/gpulab/envs/tensorflow": "l root:root 777",
    "/opt/gpulab/envs/tensorflow-*": "d root:root 755",
    "/opt/gpulab/share": "d root:root 755",
    "/opt/gpulab/share/cifar10": "d root:root 755",
    "/opt/gpulab/share/cifar10/cifar10_data.py": "f root:root 644",
    "/opt/gpulab/share/cifar10/cifar10_meeting.py": "f root:root 644",
    "/opt/gpulab/share/cifar10/cifar10_together.py": "f root:root 644",
    "/opt/gpulab/share/cifar10/cifar10_train.py": "f root:root 644",
    "/usr/local/bin/gpulab-python": "f root:root 755",
    "/var/lib/gpulab": "d root:root 755",
    "/var/lib/gpulab/receipts": "d root:root 755",
    "/var/lib/gpulab/receipts/cifar10.json": "f root:root 644",
    "/var/lib/gpulab/receipts/os_prep.json": "f root:root 644",
    "/var/lib/gpulab/receipts/tensorflow.json": "f root:root 644",
}
KERNELSPEC = {
    "/usr/local/share/jupyter": "d root:root 755",
    "/usr/local/share/jupyter/kernels": "d root:root 755",
    "/usr/local/share/jupyter/kernels/gpulab-tensorflow": "d root:root 755",
    "/usr/local/share/jupyter/kernels/gpulab-tensorflow/kernel.json": "f root:root 644",
}


def test_a_run_leaves_these_files_with_these_modes_and_no_others(host, written):
    there = {path: str(entry) for path, entry in written.items() if not ENVIRONMENT.match(path)}
    asked = host.ansible.get_variables().get("tensorflow_kernelspec", False)
    named = {re.sub(r"-[0-9a-f]{8}$", "-*", path): entry for path, entry in there.items()}
    assert named == {**OURS, **(KERNELSPEC if asked else {})}


def test_everyone_may_use_the_environment_and_only_root_may_change_it(written):
    modes = {"d": {"755"}, "f": {"644", "755"}, "l": {"777"}}
    inside = {path: entry for path, entry in written.items() if ENVIRONMENT.match(path)}
    assert len(inside) > 10_000
    wrong = {path: str(entry) for path, entry in inside.items() if entry.mode not in modes[entry.kind]}
    foreign = {path: str(entry) for path, entry in inside.items() if entry.owner != "root:root"}
    assert (wrong, foreign) == ({}, {})


def test_no_way_to_them_leads_through_a_folder_that_others_may_change(tree, written):
    """Who may change a folder may put another program in the place of one that root runs from there."""
    parents = {str(parent) for path in written for parent in PurePosixPath(path).parents}
    weak = {path: str(tree[path]) for path in parents if int(tree[path].mode, 8) & 0o022}
    foreign = {path: str(tree[path]) for path in parents if tree[path].owner != "root:root"}
    assert (weak, foreign) == ({}, {})
