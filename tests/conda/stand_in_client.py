"""A stand-in for the conda client: it takes conda's commands and answers in conda's JSON, and py-rattler does the work.

Installed as the module ``stand_in_client`` into the base of the stand-in installer. Solver, repodata, package cache and
linking are rattler's and real; what is not here is everything else, plugins and ``conda init`` among it.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import contextlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import rattler
import yaml

VERSION = "26.7.2"
ROOT = Path(sys.prefix)
PLATFORMS = [{"x86_64": "linux-64", "aarch64": "linux-aarch64"}[os.uname().machine], "noarch"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="conda")
    parser.add_argument("--version", action="version", version=f"conda {VERSION}")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, command in (
        ("create", create),
        ("install", install),
        ("remove", remove),
        ("list", list_),
        ("info", info),
    ):
        one = verbs.add_parser(verb)
        one.set_defaults(command=command)
        one.add_argument("--prefix", "-p", type=Path, default=ROOT)
        one.add_argument("--channel", "-c", action="append", default=[])
        one.add_argument("--file", action="append", default=[])
        for flag in ("--override-channels", "--yes", "--quiet", "--json", "--dry-run", "--explicit", "--sha256"):
            one.add_argument(flag, action="store_true")
        one.add_argument("specs", nargs="*")
    options = parser.parse_args()
    try:
        options.command(options)
        code = 0
    except Refusal as refusal:
        name, message = refusal.args
        error = {"exception_name": name, "message": message, "error": f"{name}: {message}", "caused_by": "None"}
        print(json.dumps(error) if options.json else f"\n{name}: {message}\n")
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # py-rattler's runtime can crash while the interpreter ends.
    os._exit(code)


class Refusal(Exception):
    """An error by conda's name for it, and its message."""


def create(options: argparse.Namespace) -> None:
    if is_environment(options.prefix):
        if options.dry_run:
            raise Refusal("CondaValueError", "Cannot `create --dry-run` with an existing conda environment")
        # So does the real one, with --yes: this is the trap that conda_env keeps clear of.
        shutil.rmtree(options.prefix)
    install(options)


def install(options: argparse.Namespace) -> None:
    explicit = [line for path in options.file for line in Path(path).read_text().split() if "://" in line]
    asyncio.run(explicitly(options, explicit) if explicit else solved(options, update=options.specs))


def remove(options: argparse.Namespace) -> None:
    missing = [
        name for name in options.specs if name not in {str(record.name.normalized) for record in records(options)}
    ]
    if missing:
        raise Refusal("PackagesNotFoundInPrefixError", f"missing from the target environment: {', '.join(missing)}")
    asyncio.run(solved(options, drop=options.specs))


def list_(options: argparse.Namespace) -> None:
    found = sorted(records(options), key=lambda record: record.name.normalized)
    if options.explicit:
        print("# platform: " + PLATFORMS[0], "@EXPLICIT", sep="\n")
        for record in found:
            print(record.url + (f"#{record.sha256.hex()}" if options.sha256 else ""))
    else:
        print(json.dumps([described(record) for record in found], indent=2))


def info(options: argparse.Namespace) -> None:
    print(
        json.dumps(
            {"conda_version": VERSION, "root_prefix": str(ROOT), "channels": configuration().get("channels", [])}
        )
    )


async def solved(options: argparse.Namespace, *, update: list[str] = (), drop: list[str] = ()) -> None:
    """Solve for everything that was ever asked for in the prefix, and link what comes out."""
    wanted = {name: spec for name, spec in requested(options.prefix).items() if name not in drop}
    wanted.update({rattler.MatchSpec(spec).name.normalized: spec for spec in update})
    locked = [record for record in records(options) if record.name.normalized not in {*wanted, *drop}]
    try:
        solution = await rattler.solve(
            sources=channels(options),
            specs=[rattler.MatchSpec(spec) for spec in wanted.values()],
            gateway=rattler.Gateway(),
            platforms=PLATFORMS,
            locked_packages=locked,
            virtual_packages=rattler.VirtualPackage.detect(rattler.VirtualPackageOverrides.from_env()),
            # Otherwise pip would come along only with a flag in the index.
            add_pip_as_python_dependency=True,
        )
    except Exception as error:
        raise refusal(str(error), options) from error
    await link(options, solution, specs=list(update or drop), action="update" if update else "remove")


