# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and change a set of packages with apt or dnf. What to change is decided in ``_packages``.

Both classes have the same methods, so a module need not know which one it holds. The commands run through a function
that tests replace; everything between them is parsing.
"""

from __future__ import annotations

import configparser
import glob
import os
import re
import time
from collections import Counter
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple, Union

from ansible_collections.gpulab.workstation.plugins.module_utils._files import read_text, write_text
from ansible_collections.gpulab.workstation.plugins.module_utils._package_trouble import explain
from ansible_collections.gpulab.workstation.plugins.module_utils._packages import (
    Found,
    PackageError,
    Plan,
    Request,
    matches,
    newest_first,
)

# Runs a command line; returns exit status, standard output, standard error.
Run = Callable[[Sequence[str]], Tuple[int, str, str]]

# How long to wait, in seconds, for another package manager to let go of its lock.
LOCK_TIMEOUT = 120
# How often to look, in seconds, where neither apt nor dnf waits for a given time by itself.
LOCK_PAUSE = 2
# What dnf ends with when it is told not to wait for a lock (exit_on_lock): by itself it would for ever.
DNF_LOCKED = 200


def package_manager(*, family: str, run: Run, root: str = "/") -> Union[Apt, Dnf]:
    """Return the package manager of a family of distributions, as ``_system`` names it.

    Raises:
        PackageError: It is neither Debian's nor RHEL's family.
    """
    if family == "debian":
        return Apt(run=run, root=root)
    if family == "redhat":
        return Dnf(run=run, root=root)
    raise PackageError("Only the families of Debian and RHEL are known.")


def quiet_runner(module: Any, *, patience: float = LOCK_TIMEOUT) -> Run:
    """Return what runs commands for an AnsibleModule: nobody is asked anything, and messages are in English."""
    environment = {"DEBIAN_FRONTEND": "noninteractive", "NEEDRESTART_SUSPEND": "1", "LC_ALL": "C"}
    return patient(lambda argv: module.run_command(list(argv), environ_update=environment), patience)


def patient(run: Run, patience: float = LOCK_TIMEOUT) -> Run:
    """Return ``run`` as one that tries again, for so many seconds, where another program's lock is in the way."""

    def try_again(argv: Sequence[str]) -> Tuple[int, str, str]:
        deadline = time.monotonic() + patience
        while True:
            status, out, err = run(argv)
            if not _locked_out(status, err) or time.monotonic() >= deadline:
                return status, out, err
            time.sleep(LOCK_PAUSE)

    return try_again


