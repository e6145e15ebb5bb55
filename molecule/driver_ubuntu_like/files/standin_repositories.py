"""STAND-INS: packages with the names, versions and dependencies of Ubuntu's and NVIDIA's drivers and nothing inside, in
signed repositories laid out like the real ones. standin_repositories.py FOLDER

ubuntu/     a suite that calls itself Ubuntu           evil/       nvidia/ signed by another key than it offers
later/      the same when it has gone on: the newest   expired/    nvidia/ signed by a key that has expired
            driver alone, for the kernel after that    tampered/   nvidia/ with packages changed after signing
nvidia/     a flat one that calls itself NVIDIA CUDA   unsigned/   nvidia/ without a signature
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import standin

KERNEL, LATER_KERNEL = "6.8.0-85-generic", "6.8.0-90-generic"
PERSISTENCED = """[Unit]
StopWhenUnneeded=true
[Service]
ExecStart=/usr/bin/nvidia-persistenced --user nvidia-persistenced --no-persistence-mode --verbose
"""
# What DKMS would build is in the package; where and when it comes to lie is DKMS's.
DKMS = f"""#!/bin/sh
set -e
[ "$1" = configure ] || exit 0
install -D -m 644 /usr/src/$DPKG_MAINTSCRIPT_PACKAGE/nvidia.ko /lib/modules/{KERNEL}/updates/dkms/nvidia.ko
depmod {KERNEL}
"""
NO_DKMS = f"#!/bin/sh\nrm -f /lib/modules/{KERNEL}/updates/dkms/nvidia.ko\ndepmod {KERNEL}\n"
LICENCES = {"": "NVIDIA", "-open": "Dual MIT/GPL"}


class Package:
    """A package in the making: its files are written below ``tree``."""

    def __init__(self, name: str, version: str, **fields: str) -> None:
        self.name, self.version, self.fields = name, version, fields
        self.tree = Path(tempfile.mkdtemp())
        self.tree.chmod(0o755)

    def write(self, path: str, text: str, mode: int = 0o644) -> Package:
        file = self.tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
        return self

    def scripts(self, **texts: str) -> Package:
        for name, text in texts.items():
            self.write(f"DEBIAN/{name}", text, 0o755)
        return self

    def build(self, folder: Path) -> None:
        control = {"Package": self.name, "Version": self.version, "Architecture": "amd64"}
        control.update({"Maintainer": "Stand-in <good@example.invalid>", "Description": "stand-in", **self.fields})
        self.write("DEBIAN/control", "".join(f"{key}: {value}\n" for key, value in control.items()))
        folder.mkdir(parents=True, exist_ok=True)
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", self.tree, folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(self.tree)


def alone(what: str) -> dict[str, str]:
    """The fields by which a package is the only one of its kind on a machine."""
    return {"Provides": what, "Conflicts": what, "Replaces": what}


def driver(pool: Path, version: str, branch: str = "-580") -> None:
    """The packages of a driver that Ubuntu and NVIDIA have in common, each bound to the others' version."""

    def add(name: str, *depends: str, **fields: str) -> Package:
        if depends:
            fields["Depends"] = ", ".join(depends)
        return Package(name, version, **fields)

    own = upstream(version)
    compute, common = f"libnvidia-compute{branch}", f"nvidia-kernel-common{branch}"
    add(compute, **alone("libnvidia-compute-any")).write("usr/lib/libnvidia-ml.so.1", version).build(pool)
    add(common, **alone("nvidia-kernel-common-any")).build(pool)
    persistenced = add(f"nvidia-compute-utils{branch}" if branch else "nvidia-persistenced", f"{compute} (= {version})")
    persistenced.write("usr/lib/systemd/system/nvidia-persistenced.service", PERSISTENCED).build(pool)
    if branch:
        add(f"nvidia-utils{branch}", f"{compute} (= {version})").build(pool)
    for flavour, licence in LICENCES.items():
        only = alone("nvidia-dkms-any")
        dkms = add(f"nvidia-dkms{branch}{flavour}", f"{common} (= {version})", **only)
        source = dkms.tree / "usr/src" / dkms.name / "nvidia.ko"
        standin.kernel_module(source, version=own, licence=licence)
        dkms.scripts(postinst=DKMS.replace("$DPKG_MAINTSCRIPT_PACKAGE", dkms.name), prerm=NO_DKMS).build(pool)
        if branch:
            add(f"nvidia-headless-no-dkms{branch}{flavour}", f"{common} (= {version})").build(pool)
        bounds = [f"nvidia-dkms{branch}{flavour} ({bound})" for bound in (f"<= {own}-1", f">= {own}")]
        add(f"nvidia-driver{branch}{flavour}", f"{compute} (= {version})", *bounds).build(pool)


