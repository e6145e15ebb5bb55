"""A stand-in for a Miniforge installer: one shell file with a payload, and the options of the real ones.

It refuses an existing prefix without ``-u``, checks its payload, asks about a licence without ``-b``, and unpacks in
several steps, so that a kill leaves half a prefix behind. Its ``conda`` is stand_in_client.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import rattler
from stand_in_channel import PYTHON_SHORT, SUBDIR

HEADER = r"""#!/bin/sh
# NAME:  Miniforge3 (stand-in)
# VER:   @VERSION@
set -eu
THIS="$0"; PREFIX="$HOME/miniforge3"; BATCH=0; FORCE=0
while getopts "bfhkp:su" option; do
  case "$option" in
    b) BATCH=1 ;;
    f | u) FORCE=1 ;;
    p) PREFIX="$OPTARG" ;;
    k | s) ;;
    *) exit 2 ;;
  esac
done
if [ "$BATCH" = 0 ]; then
  printf 'Do you accept the license terms? [yes|no]\n>>> '
  read -r answer
  [ "$answer" = yes ] || { echo "The license agreement wasn't approved, aborting installation."; exit 2; }
fi
if [ "$FORCE" = 0 ] && [ -e "$PREFIX" ]; then
  printf "ERROR: File or directory already exists: '%s'\n" "$PREFIX" >&2
  printf "If you want to update an existing installation, use the -u option.\n" >&2
  exit 1
fi
payload() { tail -n +@LINES@ "$THIS"; }
[ "$(payload | sha256sum | cut -d' ' -f1)" = "@SHA256@" ] || { echo "WARNING: mismatch of the payload" >&2; exit 1; }
mkdir -p "$PREFIX"
printf 'PREFIX=%s\nUnpacking payload...\n' "$PREFIX"
for part in lib bin condabin etc conda-meta; do
  payload | tar -xzf - -C "$PREFIX" "./$part"
done
sed -i "s|@PREFIX@|$PREFIX|g" "$PREFIX/etc/profile.d/conda.sh" "$PREFIX/conda-meta/"*.json
echo @VERSION@ > "$PREFIX/conda-meta/stand-in-version"
echo "installation finished."
exit 0
"""

# What sourcing etc/profile.d/conda.sh of the real one amounts to.
PROFILE = """export CONDA_EXE='@PREFIX@/bin/conda'
PATH="@PREFIX@/condabin:$PATH"
conda() {
  case "${1-}" in
    activate) PATH="${2:-@PREFIX@}/bin:$PATH"; export CONDA_PREFIX="${2:-@PREFIX@}" ;;
    *) "$CONDA_EXE" "$@" ;;
  esac
}
"""

# The real one comes with its bytecode and has none to write.
CONDA = """#!/bin/sh
exec "$(dirname "$(readlink -f "$0")")/python" -B -I -m stand_in_client "$@"
"""


def build_payload(target: Path, *, channel: Path) -> Path:
    """Build what an installer unpacks, from the packages of ``channel``, and return it."""
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"
        asyncio.run(_install_python(base, channel, Path(scratch) / "cache"))
        site_packages = base / "lib" / f"python{PYTHON_SHORT}" / "site-packages"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--target", site_packages]
        subprocess.run([*pip, "py-rattler", "pyyaml"], check=True)
        shutil.copy(Path(__file__).with_name("stand_in_client.py"), site_packages)
        _write(base / "bin" / "conda", CONDA, mode=0o755)
        _write(base / "etc" / "profile.d" / "conda.sh", PROFILE)
        _write(base / "conda-meta" / "history", "")
        (base / "condabin").mkdir()
        (base / "condabin" / "conda").symlink_to("../bin/conda")
        packed = ["tar", "-C", base, "--owner=0", "--group=0", "--sort=name", "--mtime=@0", "-cf", "-", "."]
        tar = subprocess.run(packed, check=True, stdout=subprocess.PIPE).stdout
        target.write_bytes(subprocess.run(["gzip", "-1", "-n"], check=True, input=tar, stdout=subprocess.PIPE).stdout)
    return target


def write_installer(target: Path, *, payload: Path, version: str) -> Path:
    """Write the installer of ``version`` at ``target``, and return it."""
    content = payload.read_bytes()
    header = HEADER.replace("@VERSION@", version).replace("@SHA256@", hashlib.sha256(content).hexdigest())
    header = header.replace("@LINES@", str(header.count("\n") + 1))
    target.write_bytes(header.encode() + content)
    target.chmod(0o755)
    return target


async def _install_python(base: Path, channel: Path, cache: Path) -> None:
    sources = [rattler.Channel(channel.as_uri())]
    solution = await rattler.solve(sources=sources, specs=["python"], platforms=[SUBDIR, "noarch"])
    await rattler.install(solution, target_prefix=base, cache_dir=cache, show_progress=False)
    # The records name the place that the base was put together at.
    for record in (base / "conda-meta").glob("*.json"):
        record.write_text(record.read_text().replace(str(base), "@PREFIX@"))


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


if __name__ == "__main__":
    build_payload(Path(sys.argv[1]), channel=Path(sys.argv[2]))
    # py-rattler's runtime can crash while the interpreter ends.
    os._exit(0)