async def explicitly(options: argparse.Namespace, lines: list[str]) -> None:
    """Install the very files that a lock names."""
    wanted = dict(line.split("#") for line in lines)
    index = await rattler.Gateway().query(
        sources=sorted({rattler.Channel(url.rsplit("/", 2)[0]) for url in wanted}, key=str),
        platforms=PLATFORMS,
        specs=[rattler.MatchSpec(url.rsplit("/", 1)[1].rsplit("-", 2)[0]) for url in wanted],
        recursive=False,
    )
    solution = [record for source in index for record in source if record.url in wanted]
    for record in solution:
        if record.sha256.hex() != wanted[record.url]:
            message = (
                f"Conda detected a mismatch between the expected content and downloaded content for url '{record.url}'."
            )
            raise Refusal("ChecksumMismatchError", message)
    missing = set(wanted) - {record.url for record in solution}
    if missing:
        raise Refusal("CondaHTTPError", f"HTTP 404 NOT FOUND for url <{missing.pop()}>")
    await link(options, solution, specs=[], action="update")


async def link(options: argparse.Namespace, solution: list, *, specs: list[str], action: str) -> None:
    old = records(options)
    before, after = ({key(record): record for record in side} for side in (old, solution))
    actions = {
        "LINK": [described(record) for name, record in sorted(after.items()) if name not in before],
        "UNLINK": [described(record) for name, record in sorted(before.items()) if name not in after],
    }
    if not any(actions.values()) and is_environment(options.prefix):
        print(json.dumps({"success": True, "message": "All requested packages already installed."}))
        return
    if not options.dry_run:
        cache = package_cache()
        await rattler.install(
            solution, target_prefix=options.prefix, cache_dir=cache, installed_packages=old or None, show_progress=False
        )
        write_history(options.prefix, f"# {action} specs: {specs!r}\n" if specs else "")
    answer = {"success": True, "prefix": str(options.prefix), "actions": actions, "dry_run": options.dry_run}
    print(json.dumps(answer, indent=2))


def refusal(message: str, options: argparse.Namespace) -> Refusal:
    """Return the error that conda would name for what rattler says."""
    if re.search(r"No candidates were found", message) and "\n" not in message.strip():
        return Refusal("PackagesNotFoundInChannelsError", message)
    if re.search(r"Cannot solve|No candidates|no viable", message):
        return Refusal("LibMambaUnsatisfiableError", message)
    if re.search(r"404|could not find subdir", message):
        return Refusal("UnavailableInvalidChannel", f"HTTP 404 NOT FOUND for channel {options.channel}: {message}")
    return Refusal("CondaHTTPError", f"HTTP 000 CONNECTION FAILED: {message}")


def channels(options: argparse.Namespace) -> list[rattler.Channel]:
    names = options.channel + ([] if options.override_channels else configuration().get("channels", []))
    if not names:
        raise Refusal("NoChannelsConfiguredError", "No channels are configured.")
    return [rattler.Channel(name) for name in names]


def configuration() -> dict:
    path = Path(os.environ.get("CONDARC", ROOT / ".condarc"))
    return yaml.safe_load(path.read_text()) if path.is_file() else {}


def package_cache() -> Path:
    """Return the first cache that can be written, which for most users is the one in their home."""
    for cache in map(Path, configuration().get("pkgs_dirs") or [ROOT / "pkgs", "~/.conda/pkgs"]):
        with contextlib.suppress(PermissionError):
            cache.expanduser().mkdir(parents=True, exist_ok=True)
            if os.access(cache.expanduser(), os.W_OK):
                return cache.expanduser()
    raise Refusal("NoWritablePkgsDirError", "No writeable pkgs directories configured.")


def records(options: argparse.Namespace) -> list[rattler.PrefixRecord]:
    return [rattler.PrefixRecord.from_path(path) for path in sorted((options.prefix / "conda-meta").glob("*.json"))]


def is_environment(prefix: Path) -> bool:
    return (prefix / "conda-meta" / "history").is_file()


def requested(prefix: Path) -> dict[str, str]:
    """Return what was asked for in the prefix so far, by package."""
    found: dict[str, str] = {}
    history = prefix / "conda-meta" / "history"
    for line in history.read_text().splitlines() if history.is_file() else []:
        match = re.match(r"# (update|remove) specs: (.*)", line)
        for spec in ast.literal_eval(match.group(2)) if match else []:
            name = rattler.MatchSpec(spec).name.normalized
            found.pop(name, None)
            if match.group(1) == "update":
                found[name] = spec
    return found


def write_history(prefix: Path, specs: str) -> None:
    with (prefix / "conda-meta" / "history").open("a") as file:
        file.write(f"==> {time.strftime('%Y-%m-%d %H:%M:%S')} <==\n# cmd: {' '.join(sys.argv)}\n{specs}")


def key(record) -> tuple[str, str, str]:
    return record.name.normalized, str(record.version), str(record.build)


def described(record) -> dict:
    name, version, build = key(record)
    return {
        "name": name,
        "version": version,
        "build_string": build,
        "build_number": record.build_number,
        "channel": str(record.channel).rstrip("/").rsplit("/", 1)[-1],
        "dist_name": f"{name}-{version}-{build}",
        "platform": record.subdir,
    }


if __name__ == "__main__":
    main()
