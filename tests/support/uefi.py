"""A machine with firmware under Secure Boot, and the person at its console: qemu, without KVM."""

from __future__ import annotations

import re
import socket
import subprocess
import threading
import time
from pathlib import Path

FIRMWARE = Path("/usr/share/OVMF")
MEBIBYTES = 1536
# What a terminal sends for the key, and how it places what it shows.
DOWN = "\x1b[B"
PLACED = re.compile(r"\x1b\[[0-9;=]*[A-Za-z]")


class Uefi:
    """The machine of ``folder``/disk.raw; what it changes, and what its firmware keeps, lasts until the next one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.heard = ""  # since it was switched on; only the listener adds to it
        self.seen = 0  # up to where
        self.log = folder / "console.log"
        self.log.unlink(missing_ok=True)
        # Microsoft's keys are in it, as in what is sold.
        (folder / "vars.fd").write_bytes((FIRMWARE / "OVMF_VARS_4M.ms.fd").read_bytes())
        overlay = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "disk.raw", "-F", "raw", "changes.qcow2"]
        subprocess.run(overlay, cwd=folder, check=True)

    def switch_on(self) -> None:
        self.heard, self.seen = "", 0
        # Firmware takes minutes for a reset without KVM, and seconds to start: a reset switches the machine off.
        command = [
            "qemu-system-x86_64", "-no-user-config", "-nodefaults", "-no-reboot", "-machine", "q35,smm=on",
            "-accel", "tcg", "-m", str(MEBIBYTES), "-display", "none", "-vga", "none", "-monitor", "none",
            "-serial", "stdio",
            "-global", "driver=cfi.pflash01,property=secure,value=on",
            "-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.ms.fd",
            "-drive", "if=pflash,format=raw,unit=1,file=vars.fd",
            "-drive", "if=virtio,format=qcow2,file=changes.qcow2,cache=unsafe",
            "-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22",
            "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci",
        ]  # fmt: skip
        self.process = subprocess.Popen(
            command, cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.listener = threading.Thread(target=self._listen, args=(self.process,), daemon=True)
        self.listener.start()

    def switch_off(self) -> None:
        self.process.kill()
        self.process.wait()
        self.listener.join()

    def wait_until_off(self, seconds: float = 180) -> None:
        self.process.wait(timeout=seconds)
        self.listener.join()

    def see(self, words: str, *, seconds: float = 180) -> None:
        """Wait until the console shows these words, and look at what comes after them from then on."""
        deadline = time.monotonic() + seconds
        while (at := self._shown().find(words, self.seen)) < 0:
            running = self.process.poll() is None
            assert running and time.monotonic() < deadline, f"{words!r} is not on the console; see {self.log}"
            time.sleep(0.1)
        self.seen = at + len(words)

    def _shown(self) -> str:
        # Of the whole: what places a text may come in two pieces.
        return PLACED.sub("", self.heard)

    def type(self, keys: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(keys.encode())
        self.process.stdin.flush()

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        with self.log.open("ab") as log:
            while heard := process.stdout.read1(4096):
                log.write(heard)
                log.flush()
                self.heard += heard.decode(errors="replace")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