class Apt:
    """Debian and Ubuntu."""

    # What has to be installed for a hold to be kept: apt keeps it itself.
    HOLDS_WITH: Tuple[str, ...] = ()

    def __init__(self, *, run: Run, root: str = "/", patience: int = LOCK_TIMEOUT) -> None:
        self._run = run
        self._root = root
        self._apt = ("apt-get", "-y", "-o", f"DPkg::Lock::Timeout={patience}")
        self._install = (
            *self._apt, "--no-install-recommends", "--allow-downgrades", "--allow-change-held-packages",
            "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold",
        )  # fmt: skip

    def installed(self) -> Dict[str, str]:
        """Return the version of each installed package."""
        return parse_dpkg_status(self._status())[0]

    def find(self, request: Request) -> Found:
        """Read what is installed, and what the sources offer for the packages that matter to ``request``."""
        installed, held, unfinished = parse_dpkg_status(self._status())
        names = _relevant(request, installed)
        policy = _checked(self._run, ["apt-cache", "policy", *names]) if names else ""
        available = parse_policy(policy)
        following = [name for name in sorted(available) if matches(name, request.follows)]
        records = _checked(self._run, ["apt-cache", "show", *following]) if following else ""
        return Found(
            installed=installed,
            available=available,
            held=held,
            interrupted=self._with_notes(unfinished),
            made_for=parse_made_for(records, owned=request.owned),
        )

    def _status(self) -> str:
        form = "${db:Status-Abbrev}\t${Package}\t${Version}\n"
        return _checked(self._run, ["dpkg-query", "-W", "-f", form])

    def indexed(self) -> bool:
        """Return whether any source's index is here: a new machine has none."""
        # A bundle's are kept apart from the machine's own.
        told = _checked(self._run, ["apt-config", "shell", "lists", "Dir::State::Lists/d"])
        lists = re.search(r"(?m)^lists='(.*)'$", told)
        return bool(lists and glob.glob(os.path.join(self._root, lists.group(1).lstrip("/"), "*_*")))

    def refresh(self) -> None:
        """Fetch the sources' indexes."""
        _checked(self._run, [*self._apt, "update"])

    def interrupted(self) -> List[str]:
        """Return the packages that an interrupted run left half done; "dpkg" where only its notes tell of one."""
        return self._with_notes(parse_dpkg_status(self._status())[2])

    def _with_notes(self, unfinished: List[str]) -> List[str]:
        notes = glob.glob(os.path.join(self._root, "var/lib/dpkg/updates/[0-9]*"))
        return unfinished or (["dpkg"] if notes else [])

    def repair(self, *options: str) -> None:
        """Finish what an interrupted run began, with more options for apt."""
        # This one may fail for a package that --fix-broken then takes away or completes.
        status, _out, err = self._run(["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"])
        if _locked_out(status, err):
            raise PackageError(explain(err))
        _checked(self._run, [*self._install, *options, "--fix-broken", "install"])
        halves = parse_halves(self._status())
        if halves:
            _checked(self._run, [*self._install, *options, "--reinstall", "install", *halves])

    def apply(self, *, request: Request, plan: Plan) -> None:
        """Carry out ``plan`` as one transaction, and refuse it if apt would remove anything that is not of the set."""
        wanted = [f"{name}={version}" for name, version in sorted(plan.install.items())]
        wanted += [f"{name}-" for name in plan.remove]
        if not wanted:
            return
        preview = _checked(self._run, [*self._install, "--simulate", "install", *wanted])
        strangers = [
            name
            for name in re.findall(r"(?m)^Remv (\S+)", preview)
            if name not in plan.remove and not _concerns(name, request)
        ]
        if strangers:
            raise PackageError(
                f"apt would also remove {', '.join(strangers)}, which is not part of {request.name}."
                " Remove what depends on the old packages first, or choose a version that fits."
            )
        _checked(self._run, [*self._install, "--purge", "install", *wanted])

    def hold(self, names: Iterable[str]) -> None:
        """Keep upgrades away from exactly these packages."""
        _checked(self._run, ["apt-mark", "hold", *names])

    def release(self, names: Iterable[str]) -> None:
        """Let upgrades have these packages again."""
        _checked(self._run, ["apt-mark", "unhold", *names])

    def files(self, *, request: Request, plan: Plan, hold: bool) -> Dict[str, Optional[str]]:
        """Return the files that pin the set to its version, with their text; None where there is to be no file."""
        pin, blacklist = None, None
        own = [glob_ for glob_ in request.owned if not glob_.startswith("!")]
        if own and plan.version:
            pin = (
                f"# {request.name} is of one version: what is added later, by hand too, is of that version.\n"
                f"Package: {' '.join(own)}\n"
                f"Pin: version {plan.version}-*\n"
                "Pin-Priority: 1001\n"
            )
        if own and hold:
            entries = "".join(f'  "^{_regex(glob_)}$";\n' for glob_ in own)
            blacklist = (
                f"// {request.name} is upgraded on purpose only.\n"
                f"Unattended-Upgrade::Package-Blacklist {{\n{entries}}};\n"
            )
        return {
            os.path.join(self._root, f"etc/apt/preferences.d/gpulab-{request.name}.pref"): pin,
            os.path.join(self._root, f"etc/apt/apt.conf.d/60gpulab-{request.name}"): blacklist,
        }


