// Copyright: (c) 2026, The gpulab.workstation authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Reads the data and puts the page together.
"use strict";

const { page, run } = JSON.parse(document.getElementById("data").textContent);
const single = page.machines.length === 1;

document.getElementById("page").replaceChildren(
  h("header", { class: `top ${page.verdict.level}` },
    h("p", { class: "eyebrow" }, `gpulab.workstation · ${moment(run.finished)} · ansible-core ${run.ansible}`),
    h("h1", {}, mark({ act: "failed", look: "converged", fine: "proved" }[page.verdict.level]), page.verdict.text),
    single ? null : proportions(page.statuses, page.machines.length)),
  h("main", {}, single ? machineDetail(page.machines[0], page.plans[page.machines[0].plan]) : [
    page.actions.length ? h("section", {}, h("h2", {}, "What a person must do"), actionList(page.actions)) : null,
    page.waves.length ? h("section", {}, h("h2", {}, "Waves"), timeline(page.waves)) : null,
    h("section", {}, h("h2", {}, "Machines"), fleet(page)),
    page.differs.length ? h("section", {}, h("h2", {}, "What differs from the plan"), shared(page.differs)) : null,
    page.not_checked.length ? h("section", {}, h("h2", {}, "What was not checked"), shared(page.not_checked)) : null,
    h("section", {}, h("h2", {}, "Plans"), h("div", { class: "plans" }, page.plans.map(planGroup))),
  ]),
  h("footer", {}, "Made from run.json, which lies next to this page."));

function proportions(statuses, total) {
  const shown = Object.entries(statuses).filter(([, count]) => count);
  return h("div", { class: "proportions", role: "img", "aria-label": shown.map(([status, count]) => `${count} ${status}`).join(", ") },
    shown.map(([status, count]) => h("div", { class: LEVELS[status], style: { flexGrow: count / total }, title: `${count} ${status}` })));
}

function planGroup(plan, index) {
  const hosts = page.machines.filter((machine) => machine.plan === index).map((machine) => machine.host);
  return h("details", {}, h("summary", {}, h("b", {}, plan.summary),
    h("span", { class: plan.refusal ? "refusal" : "note" }, plan.refusal ? "refused" : plan.line), h("span", { class: "note" }, plural(hosts.length, "machine"))),
  h("div", {}, planBody(plan), hostLinks(hosts)));
}

function shared(items) {
  return h("ul", { class: "reasons wide" }, items.map((item) => h("li", {},
    h("span", { class: "what" }, title(item.name)), h("div", {}, h("p", {}, item.why), hostLinks(item.hosts)))));
}
