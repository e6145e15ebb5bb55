# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report's page in a real browser. Every page is also held to be quiet: see the fixture `visit`."""

from __future__ import annotations

import itertools
import json
import pathlib
import re
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.browser

CONTRAST = (pathlib.Path(__file__).parent / "contrast.js").read_text(encoding="utf-8").split("\n\n", 1)[1]
CHARTS_DRAWN = """() => [...document.querySelectorAll('.chart canvas')].map((canvas) => {
  const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(pixels.data.buffer)).size > 20;
})"""
SHADES = """(seconds) => {
  const chart = [...charts].find((candidate) => candidate.scales.x.max > 40);
  const at = (second) => [chart.valToPos(second, 'x', true), chart.bbox.top + 3];
  return seconds.map((second) => chart.ctx.getImageData(...at(second), 1, 1).data.join());
}"""
# Of each bar its wave, its status, and where it begins and ends, in % of its lane.
BARS = """() => [...document.querySelectorAll('.turn')].map((turn) => {
  const [track, bar] = ['.track', '.bar'].map((part) => turn.querySelector(part).getBoundingClientRect());
  const share = (x) => (100 * (x - track.left)) / track.width;
  const wave = [...document.querySelectorAll('.lane')].indexOf(turn.closest('.lane'));
  return { wave, status: turn.classList[1], begin: share(bar.left), end: share(bar.right) };
})"""
# Of each status the contrast of its bar (its edge, where it is hollow) with what is behind it.
BAR_CONTRAST = """() => {
  const luminance = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = luminance(getComputedStyle(document.querySelector('.timeline')).backgroundColor);
  return Object.fromEntries([...document.querySelectorAll('.turn')].map((turn) => {
    const style = getComputedStyle(turn.querySelector('.bar'));
    const bar = luminance(style.borderTopWidth === '0px' ? style.backgroundColor : style.borderTopColor);
    return [turn.classList[1], (Math.max(bar, ground) + 0.05) / (Math.min(bar, ground) + 0.05)];
  }));
}"""
SIDEWAYS = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


def hosts(page: Any) -> Any:
    """The machines whose rows are to be seen, from top to bottom."""
    return page.evaluate("[...document.querySelectorAll('tr.row:not([hidden]) .opener')].map((row) => row.textContent)")


def test_a_machine_without_a_gpu_shows_what_was_not_checked(visit: Callable[..., Any], photograph: Any) -> None:
    page = visit("cpu")
    assert page.locator("h1").inner_text() == "✓\ndesk-01 is proved."
    assert page.title() == "desk-01 is proved."
    page.wait_for_function("document.querySelectorAll('.chart canvas').length === 2")
    assert page.evaluate(CHARTS_DRAWN) == [True] * 2
    assert page.locator(".checks .mark.none").count() == 3
    assert "There is no NVIDIA GPU in this machine." in page.locator(".checks").first.inner_text()
    photograph(page, "cpu")


def test_a_number_is_rounded_as_on_the_terminal(visit: Callable[..., Any]) -> None:
    page, values = visit("cpu"), [1713.5, 1714.5, 0.25, 0.35]
    assert page.evaluate("(values) => values.map((value) => number(value))", values) == [f"{v:,.0f}" for v in values]


def test_telemetry_is_drawn_with_the_window_that_was_asserted(visit: Callable[..., Any], photograph: Any) -> None:
    page = visit("gpu")
    page.wait_for_function("document.querySelectorAll('.chart canvas').length === 5")
    assert page.evaluate(CHARTS_DRAWN) == [True] * 5
    assert "10 to 39 s" in page.locator("h3:has-text('GPUs while training') + .note").inner_text()
    # Inside the window the ground is shaded, outside it is not.
    outside, inside = page.evaluate(SHADES, [5, 25])
    assert outside != inside
    assert page.locator(".bullet .at").count() == 2
    photograph(page, "gpu")


def test_the_pointer_reads_a_chart_and_its_neighbours(visit: Callable[..., Any]) -> None:
    page = visit("gpu")
    page.wait_for_function("document.querySelectorAll('.chart canvas').length === 5")
    page.locator(".charts.three .chart .u-over").first.hover(position={"x": 100, "y": 40})
    values = page.locator(".charts.three .u-legend .u-value").all_inner_texts()
    assert len(values) == 9
    assert all(value.endswith((" s", " %", " W", " °C")) for value in values)


def test_a_fleet_shows_first_who_needs_a_person_and_why(visit: Callable[..., Any], photograph: Any) -> None:
    page = visit("fleet-40")
    assert "5 of 40 machines need a person." in page.locator("h1").inner_text()
    assert page.locator("section > .actions > li.act").count() == 5
    assert len(hosts(page)) == 40
    assert page.locator("tr.row.act").count() == 5
    assert "It reaches 70% of the median of 9 machines" in page.locator("tr.row.warn").inner_text()
    photograph(page, "fleet-40")


