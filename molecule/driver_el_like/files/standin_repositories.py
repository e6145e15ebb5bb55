"""STAND-INS: packages with the names, versions and dependencies of EL's and NVIDIA's and next to nothing inside, in
signed repositories laid out like the real ones. standin_repositories.py FOLDER

el/9 el/10  what EL has      crb/9 crb/10  what it has for those who build      epel/9 epel/10  EPEL, by its own key
nvidia/rhel9 nvidia/rhel10  what NVIDIA has: streams on 9, none on 10
evil/       nvidia/, and another key signed the index       unsigned/  nvidia/ with packages that nobody signed
forged/     nvidia/ with packages that another key signed   tampered/  nvidia/ with packages that were changed later
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import standin

KERNELS = {"9": "5.14.0-570.12.1.el9_6.x86_64", "10": "6.12.0-55.9.1.el10_0.x86_64"}
# The newest is in the stream that is taken where none is named.
DRIVERS = ("580.95.05", "580.105.08", "595.45.04")
FLAVOURS = {"open": ("open", "Dual MIT/GPL"), "dkms": ("latest", "NVIDIA")}
KEY_FILES = {"9": "D42D0685.pub", "10": "CDF6BA43.pub"}

# It "builds" what the packages brought, but for the source that /etc/standin/does_not_compile names. Where there is
# /etc/standin/power_fails, the machine loses its power in the middle of the transaction: dnf is killed.
DKMS = """#!/bin/sh
# dkms install|remove SOURCE KERNEL      dkms autoinstall -k KERNEL
set -e
module=/lib/modules/$3/extra/nvidia.ko
case $1 in
  autoinstall)
    cd /usr/src
    for module in nvidia-*/nvidia.ko; do [ ! -e "$module" ] || $0 install "${module%/*}" "$3"; done ;;
  install)
    if [ -e /etc/standin/power_fails ]; then
      rm /etc/standin/power_fails
      kill -KILL $(ps -o ppid= -p $PPID) $PPID
    fi
    if [ "$2" = "$(cat /etc/standin/does_not_compile 2> /dev/null)" ]; then
      echo "Error! Bad return status for module build on kernel: $3 (x86_64)" >&2
      exit 10
    fi
    install -D -m 644 "/usr/src/$2/nvidia.ko" $module ;;
  remove) if cmp -s "/usr/src/$2/nvidia.ko" $module; then rm $module; fi ;;