def precompiled(pool: Path, version: str, release: str, kernel: str) -> None:
    """Ubuntu's signed modules: versioned with the kernel, made of one driver and fit for that one alone."""
    own = upstream(version)
    for flavour, licence in LICENCES.items():
        name = f"linux-modules-nvidia-580{flavour}"
        depends = f"nvidia-kernel-common-580 (<= {own}-1), nvidia-kernel-common-580 (>= {own})"
        modules = Package(f"{name}-{kernel}", release, Depends=depends)
        file = modules.tree / "lib/modules" / kernel / f"kernel/nvidia-580{flavour}/nvidia.ko"
        standin.kernel_module(file, version=own, licence=licence)
        list_modules = f"#!/bin/sh\ndepmod {kernel}\n"
        modules.scripts(postinst=list_modules, postrm=list_modules).build(pool)
        provides = f"nvidia-prebuilt-kernel, nvidia-dkms-580{flavour} (= {version})"
        Package(f"{name}-generic", release, Depends=f"{name}-{kernel} (= {release})", Provides=provides).build(pool)


def ubuntu(folder: Path, kernel: str, drivers: dict[str, str]) -> None:
    """The archive at one time: its drivers, each with the release of the modules made for it and ``kernel``."""
    pool, noble = folder / "pool", folder / "dists/noble"
    for version, release in drivers.items():
        driver(pool, version)
        precompiled(pool, version, release, kernel)
    Package("nvidia-modprobe", "580.95.05-1").build(pool)
    Package(f"linux-headers-{kernel}", next(iter(drivers.values()))).build(pool)
    # Has nothing to do with the driver: goes up when everything does.
    for version in ("1.0-1", "2.0-1"):
        Package("standin-bystander", version).build(pool)
    about = {"Origin": "Ubuntu", "Label": "Ubuntu", "Suite": "noble", "Codename": "noble"}
    about.update({"Components": "restricted", "Architectures": "amd64"})
    index(folder, noble, packages="restricted/binary-amd64/Packages", **about)
    standin.sign(noble / "Release", "good", how="--clearsign", to="InRelease")


def cuda(pool: Path, version: str) -> None:
    """A toolkit whose compiler makes programs that find no GPU."""
    series = ".".join(version.split(".")[:2])
    dashed = series.replace(".", "-")
    nvcc = Package(f"cuda-nvcc-{dashed}", version)
    nvcc.write(
        f"usr/local/cuda-{series}/bin/nvcc",
        '#!/bin/sh\n[ "$1" = -o ] || exit 1\nprintf \'#!/bin/sh\\nexit 77\\n\' > "$2"\nchmod 755 "$2"\n',
        0o755,
    ).build(pool)
    Package(f"cuda-toolkit-{dashed}", version, Depends=f"cuda-nvcc-{dashed} (>= {upstream(version)})").build(pool)
    # What drags a driver in, and must never come along.
    Package(f"cuda-{dashed}", version, Depends=f"cuda-toolkit-{dashed}, cuda-drivers").build(pool)


