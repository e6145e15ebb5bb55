"""STAND-INS: NVIDIA's repository for Debian 12, with the names and versions of its packages and next to nothing inside,
signed and laid out like the real one. DKMS builds its modules by a recipe. standin_nvidia.py FOLDER RECIPE
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import standin
from standin_repositories import PERSISTENCED, Package, cuda, cudnn, index, upstream

MODULES = ("nvidia", "nvidia-modeset", "nvidia-drm", "nvidia-uvm", "nvidia-peermem")

# What NVIDIA's packages depend on and its repository has not: real packages of Debian's archive.
CONTRIB = "glx-alternative-nvidia (>= 1.0), nvidia-kernel-common (>= 20151021), nvidia-support"


def driver(pool: Path, version: str, recipe: str) -> None:
    own = upstream(version)
    built = "".join(
        f'BUILT_MODULE_NAME[{number}]="{name}"\nDEST_MODULE_LOCATION[{number}]="/updates/dkms"\n'
        for number, name in enumerate(MODULES)
    )
    conf = (
        f'PACKAGE_NAME="nvidia"\nPACKAGE_VERSION="{own}"\nAUTOINSTALL="yes"\n{built}'
        'MAKE[0]="sh ./standin_modules.sh ${kernel_source_dir} ${PACKAGE_VERSION}"\n'
    )
    dkms = Package("nvidia-kernel-open-dkms", version, Depends="dkms")
    dkms.write(f"usr/src/nvidia-{own}/dkms.conf", conf).write(f"usr/src/nvidia-{own}/standin_modules.sh", recipe)
    dkms.scripts(
        postinst=f"#!/bin/sh\n[ $1 != configure ] || exec /usr/lib/dkms/common.postinst nvidia {own}\n",
        prerm=f"#!/bin/sh\ndkms remove -m nvidia -v {own} --all\n",
    ).build(pool)
    kernel = f"nvidia-kernel-open-dkms (= {version})"
    needs = f"{kernel}, nvidia-persistenced (= {version}), {CONTRIB}"
    Package("nvidia-driver-cuda", version, Depends=needs).build(pool)
    Package("nvidia-open", version, Depends=f"nvidia-driver-cuda (= {version})").build(pool)
    service = Package("nvidia-persistenced", version)
    service.write("usr/lib/systemd/system/nvidia-persistenced.service", PERSISTENCED).build(pool)
    Package("nvidia-modprobe", version).build(pool)


def main(www: Path, recipe: Path) -> None:
    flat = www / "nvidia/debian12/x86_64"
    flat.mkdir(parents=True)
    standin.signing_keys(www)
    for version in ("580.95.05-1", "580.105.08-1"):
        driver(flat, version, recipe.read_text())
    for version in ("12.8.0-1", "12.8.1-1"):
        cuda(flat, version)
    for version in ("9.3.0.75-1", "9.10.2.21-1"):
        cudnn(flat, version)
    # Twice: the index of the second time names the packed one, too.
    for _time in range(2):
        index(flat, flat, packages="Packages", Origin="NVIDIA", Label="NVIDIA CUDA")
        subprocess.run(["gzip", "--keep", "--force", "--no-name", flat / "Packages"], check=True)
    standin.sign(flat / "Release", "good", how="--clearsign", to="InRelease")
    shutil.copy(www / "good.asc", flat / "3bf863cc.pub")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