esac
depmod "$3"
"""
EPEL = "[epel]\nname=EPEL\nbaseurl=http://mirror.example/epel/{}\ngpgcheck=1\ngpgkey=file:///{}\n"
SERVICE = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"


@dataclass
class Package:
    """One package of a spec. ``files`` has the text or the bytes of each file, by its path."""

    name: str
    requires: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    post: str = ""
    preun: str = ""
    files: dict[str, str | bytes] = field(default_factory=dict)
    noarch: bool = False

    def tags(self) -> list[str]:
        lines = ["Summary: STAND-IN", "License: GPL-3.0-or-later", "AutoReqProv: no"]
        for tag in ("requires", "provides", "conflicts"):
            lines += [f"{tag.capitalize()}: {item}" for item in getattr(self, tag)]
        return lines + (["BuildArch: noarch"] if self.noarch else [])

    def sections(self) -> list[str]:
        lines = [f"%description -n {self.name}", "Stand-in."]
        for script in ("post", "preun"):
            if getattr(self, script):
                lines += [f"%{script} -n {self.name}", getattr(self, script)]
        return [*lines, f"%files -n {self.name}", *(f"/{path}" for path in self.files)]


def build(
    folder: Path, version: str, *packages: Package, release: str = "1", epoch: int = 0, key: str = "good"
) -> None:
    """Make the packages of one spec, all of one version, and sign them."""
    with tempfile.TemporaryDirectory() as work:
        top = Path(work)
        for package in packages:
            for path, content in package.files.items():
                file = top / "tree" / path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content.encode() if isinstance(content, str) else content)
                file.chmod(0o755 if "/bin/" in path or "/sbin/" in path else 0o644)
        (top / "tree").mkdir(exist_ok=True)
        # The spec's own name makes no package: it has no %files.
        lines = ["Name: standin", f"Version: {version}", f"Release: {release}", f"Epoch: {epoch}"]
        lines += ["Summary: STAND-IN", "License: GPL-3.0-or-later", "%description", "Stand-in."]
        for package in packages:
            lines += [f"%package -n {package.name}", *package.tags(), *package.sections()]
        lines += ["%install", f"cp -a {top}/tree/. %{{buildroot}}"]
        (top / "standin.spec").write_text("\n".join(lines) + "\n")
        plain = {"_topdir": work, "_rpmdir": work, "__os_install_post": "%{nil}", "debug_package": "%{nil}"}
        plain["_binaries_in_noarch_packages_terminate_build"] = "0"
        defines = [word for name, value in plain.items() for word in ("--define", f"{name} {value}")]
        run("rpmbuild", "--quiet", *defines, "--target", "x86_64", "-bb", top / "standin.spec")
        made = sorted(top.glob("*/*.rpm"))
        sign(made, key)
        folder.mkdir(parents=True, exist_ok=True)
        for file in made:
            shutil.move(file, folder)


def sign(files: list[Path], key: str) -> None:
    run(
        "rpmsign", "--define", f"_gpg_name {key}@example.invalid", "--define", "__gpg /usr/bin/gpg", "--addsign", *files
    )


def index(folder: Path, key: str = "good", *, modules: str = "") -> None:
    """Make a repository of a folder of packages."""
    run("createrepo_c", "--quiet", folder)
    if modules:
        with tempfile.TemporaryDirectory() as work:
            (Path(work) / "modules.yaml").write_text(modules)
            run("modifyrepo_c", "--mdtype=modules", Path(work) / "modules.yaml", folder / "repodata")
    standin.sign(folder / "repodata/repomd.xml", key, how="--detach-sign", to="repomd.xml.asc")


def el(www: Path, release: str) -> None:
    """What EL has of what the roles ask for, and EPEL. The tools themselves are in the image."""
    folder = www / "el" / release
    names = ["ca-certificates", "chrony", "gcc", "gcc-c++", "glibc-devel"]
    names += ["kmod", "make", "pciutils", "python3", "python3-pip", "python3-dnf-plugin-versionlock"]
    build(folder, f"{release}.1", *map(Package, names))
    build(folder, release, Package("dnf-plugins-core", provides=("dnf-command(config-manager)",)))
    build(www / "crb" / release, release, Package("opencl-filesystem"))
    index(www / "crb" / release)
    build(www / "epel" / release, "3", Package("dkms", files={"usr/sbin/dkms": DKMS}), key="epel")
    index(www / "epel" / release, "epel")
    key_file = "etc/pki/rpm-gpg/RPM-GPG-KEY-EPEL"
    files = {"etc/yum.repos.d/epel.repo": EPEL.format(release, key_file), key_file: (www / "epel.asc").read_text()}
    build(folder, release, Package("epel-release", files=files))
    version, running = KERNELS[release][: -len(".x86_64")].split("-")
    for kernel in (running, f"999.{running}"):
        build(folder, version, Package("kernel-devel-matched"), Package("kernel-headers"), release=kernel)
    # It has nothing to do with the driver: it goes up when everything does.
    for version in ("1.0", "2.0"):
        build(folder, version, Package("standin-bystander"))
    # It needs one driver and no other.
    build(folder, "1.0", Package("standin-dependent", requires=(f"nvidia-driver-cuda = 3:{DRIVERS[0]}",)))
    index(folder)


def driver(folder: Path, version: str, release: str) -> None:
    """The packages of a driver, each bound to the others' version."""
    same, kernel = f"= 3:{version}", KERNELS[release]
    packages = [
        Package("libnvidia-ml", files={"usr/lib64/libnvidia-ml.so.1": version}),
        Package("libnvidia-cfg"),
        Package("nvidia-driver-cuda-libs", requires=(f"libnvidia-ml {same}",)),
        Package(
            "nvidia-driver-cuda",
            requires=(
                f"nvidia-driver-cuda-libs {same}",
                f"nvidia-kmod-common {same}",
                f"nvidia-persistenced {same}",
                "opencl-filesystem",
            ),
        ),
        Package("nvidia-driver-libs"),
        Package("nvidia-driver", requires=(f"nvidia-driver-libs {same}", f"nvidia-kmod-common {same}")),
        Package("nvidia-kmod-common", requires=(f"nvidia-kmod {same}",), noarch=True),
        Package("nvidia-modprobe"),
        Package(
            "nvidia-persistenced",
            requires=(f"libnvidia-cfg {same}",),
            files={"usr/lib/systemd/system/nvidia-persistenced.service": SERVICE},
        ),
        Package("nvidia-fabricmanager", files={"usr/lib/systemd/system/nvidia-fabricmanager.service": SERVICE}),
    ]
    for flavour, (word, licence) in FLAVOURS.items():
        name, other = f"kmod-nvidia-{word}-dkms", {"open": "latest", "latest": "open"}[word]
        with tempfile.TemporaryDirectory() as work:
            module = Path(work) / "nvidia.ko"
            standin.kernel_module(module, version=version, licence=licence)
            source = f"nvidia-{'open-' if flavour == 'open' else ''}{version}"
            files = {f"usr/src/{source}/nvidia.ko": module.read_bytes()}
        build(
            folder,
            version,
            Package(
                name,
                requires=("dkms", f"nvidia-kmod-common {same}"),
                provides=(f"nvidia-kmod {same}",),
                conflicts=(f"kmod-nvidia-{other}-dkms",),
                post=f"dkms install {source} {kernel}",
                preun=f"dkms remove {source} {kernel}",
                files=files,
                noarch=True,
            ),
            Package(
                "nvidia-open" if flavour == "open" else "cuda-drivers",
                requires=(f"nvidia-driver {same}", f"nvidia-driver-cuda {same}", f"{name} {same}"),
                noarch=True,
            ),
            release=f"1.el{release}",
            epoch=3,
        )
    build(folder, version, *packages, release=f"1.el{release}", epoch=3)


