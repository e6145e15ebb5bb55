"""What the documentation names is there: files, anchors, inputs, playbooks, plugins, make's targets, and messages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.gpulab.workstation.plugins.plugin_utils import input_problems, role_inputs

CHECKOUT = Path(__file__).parents[2]
PAGES = [
    *sorted(CHECKOUT.glob("*.md")),
    *sorted((CHECKOUT / "docs").glob("*.md")),
    *sorted((CHECKOUT / "roles").glob("*/README.md")),
]
NAMES = [str(page.relative_to(CHECKOUT)) for page in PAGES]
INPUTS = {name for role in role_inputs.roles() for name in role_inputs.spec(role)}
CODE = re.compile(r"```.*?```|`[^`\n]+`", re.DOTALL)
PROSE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    """Return the anchors that a forge makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", PROSE.sub("", text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(page: Path, *languages: str) -> list[str]:
    return [
        body for language, body in re.findall(r"^```(\w*)\n(.*?)^```", text(page), re.M | re.S) if language in languages
    ]


def inputs_in(node: Any) -> dict[str, Any]:
    """Return the role inputs that an example sets, wherever in it."""
    if isinstance(node, list):
        return {name: value for item in node for name, value in inputs_in(item).items()}
    if not isinstance(node, dict):
        return {}
    found = {name: value for name, value in node.items() if role_inputs.role_of(str(name))}
    return found | {name: value for item in node.values() for name, value in inputs_in(item).items()}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", PROSE.sub("", text(page))):
        if re.match(r"(https?|mailto):", target):
            continue
        path, _hash, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_input_that_is_named_is_one(page):
    prefixes = "|".join(role_inputs.roles())
    code = "".join(CODE.findall(text(page)))
    named = set(re.findall(rf"(?<![\w./-])((?:{prefixes})_[a-z0-9_]+)\b(?![/(.]\w)", code))
    roles_and_files = {name for name in named if (CHECKOUT / "roles" / name).exists()}
    assert named - INPUTS - roles_and_files == set()


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_example_is_yaml_whose_inputs_are_sound(page):
    for block in blocks(page, "yaml", "yml"):
        if not block.startswith("localhost |"):  # what ansible prints
            plain = {name: value for name, value in inputs_in(yaml.safe_load(block)).items() if "{{" not in str(value)}
            assert input_problems.problems(plain) == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_plugin_playbook_and_role_that_is_named_is_there(page):
    places = ("plugins/*/{}.py", "plugins/*/{}.yml", "playbooks/{}.yml", "roles/{}")
    for name in set(re.findall(r"gpulab\.workstation\.([a-z0-9_]+)", text(page))):
        assert any(list(CHECKOUT.glob(place.format(name))) for place in places), name
    for playbook in set(re.findall(r"(?<![\w/])playbooks/(\w+\.yml)", text(page))):
        assert (CHECKOUT / "playbooks" / playbook).exists(), playbook


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_target_of_make_is_there(page):
    targets = set(re.findall(r"^([a-z-]+):", text(CHECKOUT / "Makefile"), re.MULTILINE))
    named = {name for code in CODE.findall(text(page)) for name in re.findall(r"(?:^|[`\n])make ([a-z-]+)", code)}
    assert named - targets == set()


def test_every_message_that_troubleshooting_begins_from_is_in_the_code():
    """The words between the dots of each message, in what the collection says on either machine."""
    listed = subprocess.run(
        ["git", "ls-files", "roles", "playbooks", "plugins"], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    sources = [CHECKOUT / name for name in listed.stdout.split() if name.endswith((".py", ".yml"))]
    # Sentences are put together from lines, quoted parts and values.
    said = re.sub(r"[\s\"'{}()~\\]+|\bf(?=\")", " ", " ".join(text(source) for source in sources))
    rows = re.findall(r"^\| (`[^|]+) \|", text(CHECKOUT / "docs" / "troubleshooting.md"), re.MULTILINE)
    assert len(rows) > 10
    parts = [
        part.strip()
        for row in rows
        for message in re.findall(r"`([^`]+)`", row)
        for part in re.split(r"…|\.\.\.", message)
    ]
    missing = [
        part for part in parts if part.strip(" .;?") and re.sub(r"[\s\"'()]+", " ", part).strip(" .;?") not in said
    ]
    assert missing == []


@pytest.mark.parametrize("kind", ["modules", "filter", "lookup", "callback"])
def test_the_changelog_names_every_plugin_once(kind):
    releases = yaml.safe_load((CHECKOUT / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))["releases"]
    lists = [
        release.get("modules", []) if kind == "modules" else release.get("plugins", {}).get(kind, [])
        for release in releases.values()
    ]
    told = [entry["name"] for entries in lists for entry in entries]
    assert sorted(told) == sorted(path.stem for path in (CHECKOUT / "plugins" / kind).glob("*.py"))