def test_an_audit_shows_what_differs_and_where(visit: Callable[..., Any], photograph: Any) -> None:
    page = visit("audit")
    assert "2 of 3 machines are not as planned" in page.locator("h1").inner_text()
    differs = page.locator("section:has(> h2:text-is('What differs from the plan'))")
    assert "was changed by hand" in differs.inner_text()
    differs.get_by_text("desk-2").click()
    assert page.url.endswith("#machine=desk-2")
    photograph(page, "audit")


def test_rows_sort_by_every_column_and_back(visit: Callable[..., Any]) -> None:
    page = visit("fleet-40")
    before = hosts(page)
    for index in range(7):
        head = page.locator(".machines thead th").nth(index)
        head.locator("button").click()
        first, order = hosts(page), head.get_attribute("aria-sort")
        head.locator("button").click()
        assert {order, head.get_attribute("aria-sort")} == {"ascending", "descending"}
        assert hosts(page) != first
        assert sorted(hosts(page)) == sorted(before)
    page.locator("thead .host button").click()
    names = [name for name in hosts(page) if name.startswith("ada-")]
    assert names == [f"ada-{number}" for number in range(1, 10)]


def test_rows_are_filtered_by_words_status_and_gpu(visit: Callable[..., Any]) -> None:
    page = visit("fleet-40")
    page.locator("#search").fill("turing proved")
    assert hosts(page) == ["turing-3", "turing-6", "turing-9"]
    assert page.locator(".count").inner_text() == "3 of 40 machines"
    page.locator("#search").fill("no such machine")
    page.get_by_role("button", name="Show all").click()
    assert len(hosts(page)) == 40
    page.get_by_role("button", name="refused").click()
    assert hosts(page) == ["lab-volta-01"]
    page.get_by_role("button", name="refused").click()
    page.locator(".tools select").select_option("Tesla T4")
    assert all(name.startswith("turing-") for name in hosts(page))


def test_the_keyboard_reaches_everything(visit: Callable[..., Any]) -> None:
    page = visit("fleet-40")
    page.keyboard.press("/")
    page.keyboard.type("hopper-2")
    assert hosts(page) == ["hopper-2"]
    page.locator("#search").fill("hopper")
    page.locator(".opener:visible").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    focused = page.evaluate("document.activeElement.textContent")
    assert focused == hosts(page)[1]
    page.keyboard.press("Enter")
    assert page.locator(".detail:visible .tiles").count() == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.keyboard.press("Enter")
    assert page.locator(".detail:visible").count() == 0


def test_a_link_opens_the_machine_it_names(visit: Callable[..., Any], photograph: Any) -> None:
    page = visit("fleet-40")
    page.locator("#search").fill("ada-1")
    page.locator(".actions a", has_text="lab-ada-07").first.click()
    detail = page.locator(".detail:visible")
    assert detail.count() == 1
    assert "TensorFlow sees no GPU" in detail.inner_text()
    photograph(page, "fleet-40-open", whole=False)


def test_four_hundred_machines_open_and_sort_without_a_wait(visit: Callable[..., Any], photograph: Any) -> None:
    page = visit("fleet-400")
    # An idle machine takes a tenth of these times; a loaded one must not fail the test.
    timing = page.evaluate("() => performance.getEntriesByType('navigation')[0].domComplete")
    assert timing < 15_000
    begun = time.monotonic()
    page.locator("thead .speed button").click()
    page.locator("#search").fill("hopper-1")
    assert len(hosts(page)) == 11
    assert time.monotonic() - begun < 15
    photograph(page, "fleet-400", whole=False)


def test_the_waves_of_a_rollout_lie_over_time(visit: Callable[..., Any], photograph: Any) -> None:
    page = visit("rollout-40")
    lanes = page.locator(".lane")
    assert [lane.locator(".turn").count() for lane in lanes.all()] == [1, 4, 20, 0]
    assert lanes.nth(3).inner_text().split("\n")[-1] == "The maintenance window is 22:00-23:10, and it is Thu 23:16."
    drawn = page.evaluate(BARS)
    waves = [[turn for turn in drawn if turn["wave"] == wave] for wave in range(3)]
    for before, after in itertools.pairwise(waves):
        assert max(turn["end"] for turn in before) <= min(turn["begin"] for turn in after)
    assert [turn["status"] for turn in waves[1]] == ["unreachable", "skipped", "proved", "proved"]
    # In use: it had its look, and no more.
    assert waves[1][1]["end"] - waves[1][1]["begin"] < 1
    assert waves[1][3]["end"] > waves[1][2]["end"] > waves[1][0]["end"]
    # Of what failed or was lost only the wave's end is sure, so its line goes on to there.
    assert page.locator(".turn:is(.failed, .unreachable) .tail").count() == page.locator(".turn .tail").count() == 2
    photograph(page, "rollout-40")