class Dnf:
    """RHEL and its family."""

    # Without it, a lock is a line in a file that nobody reads.
    HOLDS_WITH: Tuple[str, ...] = ("python3-dnf-plugin-versionlock",)

    # Locks stand against our own upgrades too; they are written anew after each one. What the set needed may be of use
    # to others, and stays.
    _DNF = (
        "dnf", "-y", "--disableplugin=versionlock", "--setopt=exit_on_lock=1",
        "--setopt=install_weak_deps=False", "--setopt=clean_requirements_on_remove=False",
    )  # fmt: skip

    def __init__(self, *, run: Run, root: str = "/") -> None:
        self._run = run
        self._locks = os.path.join(root, "etc/dnf/plugins/versionlock.list")
        self._streams = os.path.join(root, "etc/dnf/modules.d")
        self._doubled: List[str] = []

    def installed(self) -> Dict[str, str]:
        """Return the version of each installed package, with its epoch."""
        return dict(self._rpm("-qa"))

    def find(self, request: Request) -> Found:
        """Read what is installed, and what the sources offer for the packages that matter to ``request``."""
        listing = self._rpm("-qa")
        installed = dict(listing)
        self._doubled = _twice(name for name, _version in listing if _concerns(name, request))
        names = _relevant(request, installed)
        form = r"%{name}\t%{epoch}:%{version}-%{release}"
        # Of every stream: which one to take is decided by what is found.
        query = ["repoquery", "--quiet", "--available", "--showduplicates", "--disable-modular-filtering", "--qf", form]
        offered = _checked(self._run, [*self._DNF, *query, *names]) if names else ""
        available: Dict[str, Set[str]] = {}
        for line in offered.splitlines():
            name, tab, version = line.replace("\\t", "\t").partition("\t")
            if tab:
                available.setdefault(name, set()).add(version)
        return Found(
            installed=installed,
            available={name: newest_first(versions) for name, versions in available.items()},
            held=parse_versionlock(self._read_locks(), installed),
            interrupted=self._doubled,
            stream=self._stream(request),
        )

    def indexed(self) -> bool:
        """Return True: dnf fetches what it lacks."""
        return True

    def refresh(self) -> None:
        """Fetch the sources' indexes."""
        _checked(self._run, [*self._DNF, "makecache", "--refresh"])

    def repair(self) -> None:
        """Take away, old and new, the packages of which an interrupted transaction left both.

        The change that follows installs them whole. To erase one of the two would not do: the files are those of the
        new one, whose scripts may not have run. dnf's own ``remove --duplicates`` installs the new one over itself, by
        which the kernel module that it has just built is removed.
        """
        _checked(self._run, ["rpm", "--erase", "--nodeps", "--allmatches", *self._doubled])

    def apply(self, *, request: Request, plan: Plan) -> None:
        """Carry out ``plan``, and refuse it if dnf would remove anything that is not of the set."""
        # Erasing is for what the new packages conflict with: the other flavour of the same driver. To exclude that by
        # name would keep it, for dnf erases nothing that is excluded.
        packages = [f"{name}-{version}" for name, version in sorted(plan.install.items())]
        install = ["--allowerasing", "install", *packages]
        words = install if plan.install else ["remove", *plan.remove]
        if plan.install or plan.remove:
            self._preview(words, request=request, plan=plan)
        stream = self._stream(request)
        if request.stream != stream:
            self._enable(request.stream)
        try:
            if plan.install:
                _checked(self._run, [*self._DNF, *install])
            left = sorted(set(plan.remove) & set(self.installed()))
            if left:
                _checked(self._run, [*self._DNF, "remove", *left])
        except PackageError:
            if request.stream != stream:
                self._enable(stream)
            raise
        if plan.remove:
            self.release(plan.remove)

    def _preview(self, words: Sequence[str], *, request: Request, plan: Plan) -> None:
        """Ask dnf what it would do, of all streams: the one that is wanted is enabled when all is well."""
        argv = [word for word in self._DNF if word != "-y"]
        status, out, err = self._run([*argv, "--assumeno", "--setopt=*.module_hotfixes=1", *words])
        # Told no, it ends with 1 as well.
        if status != 0 and "Operation aborted" not in out + err:
            raise PackageError(f"`dnf {_verb(words)}` would fail. {explain(out + err)}")
        strangers = [n for n in parse_removals(out) if n not in plan.remove and not _concerns(n, request)]
        if strangers:
            raise PackageError(
                f"dnf would also remove {', '.join(strangers)}, which is not part of {request.name}."
                " Remove what depends on the old packages first, or choose a version that fits."
            )

    def _enable(self, stream: str) -> None:
        """Take a dnf module from ``stream``; from none when it ends in ":"."""
        module, _colon, wanted = stream.partition(":")
        _checked(self._run, [*self._DNF, "module", "reset", module])
        if wanted:
            _checked(self._run, [*self._DNF, "module", "enable", stream])

    def hold(self, names: Iterable[str]) -> None:
        """Keep upgrades away from these packages, at the version they have."""
        wanted = set(names)
        lines = [f"{name}-{version}.*" for name, version in sorted(self._rpm("-q", *sorted(wanted)))]
        self._write_locks([*self._without(wanted), *lines])

    def release(self, names: Iterable[str]) -> None:
        """Let upgrades have these packages again."""
        self._write_locks(self._without(set(names)))

    def files(self, *, request: Request, plan: Plan, hold: bool) -> Dict[str, Optional[str]]:
        """Return no files: a lock is a line in a list that others write to as well."""
        return {}

    def _rpm(self, *query: str) -> List[Tuple[str, str]]:
        """Return name and version of each package; of some there are several."""
        listing = _checked(self._run, ["rpm", *query, "--qf", r"%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\n"])
        return [(name, version) for name, _tab, version in (line.partition("\t") for line in listing.splitlines())]

    def _stream(self, request: Request) -> str:
        """Return the enabled stream of the request's module as dnf keeps it, an INI file for each module."""
        if not request.stream:
            return ""
        module = request.stream.partition(":")[0]
        state = configparser.ConfigParser()
        state.read(os.path.join(self._streams, f"{module}.module"), encoding="utf-8")
        enabled = state.get(module, "state", fallback="") == "enabled"
        return f"{module}:{state.get(module, 'stream', fallback='') if enabled else ''}"

    def _without(self, names: Set[str]) -> List[str]:
        return [line for line in self._read_locks() if _locked_name(line) not in names]

    def _read_locks(self) -> List[str]:
        return (read_text(self._locks) or "").splitlines()

    def _write_locks(self, lines: Sequence[str]) -> None:
        write_text(self._locks, "".join(f"{line}\n" for line in lines))


