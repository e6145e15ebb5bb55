"""What pull says in check mode on a machine that has it, of ansible-core and of the timer."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_plan import locked_requirements

CHECKOUT = Path(__file__).parents[2]
LOCKED = dict(
    requirement.partition(" ;")[0].split("==")
    for requirement in locked_requirements((CHECKOUT / "requirements" / "site.txt").read_text())
)


def play(tmp_path: Path, part: str, **known: Any) -> str:
    """Return the command that plays one part of the role."""
    known = {"pull_url": "https://git.lab.example/gpulab.git", **known}
    role = {"name": "gpulab.workstation.pull", "tasks_from": part}
    tasks = [{"ansible.builtin.include_role": role, "vars": known}]
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "workstations", "gather_facts": False, "tasks": tasks}]))
    return f"ansible-playbook {tmp_path}/play.yml -i inventories/quickstart"


def changed(*command: str) -> int:
    """Return how many changes the last play of a command announced."""
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return int(re.findall(r"changed=(\d+)", run.stdout)[-1])


@pytest.mark.parametrize(
    ("differing", "announced"),
    [
        pytest.param({}, 0, id="as locked"),
        pytest.param({"ansible-core": "2.19.0"}, 1, id="an older ansible-core"),
        pytest.param({"cffi": "1.0"}, 1, id="an older one that not every interpreter has"),
    ],
)
def test_a_new_lock_is_announced_where_the_units_stay(
    tmp_path: Path, differing: dict[str, str], announced: int
) -> None:
    prefix = tmp_path / "pull"
    (prefix / "bin").mkdir(parents=True)
    (prefix / "bin" / "pip").touch()
    for name, version in {**LOCKED, **differing}.items():
        (prefix / "lib/python3.12/site-packages" / f"{name}-{version}.dist-info").mkdir(parents=True)
    tmp_path.chmod(0o755)
    known = {"__pull_prefix": str(prefix), "__pull_checkout": str(tmp_path / "checkout"), "__pull_packages": []}
    assert changed("sh", "-c", f"{play(tmp_path, 'install', **known)} --check") == announced


@pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0,
    reason="NOT CHECKED: a machine with the timer can be shown only where mounts are allowed",
)
@pytest.mark.parametrize(
    ("timer", "announced"),
    [
        pytest.param("ENABLED=enabled ACTIVE=active", 0, id="runs"),
        pytest.param("ENABLED=enabled ACTIVE=inactive", 1, id="is stopped"),
        pytest.param("ENABLED=disabled ACTIVE=active", 1, id="would not start at boot"),
    ],
)
def test_a_timer_that_would_be_started_is_announced(tmp_path: Path, timer: str, announced: int) -> None:
    configure = play(tmp_path, "configure")
    machine = [
        "mount -t tmpfs none /etc/systemd/system",
        f"mount -t tmpfs none /run && cp {CHECKOUT}/tests/support/stand_in_systemctl /run/systemctl",
        'export PATH="/run:$PATH"',
        f"ENABLED=enabled ACTIVE=active {configure}",
        f"{timer} {configure} --check",
    ]
    assert changed("unshare", "--mount", "sh", "-ec", "\n".join(machine)) == announced
