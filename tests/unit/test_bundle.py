"""What a bundle is to hold: what the roles take, from the inputs that they are given, and nothing that is misspelt."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bundle import wishes
from bundle.systems import SYSTEMS
from bundle.wheels import for_machine

CHECKOUT = Path(__file__).parents[2]
KERNELS = ["6.1.0-55-amd64", "6.1.0-56-amd64"]
DEBIAN = {
    "nvidia_driver_source": "distribution",
    "nvidia_driver_branch": "535",
    "nvidia_driver_modules": "proprietary",
    "cuda_source": "distribution",
}


def asked(component: str, given: dict[str, object], system: str = "debian-12") -> list[list[str]]:
    return [request.choices[-1] for request in wishes.packages(component, SYSTEMS[system], given, KERNELS)]


def test_the_system_s_packages_are_the_role_s_with_the_headers_of_each_kernel() -> None:
    (names,) = asked("os_prep", {"os_prep_packages": ["tmux"]})
    assert {"build-essential", "python3.11-venv", "tmux", *(f"linux-headers-{kernel}" for kernel in KERNELS)} <= {
        *names
    }
    assert "python3.13-venv" in asked("os_prep", {}, "debian-13")[0]


def test_a_driver_comes_for_each_kernel_and_as_a_desktop_needs_it() -> None:
    requests = list(wishes.packages("nvidia_driver", SYSTEMS["debian-12"], DEBIAN, KERNELS))
    assert [request.release for request in requests] == ["535", "535"]
    for request, kernel in zip(requests, KERNELS):
        assert {"nvidia-kernel-dkms", "libcuda1", "nvidia-driver", f"linux-headers-{kernel}"} <= {*request.choices[-1]}


def test_a_driver_s_version_and_further_packages_are_the_inventory_s() -> None:
    given = {**DEBIAN, "nvidia_driver_version": "535.261.03", "nvidia_driver_extra_packages": ["libnvidia-encode1"]}
    request = next(wishes.packages("nvidia_driver", SYSTEMS["debian-12"], given, KERNELS))
    assert request.release == "535.261.03"
    assert "libnvidia-encode1" in request.choices[-1]


def test_the_toolkit_is_the_role_s() -> None:
    assert asked("cuda", DEBIAN) == [["nvidia-cuda-toolkit", "g++"]]


def test_what_comes_from_nvidia_s_repository_is_named_as_there() -> None:
    given = {"cuda_version": "12.8.1", "cuda_more_versions": ["13.0.2"], "cudnn_source": "nvidia"}
    assert asked("cuda", given) == [["cuda-toolkit-12-8", "g++"], ["cuda-toolkit-13-0", "g++"]]
    assert asked("cudnn", given)[0][:2] == ["libcudnn9-cuda-12", "libcudnn9-dev-cuda-12"]
    assert "nvidia-kernel-open-dkms" in asked("nvidia_driver", {"nvidia_driver_branch": "580"})[0]
    place = wishes.repository("cuda", SYSTEMS["debian-12"], {"cuda_mirror": "http://mirror.example/nvidia"})
    assert place and place.url == "http://mirror.example/nvidia/debian12/x86_64/"
    assert wishes.repository("cuda", SYSTEMS["debian-12"], DEBIAN) is None
    assert wishes.repository("cudnn", SYSTEMS["debian-12"], {}) is None, "the wheel"


def test_cudnn_s_wheel_comes_by_its_hashes_and_with_what_unpacks_it() -> None:
    (lock,) = wishes.wheels("cudnn", SYSTEMS["debian-12"], {})
    assert lock.startswith("nvidia-cudnn-cu12==")
    assert next(for_machine(lock, {})).count("--hash=sha256:") == 1, "of the one file for this kind of machine"
    assert asked("cudnn", {}) == [["python3-pip", "gcc", "libc6-dev"]]


def test_the_environment_s_wheels_are_of_the_lock_that_the_role_would_take() -> None:
    given = {"tensorflow_build": "cuda", "tensorflow_version": "2.20.0"}
    lock, uv = wishes.wheels("tensorflow", SYSTEMS["debian-12"], given)
    assert lock == (CHECKOUT / "roles/tensorflow/files/locks/tensorflow-cuda-2.20.0.txt").read_text()
    assert "uv==" in uv


def test_the_wheels_are_for_the_python_of_the_environment() -> None:
    debian = SYSTEMS["debian-12"]
    assert wishes.python(["tensorflow"], debian, {}) == "3.11"
    assert wishes.python(["anaconda", "tensorflow"], debian, {"tensorflow_python_version": "3.13"}) == "3.13"
    assert not list(wishes.wheels("tensorflow", debian, {"tensorflow_source": "conda-forge"}))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--components", "os_prep,cuda,kuda"], "There is no kuda to be had"),
        (["--components", "nvidia_driver"], "name each with --kernel (uname -r)"),
        (["--components", "anaconda"], "name the environment's packages with --conda-lock"),
        (["--components", "anaconda", "--conda-lock", "nowhere.lock"], "No such file or directory: 'nowhere.lock'"),
        (["--components", "cudnn", "-e", "cudnn_version=9.1.1.1"], "no digest of nvidia-cudnn-cu12 9.1.1.1"),
        (["--components", "cuda"], "NVIDIA's repository has many toolkits"),
        (
            ["--components", "cuda,cudnn", "-e", "cuda_version=12.8", "-e", "@tests/fixtures/inputs/two_places.yml"],
            "one repository of NVIDIA's, not 2",
        ),
        (["-e", "nvidia_driver_brunch=535"], "did you mean nvidia_driver_branch?"),
        (["--place", "srv/bundle"], "--place is an absolute path"),
        (["--archive", "http://archive.example/ubuntu"], "Name one --archive for each of debian, debian-security"),
        (["-e", "tensorflow_version=1.0.0"], "tensorflow-cpu-1.0.0.txt"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_fetched(tmp_path: Path, words: list[str], told: str) -> None:
    archives = ["--archive", "http://archive.example/debian", "--archive", "http://archive.example/debian-security"]
    command = [sys.executable, "-m", "bundle", "--system", "debian-12", "--to", str(tmp_path / "bundle")]
    environment = {**os.environ, "PYTHONPATH": "scripts:.collections"}
    done = subprocess.run(
        [*command, *([] if "--archive" in words else archives), *words],
        cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert told in " ".join(done.stderr.split())
    assert not list(tmp_path.iterdir())