def parse_dpkg_status(text: str) -> Tuple[Dict[str, str], Set[str], List[str]]:
    """Return version by name of what is on the disk, the names on hold, and the names left half way."""
    installed, held, interrupted = {}, set(), []
    for line in text.splitlines():
        status, name, version = line.split("\t")
        wish, state = status[0], status[1]
        if state in "nc":  # never installed, or only its configuration is left
            continue
        installed[name] = version
        if wish == "h":
            held.add(name)
        if state != "i":
            interrupted.append(name)
    return installed, held, interrupted


def parse_halves(text: str) -> List[str]:
    """Return the names of which dpkg was cut off among the files. apt does not think of these by itself."""
    rows = [line.split("\t") for line in text.splitlines()]
    return [name for status, name, _version in rows if status[1] == "H" or status[2] == "R"]


def parse_policy(text: str) -> Dict[str, List[str]]:
    """Return the versions that a source offers and no pin forbids, newest first, by name."""
    available: Dict[str, List[str]] = {}
    name, version, priority = "", "", 0
    for line in text.splitlines():
        if line and not line.startswith(" "):
            name = line.rstrip(":").split(":")[0]
        entry = re.match(r" (?:\*\*\*|   ) (\S+) (-?\d+)$", line)
        source = re.match(r" {8,}(-?\d+) (\S+)", line)
        if entry:
            version, priority = entry.group(1), int(entry.group(2))
        elif source and source.group(2) != "/var/lib/dpkg/status" and priority >= 0 and int(source.group(1)) >= 0:
            versions = available.setdefault(name, [])
            if version not in versions:
                versions.append(version)
    return available


