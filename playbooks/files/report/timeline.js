// Copyright: (c) 2026, The gpulab.workstation authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The waves of a rollout over time: one lane a wave, one bar a machine, from its turn's begin to the last that it finished.
"use strict";

const NAMED_AT_MOST = 12; // a lane of more gives names to those that need a person, and thin bars to the others
const TICKS_AT_MOST = 5;
const STEPS = [5, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

function timeline(waves) {
  const ends = waves.map((wave) => wave.ended).filter((ended) => ended !== null);
  const begin = waves[0].began;
  const span = Math.max(1, ...ends.map((ended) => ended - begin));
  const at = (time) => `${(100 * (time - begin)) / span}%`;
  const hint = "Point at a bar to read it, or go to it with Tab and the arrow keys; Enter opens the machine.";
  const reading = h("p", { class: "note reading", "aria-hidden": "true" }, hint);
  const lanes = h("div", { class: "lanes" }, ticks(begin, span, at), waves.map((wave) => lane(wave, at)));

  // One stop for Tab, whatever the number of machines; the arrow keys go from bar to bar.
  const bars = [...lanes.querySelectorAll(".turn")];
  const stop = (bar) => { for (const other of bars) other.tabIndex = other === bar ? 0 : -1; };
  if (bars.length) stop(bars[0]);
  lanes.addEventListener("keydown", (event) => {
    const here = bars.indexOf(event.target);
    const to = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: bars.length - 1 }[event.key];
    if (here < 0 || !bars[to]) return;
    event.preventDefault();
    bars[to].focus();
  });
  const read = (event) => {
    const bar = event.target.closest(".turn");
    reading.textContent = bar ? bar.getAttribute("aria-label") : hint;
    if (bar && event.type === "focusin") stop(bar);
  };
  lanes.addEventListener("focusin", read);
  lanes.addEventListener("pointerover", read);
  lanes.addEventListener("pointerleave", read);

  return h("div", { class: "card timeline" }, legend(waves), lanes, reading);
}

function lane(wave, at) {
  const { turns } = wave;
  const took = wave.ended === null ? "did not begin" : duration(wave.seconds);
  const counts = Object.entries(wave.statuses).map(([status, count]) => `${number(count)} ${status}`);
  const head = h("div", { class: "lane-head" }, h("b", {}, `Wave ${wave.number}`),
    [plural(turns.length, "machine"), took, ...(wave.ended === null ? [] : counts)].map((text) => h("span", { class: "note" }, text)));
  const needy = turns.filter((turn) => LEVELS[turn.status] === "act").length;
  const named = (turn) => turns.length <= NAMED_AT_MOST || (LEVELS[turn.status] === "act" && needy <= NAMED_AT_MOST);
  return h("div", { class: "lane", role: "group", "aria-label": `Wave ${wave.number}: ${[plural(turns.length, "machine"), took, ...counts].join(", ")}` }, head,
    wave.ended === null
      ? h("p", { class: "turns note" }, turns[0].skipped)
      : h("div", { class: `turns ${turns.length > 60 ? "dense" : ""}` }, turns.map((turn) => bar(turn, wave, at, named(turn)))));
}

function bar(turn, wave, at, named) {
  const began = turn.began === null ? wave.began : turn.began;
  const ended = turn.ended === null ? began : turn.ended;
  // Of what failed or was lost, only the last that it finished is known, and that the wave has ended.
  const open = ["failed", "unreachable"].includes(turn.status) && wave.ended > ended;
  const when = `${clock(began)} to ${clock(ended)}, ${duration(ended - began)}`;
  const said = `${turn.host}: ${turn.status}. ${open ? `Last step done at ${clock(ended)}, the wave's end at ${clock(wave.ended)}.` : `${when}.`} ${turn.skipped}`;
  const wide = (from, to) => ({ left: at(from), width: `calc(${at(to)} - ${at(from)})` });
  return h("a", { class: `turn ${slug(turn.status)} ${named ? "named" : ""}`, href: `#machine=${encodeURIComponent(turn.host)}`, "aria-label": said.trim() },
    h("span", { class: "name" }, named ? [mark(turn.status), turn.host] : null),
    h("span", { class: "track" }, open ? h("span", { class: "tail", style: wide(ended, wave.ended) }) : null,
      h("span", { class: "bar", style: wide(began, ended) })));
}

function legend(waves) {
  const statuses = [...new Set(waves.filter((wave) => wave.ended !== null).flatMap((wave) => Object.keys(wave.statuses)))]
    .sort((a, b) => Object.keys(page.statuses).indexOf(b) - Object.keys(page.statuses).indexOf(a));
  return h("ul", { class: "legend note" }, statuses.map((status) => h("li", { class: slug(status) }, h("span", { class: "bar" }), status)),
    statuses.some((status) => ["failed", "unreachable"].includes(status)) ? h("li", {}, h("span", { class: "tail" }), "within this time") : null);
}

function ticks(begin, span, at) {
  const step = STEPS.find((seconds) => span / seconds <= TICKS_AT_MOST) || 86400 * Math.ceil(span / 86400 / TICKS_AT_MOST);
  const times = [];
  for (let time = Math.ceil(begin / step) * step; time <= begin + span; time += step) times.push(time);
  return h("div", { class: "ticks", "aria-hidden": "true" }, times.map((time, index) => h("span", { class: (time - begin) / span > 0.85 ? "late" : "", style: { left: at(time) } },
    clock(time, step < 60), index === 0 || day(time) !== day(times[index - 1]) ? h("small", {}, day(time)) : null)));
}

const slug = (status) => status.replace(" ", "-");
const iso = (time) => new Date(time * 1000).toISOString();
const clock = (time, seconds = false) => iso(time).slice(11, seconds ? 19 : 16);
const day = (time) => `${iso(time).slice(0, 10)} UTC`;
