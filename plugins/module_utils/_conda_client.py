# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""conda, mamba and micromamba: how each is asked, and what its answers and its errors mean.

Sources: conda/exceptions.py and conda/cli/install.py of conda 26.7, conda_anaconda_tos/exceptions.py of
conda-anaconda-tos 0.2, libmamba/src/api/utils.cpp and core/transaction.cpp of mamba 2.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ansible_collections.gpulab.workstation.plugins.module_utils._conda_plan import Request, render_lock
from ansible_collections.gpulab.workstation.plugins.module_utils._conda_secrets import set_apart, write_private

DEFAULT_PREFIX = "/opt/conda"

REMEDIES = {
    "terms_of_service": (
        "Accept Anaconda's terms of service with accept_tos=true if your organisation may use its channels, or use "
        "Miniforge and conda-forge, which are free for everyone."
    ),
    "channel": "Check the channel's name or URL, and that the mirror holds a repodata.json for it.",
    "packages": "Check the names and versions, and that one of the channels, or the index as a wheel, has them.",
    "sources": (
        "Choose a version that has a wheel for this machine's Python: nothing is built from source, for that would run "
        "its author's code as this user."
    ),
    "conflict": "Loosen one of the declared versions: no set of packages satisfies all of them.",
    "network": "Check the network, the proxy and the certificates of this machine, or name a mirror as the channel.",
    "disk": "Free space where the environment and the client's package cache lie.",
    "checksum": "The file at that address is not what was promised: check the mirror, or renew the lock.",
    "permission": "Run as a user who may write there (become: true), or choose another prefix.",
    "exposed": "Leave it to root alone (chown root, chmod go-w), or choose a place that only root can write.",
    "damaged": "Run 'conda clean --packages' to empty the client's package cache, and try again.",
    "client": "See the client's own words above.",
}

# Which kind of failure each of the clients' exceptions is.
_EXCEPTIONS = {
    "CondaToSNonInteractiveError": "terms_of_service",
    "CondaToSRejectedError": "terms_of_service",
    "UnavailableInvalidChannel": "channel",
    "ChannelNotAllowed": "channel",
    "ChannelDenied": "channel",
    "NoChannelsConfiguredError": "channel",
    "PackagesNotFoundError": "packages",
    "PackagesNotFoundInChannelsError": "packages",
    "ResolvePackageNotFound": "packages",
    "InvalidMatchSpec": "packages",
    "UnsatisfiableError": "conflict",
    "LibMambaUnsatisfiableError": "conflict",
    "RattlerUnsatisfiableError": "conflict",
    "SpecsConfigurationConflictError": "conflict",
    "CondaHTTPError": "network",
    "CondaSSLError": "network",
    "ProxyError": "network",
    "OfflineError": "network",
    "NoSpaceLeftError": "disk",
    "ChecksumMismatchError": "checksum",
    "NotWritableError": "permission",
    "EnvironmentNotWritableError": "permission",
    "NoWritablePkgsDirError": "permission",
    "NoWritableEnvsDirError": "permission",
    "CorruptedEnvironmentError": "damaged",
    "SafetyError": "damaged",
}

# micromamba tells its errors in words only, and conda's own JSON can be lost when the disk is full.
_WORDS = (
    ("disk", re.compile(r"No space left on device|ENOSPC", re.I)),
    ("terms_of_service", re.compile(r"Terms of Service", re.I)),
    ("checksum", re.compile(r"checksum|hash mismatch|(md5|sha256).*(mismatch|differ)", re.I)),
    (
        "packages",
        re.compile(r"nothing provides|does not exist \(perhaps|No candidates were found|were not found", re.I),
    ),
    ("conflict", re.compile(r"Could not solve for environment|unsatisfiable|conflict", re.I)),
    (
        "channel",
        re.compile(r"\b40[134]\b.*repodata|repodata\.json.*\b40[134]\b|Multiple errors? occured.*repodata", re.I),
    ),
    (
        "network",
        re.compile(r"could not resolve|connection (failed|refused|timed out)|SSL|timed? ?out|Download error", re.I),
    ),
    ("permission", re.compile(r"permission denied|not writable", re.I)),
)

