# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Name the cause of a failed apt, dpkg, dnf or DKMS run: their last line is seldom the one that matters."""

from __future__ import annotations

import re
from typing import List, NamedTuple

from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import without_secrets


class Trouble(NamedTuple):
    """A cause that the field knows. ``message`` may use the pattern's named groups."""

    pattern: str
    message: str


# Ordered: a full disk makes DKMS fail, a failed DKMS build makes dpkg fail, so the root cause comes first.
# The words are English, as package managers are asked to speak; of what Python says only the number is the same in
# every language.
TROUBLES: List[Trouble] = [
    Trouble(
        r"No space left on device|\[Errno 28\]|You don't have enough free space in|more space needed on the",
        "The disk is full. Free some space and run this again; it goes on where it stopped.",
    ),
    Trouble(
        r"Read-only file system|\[Errno 30\]",
        "A file system is mounted read-only, as the kernel also does with a disk that has errors: its log (dmesg) says"
        " so. Mount it writable and run this again; it goes on where it stopped.",
    ),
    Trouble(
        r"is not valid yet|Release file for \S+ is expired|certificate is not yet valid|certificate has expired",
        "The signature or the certificate of a source does not hold at the time that this machine's clock shows. See"
        " what `timedatectl` says, set the clock, and run this again; where that is right, the source is out of date.",
    ),
    Trouble(
        r"Could not get lock (?P<lock>\S+?)\.?(?: It is held by process (?P<pid>\d+) \((?P<who>[^)]+)\))",
        "Another package manager is at work: process {pid} ({who}) holds {lock}. Let it end and run this again.",
    ),
    Trouble(
        r"already locked by (?P<pid>\d+)\s+The application with PID \d+ is: (?P<who>\S+)",
        "Another package manager is at work: process {pid} ({who}) holds dnf's lock. Let it end and run this again.",
    ),
    Trouble(
        r"(?P<lock>dpkg \w+(?: \w+)? lock) was locked by another process with pid (?P<pid>\d+)",
        "Another package manager is at work: process {pid} holds the {lock}. Let it end and run this again.",
    ),
    Trouble(
        r"Could not get lock|Unable to acquire the dpkg frontend lock",
        "Another package manager is at work. Let it end and run this again.",
    ),
    Trouble(
        r"NO_PUBKEY (?P<key>[0-9A-F]+)",
        "A repository is signed by key {key}, which this machine was not told to trust. If its publisher changed keys,"
        " give the new fingerprint; otherwise somebody stands between this machine and the repository.",
    ),
    Trouble(
        r"EXPKEYSIG (?P<key>[0-9A-F]+)",
        "The key {key}, by which a repository is signed, has expired. Get its renewed form.",
    ),
    Trouble(
        r"BADSIG (?P<key>[0-9A-F]+)",
        "The signature of a repository's index is wrong: the index was changed after it was signed.",
    ),
    Trouble(
        r"repo '(?P<repository>[^']+)': repomd\.xml GPG signature verification error",
        "The index of repository {repository} does not bear the signature of its key: it was changed after it was"
        " signed, or somebody else signed it.",
    ),
    Trouble(
        r"The repository '(?P<repository>[^']+)' is (?:not signed|no longer signed)",
        "The repository {repository} is not signed, so nothing is installed from it.",
    ),
    Trouble(
        r"Package (?P<package>\S+\.rpm) is not signed",
        "The package {package} is not signed, so nothing was installed.",
    ),
    Trouble(
        r"Public key for \S+ is not (?:installed|trusted)|GPG check FAILED|GPG Keys are configured",
        "A package is not signed by the repository's key, so nothing was installed.",
    ),
    Trouble(
        r"Hash Sum mismatch|File has unexpected size|checksum doesn't match",
        "A downloaded package is not the one that the signed index describes: the mirror is stale, or the file was"
        " tampered with. Nothing was installed from it.",
    ),
    Trouble(
        r"Unable to find kernel headers|kernel headers for target kernel|kernel source for this kernel does not seem",
        "The headers of the kernel are not installed, so its module cannot be built.",
    ),
    Trouble(
        r"Bad return status for module build on kernel: (?P<kernel>\S+)",
        "The driver's kernel module does not compile for kernel {kernel}. A kernel newer than the driver is the usual"
        " reason: take a newer driver, or an older kernel.",
    ),
    Trouble(
        r"Depends: (?P<need>\S+) (?:\((?P<version>[^)]+)\) )?but (?P<fact>[^\n]+)",
        "The packages do not fit together: {need} {version} is needed, but {fact}.",
    ),
    Trouble(
        r"(?:Unable to find a match|No match for argument): (?P<packages>[^\n]+)",
        "No package source of this machine offers {packages}.",
    ),
    Trouble(
        r"nothing provides (?P<need>[^\n]+?) needed by (?P<package>\S+)",
        "The packages do not fit together: {package} needs {need}, which no repository offers.",
    ),
    Trouble(
        r"Failed to fetch file:\S+/(?P<package>[^/\s]+)\s+File not found",
        "{package} is not in the folder that stands in for its archive. Make the bundle again, with what this machine"
        " is to have.",
    ),
    Trouble(
        r"Could not resolve|Temporary failure resolving|Could not connect|Failed to fetch|Failed to download metadata"
        r"|Curl error|404  Not Found|(?i:all mirrors were)",
        "A package source cannot be reached. A mirror or a local directory can stand in for it.",
    ),
    Trouble(
        r"dpkg was interrupted|E: Sub-process /usr/bin/dpkg returned an error code",
        "dpkg stopped half way. Run this again; it goes on where it stopped.",
    ),
]


def explain(output: str) -> str:
    """Return a sentence on the cause of a failure, followed by the program's own last words."""
    output = without_secrets(output)
    # Some say the same for as long as they wait.
    lines = list(dict.fromkeys(line for line in output.splitlines() if line.strip()))
    tail = "\n".join(lines[-12:])
    for trouble in TROUBLES:
        hit = re.search(trouble.pattern, output)
        if hit:
            words = {name: value or "" for name, value in hit.groupdict().items()}
            return f"{re.sub(' +', ' ', trouble.message.format(**words))}\n{tail}"
    return tail
