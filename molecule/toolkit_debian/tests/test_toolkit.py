"""What somebody who compiles CUDA programs has, seen with other eyes than the roles'."""

from __future__ import annotations

import json

import pytest

KERNEL = r"""
#include <cstdio>
__global__ void nothing() {}
int main() {
  nothing<<<1, 1>>>();
  std::puts(cudaGetErrorName(cudaDeviceSynchronize()));
}
"""
CUDNN = r"""
#include <cudnn_version.h>
#include <stddef.h>
#include <stdio.h>
size_t cudnnGetVersion(void);
int main(void) { printf("%zu %d\n", cudnnGetVersion(), CUDNN_VERSION); return 0; }
"""


# What the archive has, by the release of Debian.
TOOLKIT = {"12": "11.8", "13": "12.4"}


@pytest.fixture
def toolkit(host):
    return TOOLKIT[host.system_info.release]


def _packages(host):
    lines = host.check_output("dpkg-query -W -f '${Package}\t${db:Status-Abbrev}\t${Version}\n'").splitlines()
    return {name: (status.strip(), version) for name, status, version in (line.split("\t") for line in lines)}


@pytest.mark.parametrize("shell", ["sh -c", "bash --login -c"])
def test_any_user_s_shell_compiles_a_kernel_that_runs_into_the_want_of_a_gpu(host, shell):
    compile_it = "cd $(mktemp -d -p /var/tmp) && cat > a.cu && nvcc -o a a.cu && ./a"
    told = host.check_output(f"printf %s %s | setpriv --reuid=65534 --regid=65534 --clear-groups {shell} %s",
                             "%s", KERNEL, compile_it)  # fmt: skip
    assert told in ("cudaErrorNoDevice", "cudaErrorInsufficientDriver")


def test_the_toolkit_is_held_and_came_without_a_driver(host, toolkit):
    packages = _packages(host)
    status, version = packages["nvidia-cuda-toolkit"]
    assert (status, version.startswith(toolkit)) == ("hi", True)
    # Debian's depends on the driver's library, libcuda1. It needs no kernel module, and brings none.
    assert not [name for name in packages if name.startswith(("nvidia-driver", "nvidia-kernel", "nvidia-smi"))]


def test_no_upgrade_moves_the_toolkit(host):
    simulated = host.check_output("apt-get -s dist-upgrade").splitlines()
    assert not [
        line for line in simulated if line.startswith(("Inst", "Remv")) and ("cuda" in line or "nvidia" in line)
    ]


def test_nvidia_s_library_tells_the_version_that_was_asked_for(host):
    compile_it = "cc -x c -o /var/tmp/asks - -I/usr/local/cudnn/include -L/usr/local/cudnn/lib -lcudnn"
    told = host.check_output(f"printf %s %s | {compile_it} && /var/tmp/asks", "%s", CUDNN)
    assert told == "91002 91002"


def test_the_library_is_the_wheel_s_and_is_large(host):
    listing = host.check_output("ldconfig -p")
    path = next(line.split()[-1] for line in listing.splitlines() if "libcudnn.so.9 " in line)
    assert path.startswith("/usr/local/cudnn/")
    assert int(host.check_output("du -sLm /usr/local/cudnn/lib").split()[0]) > 500


def test_the_receipts_say_what_was_installed_and_that_no_gpu_ran_it(host, toolkit):
    cuda, cudnn = (
        json.loads(host.file(f"/var/lib/gpulab/receipts/{name}.json").content_string) for name in ("cuda", "cudnn")
    )
    assert cuda["version"].startswith(toolkit)
    assert cuda["details"]["ran_on_gpu"] is False
    assert cudnn["version"] == "9.10.2.21"