def cudnn(pool: Path, version: str) -> None:
    """A library that tells its version, and nothing else."""
    major, minor, patch = version.split(".")[:3]
    folder = "usr/lib/x86_64-linux-gnu"
    number = int(major) * 10000 + int(minor) * 100 + int(patch)
    library = Package("libcudnn9-cuda-12", version)
    library.write("cudnn.c", f"#include <stddef.h>\nsize_t cudnnGetVersion(void) {{ return {number}; }}\n")
    (library.tree / folder).mkdir(parents=True)
    target = library.tree / folder / "libcudnn.so.9"
    compile_it = ["cc", "-shared", "-fPIC", "-Wl,-soname,libcudnn.so.9", "-o", target, library.tree / "cudnn.c"]
    subprocess.run(compile_it, check=True)
    (library.tree / "cudnn.c").unlink()
    library.build(pool)
    headers = Package("libcudnn9-dev-cuda-12", version, Depends=f"libcudnn9-cuda-12 (= {version})")
    names = zip(("MAJOR", "MINOR", "PATCHLEVEL"), (major, minor, patch))
    text = "".join(f"#define CUDNN_{name} {value}\n" for name, value in names)
    headers.write("usr/include/cudnn_version.h", f"{text}#define CUDNN_VERSION {number}\n")
    (headers.tree / folder).mkdir(parents=True)
    (headers.tree / folder / "libcudnn.so").symlink_to("libcudnn.so.9")
    headers.build(pool)


def upstream(version: str) -> str:
    return version.split("-")[0]


def index(folder: Path, release: Path, *, packages: str, **about: str) -> None:
    """Write ``Packages`` and ``Release`` as a repository has them."""
    (release / packages).parent.mkdir(parents=True, exist_ok=True)
    part = subprocess.run(["apt-ftparchive", "packages", "."], cwd=folder, check=True, capture_output=True)
    (release / packages).write_bytes(part.stdout)
    options = [word for key, value in about.items() for word in ("-o", f"APT::FTPArchive::Release::{key}={value}")]
    listing = subprocess.run(["apt-ftparchive", *options, "release", release], check=True, capture_output=True)
    (release / "Release").write_bytes(listing.stdout)


def main(www: Path) -> None:
    www.mkdir(parents=True)
    standin.signing_keys(www)

    older, newer = "580.95.05-0ubuntu0.24.04.1", "580.178.04-0ubuntu0.24.04.1"
    ubuntu(www / "ubuntu", KERNEL, {older: "6.8.0-85.85", newer: "6.8.0-85.85+1"})
    ubuntu(www / "later", LATER_KERNEL, {newer: "6.8.0-90.91"})

    flat = www / "nvidia/ubuntu2404/x86_64"
    for version in ("580.65.06-0ubuntu1", "580.95.05-0ubuntu1", "580.105.08-0ubuntu1"):
        driver(flat, version)
    driver(flat, "590.48.01-1ubuntu1", branch="")
    Package("nvidia-modprobe", "590.48.01-1ubuntu1").build(flat)
    Package("cuda-drivers", "590.48.01-1ubuntu1", Depends="nvidia-driver (= 590.48.01-1ubuntu1)").build(flat)
    for version in ("12.8.0-1", "12.8.1-1", "13.0.2-1"):
        cuda(flat, version)
    for version in ("9.3.0.75-1", "9.10.2.21-1"):
        cudnn(flat, version)
    index(flat, flat, packages="Packages", Origin="NVIDIA", Label="NVIDIA CUDA")

    for name in ("evil", "expired", "unsigned", "tampered"):
        shutil.copytree(www / "nvidia", www / name)
    for name, key in (("nvidia", "good"), ("tampered", "good"), ("evil", "evil"), ("expired", "expired")):
        place = www / name / "ubuntu2404/x86_64"
        standin.sign(place / "Release", key, how="--clearsign", to="InRelease")
        # What a forger would offer is the key that machines expect.
        shutil.copy(www / f"{'good' if name == 'evil' else key}.asc", place / "3bf863cc.pub")
    shutil.copy(www / "good.asc", www / "unsigned/ubuntu2404/x86_64/3bf863cc.pub")
    for package in (www / "tampered/ubuntu2404/x86_64").glob("nvidia-utils-580_*.deb"):
        with package.open("r+b") as file:
            file.seek(-20, 2)
            file.write(b"X")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