def cuda(folder: Path, version: str) -> None:
    """A toolkit whose compiler makes programs that find no GPU. Its parts have versions of their own."""
    series = ".".join(version.split(".")[:2])
    dashed = series.replace(".", "-")
    nvcc = '#!/bin/sh\n[ "$1" = -o ] || exit 1\nprintf \'#!/bin/sh\\nexit 77\\n\' > "$2"\nchmod 755 "$2"\n'
    own = {"12.8.0": "12.8.61", "12.8.1": "12.8.93", "13.0.2": "13.0.88"}[version]
    build(folder, own, Package(f"cuda-nvcc-{dashed}", files={f"usr/local/cuda-{series}/bin/nvcc": nvcc}))
    build(
        folder,
        version,
        Package(f"cuda-toolkit-{dashed}", requires=(f"cuda-nvcc-{dashed} >= {own}",)),
        # What drags a driver in, and must never come along.
        Package(f"cuda-{dashed}", requires=(f"cuda-toolkit-{dashed}", "cuda-drivers")),
    )


def cudnn(folder: Path, version: str) -> None:
    """A library that tells its version, and nothing else."""
    major, minor, patch = version.split(".")[:3]
    number = int(major) * 10000 + int(minor) * 100 + int(patch)
    with tempfile.TemporaryDirectory() as work:
        source, library = Path(work) / "cudnn.c", Path(work) / "libcudnn.so.9"
        source.write_text(f"#include <stddef.h>\nsize_t cudnnGetVersion(void) {{ return {number}; }}\n")
        run("cc", "-shared", "-fPIC", "-Wl,-soname,libcudnn.so.9", "-o", library, source)
        numbers = zip(("MAJOR", "MINOR", "PATCHLEVEL"), (major, minor, patch))
        header = "".join(f"#define CUDNN_{name} {value}\n" for name, value in numbers)
        build(
            folder,
            version,
            Package("libcudnn9-cuda-12", files={"usr/lib64/libcudnn.so.9": library.read_bytes()}),
            Package(
                "libcudnn9-devel-cuda-12",
                requires=(f"libcudnn9-cuda-12 = {version}",),
                files={
                    "usr/include/cudnn_version.h": f"{header}#define CUDNN_VERSION {number}\n",
                    "usr/lib64/libcudnn.so": "INPUT(libcudnn.so.9)\n",
                },
            ),
        )