def parse_made_for(text: str, *, owned: Sequence[str]) -> Dict[str, Dict[str, List[Tuple[str, str]]]]:
    """Return, by name and version, what the records of ``apt-cache show`` ask of the versions of ``owned`` packages."""
    made_for: Dict[str, Dict[str, List[Tuple[str, str]]]] = {}
    for record in re.sub(r"\n[ \t]+", " ", text).split("\n\n"):
        fields = dict(line.split(": ", 1) for line in record.splitlines() if ": " in line)
        # What modules stand for, they are of; what they depend on, they were made for.
        said = ", ".join(fields[name] for name in ("Provides", "Pre-Depends", "Depends") if name in fields)
        relations = re.findall(r"([^\s,|:(]+)(?::\w+)? \(([<>=]+) ([^)\s]+)\)", said)
        of_the_set = [(how, version) for name, how, version in relations if matches(name, owned)]
        if of_the_set:
            made_for.setdefault(fields["Package"], {})[fields["Version"]] = of_the_set
    return made_for


def parse_removals(text: str) -> List[str]:
    """Return the packages that dnf's table of a transaction has under "Removing:", "Removing dependent packages:" …"""
    removed: List[str] = []
    removing = False
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            removing = line.startswith("Removing")
        elif not line.strip():
            removing = False
        elif removing and re.match(r" \S", line):
            removed.append(line.split()[0])
    return removed


def parse_versionlock(lines: Sequence[str], installed: Mapping[str, str]) -> Set[str]:
    """Return the installed packages that are locked at the version they have."""
    locks = {line.strip() for line in lines}
    return {name for name, version in installed.items() if f"{name}-{version}.*" in locks}


def _locked_out(status: int, err: str) -> bool:
    """Whether a command did nothing for want of a lock: apt's for indexes and downloads, dpkg's, or one of dnf's."""
    apt = r"Could not get lock /var/(lib/apt/lists|cache/apt/archives)/|dpkg .*was locked by another process"
    return status == DNF_LOCKED or bool(re.search(apt, err))


def _locked_name(line: str) -> str:
    """Return the package name of a lock such as ``nvidia-driver-3:580.95.05-1.el9.*``."""
    return line.rsplit("-", 2)[0]


def _twice(names: Iterable[str]) -> List[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


def _relevant(request: Request, installed: Mapping[str, str]) -> List[str]:
    wanted = {name for choice in request.choices for name in choice}
    return sorted(wanted | {name for name in installed if _concerns(name, request)})


def _concerns(name: str, request: Request) -> bool:
    return any(matches(name, globs) for globs in (request.owned, request.follows, request.absent))


def _regex(glob_: str) -> str:
    return re.escape(glob_).replace(r"\*", ".*").replace(r"\-", "-")


def _checked(run: Run, argv: Sequence[str]) -> str:
    status, out, err = run(argv)
    if status < 0:
        raise PackageError(
            f"`{argv[0]} {_verb(argv)}` was killed. Run this again; it finishes or undoes what was begun."
        )
    if status != 0:
        raise PackageError(f"`{argv[0]} {_verb(argv)}` failed. {explain(out + err)}")
    return out


def _verb(argv: Sequence[str]) -> str:
    return next((word for word in argv[1:] if re.fullmatch(r"[a-z]+", word)), "")
