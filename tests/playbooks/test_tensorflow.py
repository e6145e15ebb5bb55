"""How the role tensorflow tries an environment: with stand-ins for TensorFlow, in a /tmp that others have prepared."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
# What try_tensorflow.py asks of these packages.
PACKAGES = {
    "tensorflow.py": """
__version__ = "2.21.0"
class config: list_logical_devices = list_physical_devices = staticmethod(lambda: [])
class test: is_built_with_cuda = staticmethod(lambda: True)
""",
    "keras.py": "__version__ = '3.12.0'\n",
    "numpy.py": "__version__ = '2.3.0'\n",
    "keras-3.12.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: keras\nVersion: 3.12.0\n",
    "nvidia/cuda_runtime/lib/libcudart.so.12": "the runtime",
    "nvidia/cusolver/lib/libcusolver.so.11": "the solver",
}

pytestmark = pytest.mark.skipif(
    subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0,
    reason="NOT CHECKED: another /tmp can be had only where mounts are allowed",
)


def try_in_another_tmp(tmp_path: Path, *, then: str) -> str:
    """Let the role try an environment at /tmp/env, and return what ``then`` prints.

    Whoever uses the machine may put a usercustomize.py into a /tmp that is someone's home.
    """
    task = {"ansible.builtin.include_role": {"name": "gpulab.workstation.tensorflow", "tasks_from": "try"}}
    play = [{"hosts": "workstations", "gather_facts": False, "tasks": [task]}]
    inputs = {
        "__tensorflow_directory": "/tmp/env",
        "tensorflow_prefix": "/tmp/env",
        "tensorflow_build": "cuda",
        "tensorflow_library_path": True,
    }
    for name, text in PACKAGES.items():
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "play.yml").write_text(json.dumps(play))
    (tmp_path / "inputs.json").write_text(json.dumps(inputs))
    library = "lib/python$version/site-packages"
    script = [
        "mount -t tmpfs none /run && cp -r . /run/gpulab-test && cd /",
        "mount -t tmpfs -o mode=1777 none /tmp",
        "/usr/bin/python3 -m venv --without-pip --system-site-packages /tmp/env",
        "version=$(/tmp/env/bin/python -c 'import sys; print(\"%d.%d\" % sys.version_info[:2])')",
        f"cp -r /run/gpulab-test/packages/. /tmp/env/{library}",
        f"mkdir -p /tmp/.local/{library}",
        f'echo \'open("/tmp/executed", "w")\' > /tmp/.local/{library}/usercustomize.py',
        f"cd {CHECKOUT}",
        "ansible-playbook /run/gpulab-test/play.yml -i inventories/quickstart -e @/run/gpulab-test/inputs.json >&2",
        then,
    ]
    run = subprocess.run(
        ["unshare", "--mount", "bash", "-ec", "\n".join(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_nothing_of_a_place_that_all_users_may_write_is_executed(tmp_path: Path) -> None:
    left = try_in_another_tmp(tmp_path, then="ls -A /tmp")
    assert set(left.split()) == {"env", ".local"}


def test_the_libraries_are_where_the_release_looks_for_them(tmp_path: Path) -> None:
    runtime = "/tmp/env/lib/python3*/site-packages/nvidia/cuda_runtime/lib"
    assert try_in_another_tmp(tmp_path, then=f"cat {runtime}/libcusolver.so.11") == "the solver"