def streams(folder: Path) -> str:
    """What makes streams of NVIDIA's packages for EL 9: two for each branch, and two of the newest, one the default."""
    documents = []
    branches = {version.partition(".")[0] for version in DRIVERS}
    newest = DRIVERS[-1].partition(".")[0]
    for branch, name in [*((branch, branch) for branch in sorted(branches)), (newest, "latest")]:
        for flavour, word, meta in (("open", "open", "nvidia-open"), ("dkms", "latest", "cuda-drivers")):
            stream = "open-dkms" if (name, flavour) == ("latest", "open") else f"{name}-{flavour}"
            others = ("kmod-nvidia-", "nvidia-open", "cuda-drivers")
            files = [file.name for file in folder.glob(f"*-{branch}.*.rpm")]
            own = [file for file in files if file.startswith((f"kmod-nvidia-{word}-", meta))]
            documents.append(_stream(stream, own + [file for file in files if not file.startswith(others)]))
    default = {"module": "nvidia-driver", "stream": "latest-dkms"}
    documents.append({"document": "modulemd-defaults", "version": 1, "data": default})
    return "".join(f"---\n{json.dumps(document)}\n...\n" for document in documents)


def _stream(name: str, files: list[str]) -> dict:
    data = {
        "name": "nvidia-driver",
        "stream": name,
        "version": 20261101000000,
        "context": "0a1b2c3d",
        "arch": "x86_64",
        "summary": "STAND-IN",
        "description": "Stand-in.",
        "license": {"module": ["GPL-3.0-or-later"]},
        "artifacts": {"rpms": sorted(_with_epoch(file) for file in files)},
    }
    return {"document": "modulemd", "version": 2, "data": data}


def _with_epoch(file: str) -> str:
    name, version, release = file[: -len(".rpm")].rsplit("-", 2)
    return f"{name}-3:{version}-{release}"


def run(*command: object) -> None:
    done = subprocess.run([str(word) for word in command], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{command}\n{done.stdout}{done.stderr}")


def main(www: Path) -> None:
    www.mkdir(parents=True)
    standin.signing_keys(www)
    for release in KERNELS:
        el(www, release)
        folder = www / f"nvidia/rhel{release}/x86_64"
        for version in DRIVERS:
            driver(folder, version, release)
    shared = www / "nvidia/rhel9/x86_64"
    for version in ("12.8.0", "12.8.1", "13.0.2"):
        cuda(shared, version)
    for version in ("9.3.0.75", "9.10.2.21"):
        cudnn(shared, version)
    for file in (*shared.glob("cuda-*-1.x86_64.rpm"), *shared.glob("libcudnn*.rpm")):
        shutil.copy(file, www / "nvidia/rhel10/x86_64")

    for release, key_file in KEY_FILES.items():
        for name in ("nvidia", "evil", "unsigned", "forged", "tampered"):
            folder = www / name / f"rhel{release}/x86_64"
            if name != "nvidia":
                shutil.copytree(www / f"nvidia/rhel{release}/x86_64", folder)
            chosen = list(folder.glob("nvidia-driver-cuda-5*.rpm"))
            if name == "unsigned":
                run("rpmsign", "--delsign", *chosen)
            if name == "forged":
                run("rpmsign", "--delsign", *chosen)
                sign(chosen, "evil")
            modules = streams(folder) if release == "9" else ""
            index(folder, "evil" if name == "evil" else "good", modules=modules)
            if name == "tampered":
                for file in chosen:
                    with file.open("r+b") as opened:
                        opened.seek(-20, 2)
                        opened.write(b"X")
            # What a forger would offer is the key that machines expect.
            shutil.copy(www / "good.asc", folder / key_file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
