# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages made by Ansible from sample records, and the browser they are opened in."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from browser.samples import audited, fleet, rollout, sample

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
# A browser that was just installed wants to talk to its maker; a test wants it to be quiet.
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
# The records and the waves of each run that a page is made of.
RUNS: dict[str, Callable[[], tuple[list[dict[str, Any]], list[dict[str, Any]]]]] = {
    "cpu": lambda: ([sample("cpu")], []),
    "gpu": lambda: ([sample("gpu")], []),
    "hostile": lambda: ([sample("hostile")], []),
    "audit": lambda: (audited(), []),
    "fleet-40": lambda: (fleet(40), []),
    "fleet-400": lambda: (fleet(400), []),
    "rollout-40": lambda: rollout(40),
    "rollout-400": lambda: rollout(400),
}
PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  vars:
    gpulab_records: "{{ (lookup('ansible.builtin.file', playbook_dir ~ '/run.json') | from_json).records }}"
    gpulab_timeline: "{{ (lookup('ansible.builtin.file', playbook_dir ~ '/run.json') | from_json).waves }}"
    gpulab_report_dir: "{{ playbook_dir }}/reports"
  tasks:
    - name: Write the report
      ansible.builtin.include_tasks: tasks/write_report.yml
"""


@pytest.fixture(scope="session")
def page_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], pathlib.Path]:
    """The page of the records by name, written as a run writes it, once a session."""
    made: dict[str, pathlib.Path] = {}

    def page(name: str) -> pathlib.Path:
        if name not in made:
            made[name] = write_report(tmp_path_factory.mktemp(name), *RUNS[name]())
        return made[name]

    return page


def write_report(folder: pathlib.Path, records: list[dict[str, Any]], waves: list[dict[str, Any]]) -> pathlib.Path:
    """Run tasks/write_report.yml over ``records`` and ``waves``; the path of the page."""
    for part in ("files", "tasks", "templates"):
        (folder / part).symlink_to(ROOT / "playbooks" / part)
    (folder / "run.json").write_text(json.dumps({"records": records, "waves": waves}), encoding="utf-8")
    playbook = folder / "report.yml"
    playbook.write_text(PLAYBOOK, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", "-c", "local", str(playbook)],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "changed=0" in run.stdout
    (made,) = (folder / "reports").iterdir()
    assert sorted(path.name for path in made.iterdir()) == ["index.html", "run.json", "sbom.cdx.json"]
    return made / "index.html"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium with a profile of its own."""
    api = pytest.importorskip("playwright.sync_api", reason="NOT CHECKED: Playwright is not installed")
    if not shutil.which(CHROMIUM):
        pytest.skip(f"NOT CHECKED: {CHROMIUM} is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, page_of: Callable[[str], pathlib.Path]) -> Iterator[Callable[..., Any]]:
    """Open the page of records by name; at the end the page must have been quiet: no error, no request, no dialog."""
    contexts, noise = [], []

    def open_page(name: str, *, width: int = 1280, height: int = 900, scheme: str = "light") -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        path = page_of(name).as_uri()
        page.on("console", lambda message: noise.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: noise.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (noise.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                None if request.url.split("#")[0] == path or request.url == "data:," else noise.append(request.url)
            ),
        )
        page.goto(path)
        page.wait_for_selector("footer")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert noise == []


@pytest.fixture(scope="session")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., None]:
    """Keep a picture of a page for people: in $REPORT_PICTURES, or among pytest's temporary folders."""
    folder = pathlib.Path(os.environ.get("REPORT_PICTURES") or tmp_path_factory.mktemp("pictures"))
    folder.mkdir(parents=True, exist_ok=True)

    def keep(page: Any, name: str, *, whole: bool = True) -> None:
        page.screenshot(path=str(folder / f"{name}.png"), full_page=whole)

    return keep