# A client asked to run unattended takes any of a score of CI variables for consent to Anaconda's terms, so it is given
# only the variables that have to do with its work. Consent is the module's option and nothing else.
_KEPT = re.compile(
    r"^(PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TMPDIR|NETRC|(https?|all|no|ftp)_proxy|SSL_CERT_\w+|REQUESTS_CA_BUNDLE"
    r"|CURL_CA_BUNDLE|MAMBA_\w+|PIP_\w+|UV_\w+|CONDA_(PKGS_DIRS|OVERRIDE_\w+|SSL_VERIFY|SUBDIR|SOLVER"
    r"|DEFAULT_THREADS|REMOTE_\w+|CHANNEL_\w+|CUSTOM_\w+)|CONDARC|MAMBARC)$",
    re.I,
)


class CondaError(Exception):
    """A failure that has a name: one of the keys of REMEDIES."""

    def __init__(self, message: str, *, kind: str, name: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.name = name

    @property
    def remedy(self) -> str:
        """What the person in front of the machine can do."""
        return REMEDIES[self.kind]


@dataclass(frozen=True)
class Answer:
    """What a client said, and how it ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Dict[str, Any]:
        """The last JSON object on stdout; empty when there is none.

        Older clients write progress, and libmamba a banner, in front of the answer.
        """
        decoder = json.JSONDecoder()
        found: Dict[str, Any] = {}
        position = self.stdout.find("{")
        while position >= 0:
            try:
                value, position = decoder.raw_decode(self.stdout, position)
            except ValueError:
                position += 1
            else:
                found = value if isinstance(value, dict) else found
            position = self.stdout.find("{", position)
        return found


@dataclass(frozen=True)
class Client:
    """A conda client on this machine."""

    executable: str
    accept_tos: bool = False

    @property
    def kind(self) -> str:
        """conda, mamba or micromamba."""
        return os.path.basename(self.executable)

    @property
    def root(self) -> str:
        """The prefix whose ``envs`` hold the environments that are known by name."""
        if self.kind == "micromamba" and os.environ.get("MAMBA_ROOT_PREFIX"):
            return os.environ["MAMBA_ROOT_PREFIX"]
        return os.path.dirname(os.path.dirname(os.path.abspath(self.executable)))

    def create(
        self, prefix: str, request: Request, *, dry_run: bool = False, lock_fd: Optional[int] = None
    ) -> List[str]:
        """Create the environment, or with ``dry_run`` only solve for it. Return the dists that are or would be linked.

        The directory must not be an environment: every one of these clients would replace it without a word.
        Raises CondaError, and RequestError for a password that the client cannot be told.
        """
        with tempfile.TemporaryDirectory() as scratch:
            request, told = set_apart(request, client=self.kind, folder=scratch)
            command = [self.executable, "create", "--yes", "--json", "--quiet", "--prefix", prefix]
            command += ["--dry-run"] if dry_run else []
            if request.channels:
                command += ["--override-channels", *(word for name in request.channels for word in ("-c", name))]
            if request.lock:
                path = os.path.join(scratch, "lock.txt")
                write_private(path, render_lock(request.lock, platform="linux"))
                command += ["--file", path]
            answer = run(
                [*command, *request.packages],
                environment={**self.environment(request.virtual_packages), **told},
                lock_fd=lock_fd,
            )
        document = answer.document
        if answer.code != 0 or document.get("success") is False or "exception_name" in document:
            raise read_error(answer)
        return sorted(_dist(link) for link in document.get("actions", {}).get("LINK", []))

    def environment(self, virtual_packages: Mapping[str, str]) -> Dict[str, str]:
        """Return the variables that the client is run with."""
        kept = {name: value for name, value in os.environ.items() if _KEPT.match(name)}
        kept.update({f"CONDA_OVERRIDE_{name.lstrip('_').upper()}": value for name, value in virtual_packages.items()})
        # The versions of an environment are this module's affair; people know the link by its name.
        kept["CONDA_REGISTER_ENVS"] = "false"
        if self.accept_tos:
            kept["CONDA_PLUGINS_AUTO_ACCEPT_TOS"] = "yes"
        return kept


def find_client(executable: str, *, prefix: str = DEFAULT_PREFIX) -> str:
    """Return the client to use: the one named, else that of ``prefix``, else the first on the path; empty if none."""
    if executable:
        return executable if os.access(executable, os.X_OK) else shutil.which(executable) or ""
    candidates = [os.path.join(prefix, "bin", name) for name in ("conda", "mamba")]
    found = [path for path in candidates if os.access(path, os.X_OK)]
    return found[0] if found else next(filter(None, map(shutil.which, ("conda", "mamba", "micromamba"))), "")


def run(
    command: Sequence[str], *, environment: Mapping[str, str], lock_fd: Optional[int] = None, stdin: str = ""
) -> Answer:
    """Run a command to its end. It dies with this process, and holds the environment's lock as long as it lives.

    It speaks English, for its words tell what failed.
    """
    try:
        done = subprocess.run(  # pylint: disable=ansible-bad-function # run_command passes no lock on
            list(command),
            env={**environment, "LC_ALL": "C.UTF-8"},
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            pass_fds=[] if lock_fd is None else [lock_fd],
            preexec_fn=_die_with_parent,
            check=False,
        )
    except OSError as error:
        raise CondaError(f"cannot run {command[0]}: {error.strerror}", kind="client") from error
    return Answer(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def read_error(answer: Answer) -> CondaError:
    """Return the failure that a client's answer tells of, by the exception it names or else by its words."""
    leaves = _leaves(answer.document)
    named = [
        (leaf, _EXCEPTIONS[leaf["exception_name"]]) for leaf in leaves if leaf.get("exception_name") in _EXCEPTIONS
    ]
    words = "\n".join(str(leaf.get("message") or leaf.get("error") or "") for leaf in leaves)
    problems = answer.document.get("solver_problems")
    if problems:
        words = "\n".join(str(problem) for problem in problems)
    # A crash says what it was at its end.
    tail = "\n".join((answer.stderr.strip() or answer.stdout.strip()).splitlines()[-10:])
    words = words.strip() or tail or f"it ended with status {answer.code}"
    if named:
        leaf, kind = named[0]
        return CondaError(_brief(str(leaf.get("message") or words)), kind=kind, name=str(leaf["exception_name"]))
    said = f"{words}\n{answer.stderr}"
    kind = next((kind for kind, pattern in _WORDS if pattern.search(said)), "conflict" if problems else "client")
    name = str(leaves[0].get("exception_name", "")) if leaves else ""
    return CondaError(_brief(words), kind=kind, name=name)


def _leaves(document: Mapping[str, Any]) -> List[Mapping[str, Any]]:
    """Return the errors inside an error: conda wraps several in one CondaMultiError."""
    nested = document.get("errors")
    if isinstance(nested, (list, tuple)) and nested:
        return [leaf for error in nested if isinstance(error, Mapping) for leaf in _leaves(error)]
    return [document] if document.get("exception_name") or document.get("error") else []


def _brief(text: str) -> str:
    lines = [line.rstrip() for line in text.strip().splitlines() if line.strip()]
    return "\n".join(lines[:20])


def _dist(link: Mapping[str, Any]) -> str:
    if link.get("dist_name"):
        return str(link["dist_name"])
    return f"{link['name']}-{link['version']}-{link.get('build_string') or link.get('build')}"


def _die_with_parent() -> None:
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