def test_in_a_long_lane_those_that_need_a_person_have_their_names(visit: Callable[..., Any], photograph: Any) -> None:
    page = visit("rollout-400")
    assert page.locator(".lane").nth(2).locator(".turn").count() == 200
    assert page.locator(".lane").nth(2).locator(".turn.named").count() == 2
    assert page.locator(".timeline").bounding_box()["height"] < 1600
    photograph(page, "rollout-400", whole=False)


def test_the_keyboard_goes_from_bar_to_bar_and_opens_a_machine(visit: Callable[..., Any]) -> None:
    page = visit("rollout-40")
    page.locator(".turn").first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    lost = "turing-1: unreachable. Last step done at 22:"
    assert page.locator(".reading").inner_text().startswith(lost)
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(lost)
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(lost)
    page.keyboard.press("End")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    # The page follows its address, of which it hears after the key.
    page.locator(".detail:visible .tiles").wait_for()
    assert page.locator(".detail:visible .tiles").count() == 1
    assert page.url.endswith("#machine=ada-1")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_bars_stand_out_from_their_ground(visit: Callable[..., Any], photograph: Any, scheme: str) -> None:
    page = visit("rollout-40", scheme=scheme)
    ratios = page.evaluate(BAR_CONTRAST)
    assert sorted(ratios) == ["converged", "failed", "proved", "rolled-back", "skipped", "unreachable"]
    assert min(ratios.values()) >= 3, ratios  # WCAG 2.2, 1.4.11
    photograph(page, f"rollout-40-{scheme}")


def test_hostile_names_are_text_and_nothing_else(visit: Callable[..., Any]) -> None:
    page = visit("hostile")
    text = page.locator("#page").inner_text()
    assert 'lab-</script><script>alert("host")</script> failed.' in text
    assert "<script>alert(1)</script>" in text
    assert page.locator("#page :is(script, img, svg, style, iframe)").count() == 0
    assert page.locator("body > script").count() == 8
    addresses = [link.get_attribute("href") for link in visit("fleet-40").locator("a").all()]
    assert all(address.startswith("#machine=") for address in addresses)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["gpu", "fleet-40", "rollout-40"])
def test_every_text_has_the_contrast_of_aa(visit: Callable[..., Any], photograph: Any, name: str, scheme: str) -> None:
    page = visit(name, scheme=scheme)
    if name != "gpu":
        page.locator(".opener").nth(1).click()
    page.evaluate("document.querySelectorAll('details').forEach((item) => { item.open = true; })")
    assert not re.search(r"\[object|undefined|NaN", page.locator("#page").inner_text().replace("no value was NaN", ""))
    assert page.evaluate(CONTRAST) == []
    photograph(page, f"{name}-{scheme}")


@pytest.mark.parametrize("name", ["cpu", "gpu", "fleet-40", "rollout-40", "hostile"])
def test_a_phone_needs_no_sideways_scroll(visit: Callable[..., Any], photograph: Any, name: str) -> None:
    page = visit(name, width=360, height=740)
    if name == "fleet-40":
        page.locator(".opener").first.click()
    # Charts are given their width between two pictures.
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    assert page.evaluate(SIDEWAYS) == 0
    photograph(page, f"{name}-phone")


def test_paper_is_light_and_has_no_controls(visit: Callable[..., Any], photograph: Any, tmp_path: pathlib.Path) -> None:
    page = visit("fleet-40", scheme="dark")
    page.emulate_media(media="print")
    assert not page.locator(".tools").is_visible()
    assert page.locator("tr.row").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(26, 33, 39)"
    photograph(page, "fleet-40-print")
    single = visit("gpu", scheme="dark")
    single.pdf(path=str(tmp_path / "gpu.pdf"), format="A4")
    assert (tmp_path / "gpu.pdf").read_bytes().count(b"/Type /Page\n") <= 4


def test_the_waves_are_printed_with_their_colours(visit: Callable[..., Any], photograph: Any) -> None:
    page = visit("rollout-40", scheme="dark")
    page.emulate_media(media="print")
    assert page.locator(".turn .bar").first.is_visible()
    assert not page.locator(".reading").is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.turn .bar')).printColorAdjust") == "exact"
    photograph(page, "rollout-40-print")


def test_the_records_lie_beside_the_page(page_of: Callable[[str], pathlib.Path]) -> None:
    kept = json.loads((page_of("gpu").parent / "run.json").read_text(encoding="utf-8"))
    assert kept["schema"] == 1
    assert kept["finished"].endswith("Z")
    assert [record["host"] for record in kept["records"]] == ["lab-ada-03"]
