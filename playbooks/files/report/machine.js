// Copyright: (c) 2026, The gpulab.workstation authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// One machine: the figures first, then the proof, then how it came to be.
"use strict";

function machineDetail(machine, plan) {
  return h("div", { class: "machine" },
    h("h2", { class: "visually-hidden" }, `Details of ${machine.host}`),
    h("p", { class: "lead" }, [machine.system, machine.gpus, machine.stack].filter(Boolean).join(" · ")),
    machine.actions.length ? actionList(machine.actions.map((item) => ({ level: item.level, items: [item] }))) : null,
    tiles(machine),
    training(machine),
    telemetryCard(machine),
    h("div", { class: "columns" },
      h("div", {}, checks(machine), plan ? planCard(plan) : null),
      h("div", {}, throughput(machine), changes(machine), timings(machine),
        machine.facts.length ? card("The machine", null, definitions(machine.facts)) : null)));
}

function tiles(machine) {
  const proof = machine.proof;
  const busy = (machine.telemetry.gpus || []).map((gpu) => gpu.window && gpu.window.utilization && gpu.window.utilization.mean)
    .filter((value) => typeof value === "number");
  const took = Object.values(machine.timings).reduce((sum, seconds) => sum + seconds, 0);
  const shown = [
    ["Accuracy", machine.accuracy === null ? null : number(machine.accuracy * 100, 1), "%",
      proof.dataset && `${proof.dataset.name}, ${proof.recipe} recipe`],
    ["Throughput", machine.images_per_s ? number(machine.images_per_s) : null, "images/s",
      machine.siblings ? `${number(machine.siblings.share * 100)} % of its siblings' median` : proof.epochs && `${proof.epochs} epochs`],
    ["GPUs busy", busy.length ? number(Math.min(...busy)) : null, "%",
      busy.length > 1 ? `the least busy of ${busy.length}, between the marks` : "between the marks"],
    ["This run", took ? duration(took) : null, "", machine.changed.length ? `changed ${machine.changed.join(", ")}` : "changed nothing"],
    [proof.passed ? "Proved" : "Tried", proof.finished ? moment(proof.finished).split(" ")[0] : null, "", moment(proof.finished).split(" ").slice(1).join(" ")],
  ].filter(([, value]) => value);
  return shown.length ? h("dl", { class: "tiles" }, shown.map(([label, value, unit, note]) =>
    h("div", {}, h("dt", {}, label), h("dd", {}, h("b", {}, value), unit && h("span", { class: "unit" }, ` ${unit}`), note && h("span", { class: "note" }, note))))) : null;
}

function training(machine) {
  const found = machine.history;
  if (!found.epoch || !found.epoch.length) return null;
  const x = { label: "epoch", values: found.epoch, unit: "" };
  const percent = (values) => values.map((value) => (value === null ? null : value * 100));
  const last = (values) => values[values.length - 1];
  const pair = (seen, unseen) => [
    { label: "unseen images", values: unseen, colour: "data-1" },
    { label: "training", values: seen, colour: "data-2", dash: [4, 3] },
  ];
  const group = `training ${machine.host}`;
  return h("section", { class: "card" },
    h("header", {}, h("h3", {}, "Training"), h("p", { class: "note" }, trainedOn(machine.proof))),
    h("div", { class: "charts" },
      figure({ title: "Accuracy", said: `${number(last(found.val_accuracy) * 100, 1)} % on unseen images at the end`, x, group,
        lines: pair(percent(found.accuracy), percent(found.val_accuracy)), unit: " %", digits: 1 }),
      figure({ title: "Loss", said: `from ${number(found.loss[0], 2)} to ${number(last(found.loss), 2)} in training`, x, group,
        lines: pair(found.loss, found.val_loss), unit: "", digits: 3 })),
    h("details", {}, h("summary", {}, "Epoch by epoch"), table(
      ["epoch", "accuracy", "unseen", "loss", "unseen"],
      found.epoch.map((epoch, row) => [epoch, number(found.accuracy[row], 4), number(found.val_accuracy[row], 4), number(found.loss[row], 4), number(found.val_loss[row], 4)]))));
}

function trainedOn(proof) {
  const data = proof.dataset || {};
  return [
    data.name && `${number(data.train)} images: ${data.name}${data.source === data.name ? "" : ` (${data.source})`}`,
    proof.recipe && `${proof.recipe} recipe`,
    proof.batch_size && `batches of ${number(proof.batch_size)}`,
    proof.precision,
  ].filter(Boolean).join(", ");
}

const METRICS = [
  ["utilization", "Utilization", " %", 0, () => [0, 105]],
  ["power_w", "Power", " W", 0, null],
  ["temperature_c", "Temperature", " °C", 0, null],
];

function telemetryCard(machine) {
  const { gpus, window: span } = machine.telemetry;
  if (!gpus || !gpus.length) return null;
  const throttled = gpus.filter((gpu) => gpu.throttled && gpu.throttled.length);
  return h("section", { class: "card" },
    h("header", {}, h("h3", {}, "GPUs while training"),
      span && h("p", { class: "note" }, h("span", { class: "swatch" }), ` the part that the checks looked at, ${number(span.start)} to ${number(span.end)} s`)),
    h("div", { class: "charts three" }, METRICS.map(([name, title, unit, digits, range]) => figure({
      title, unit, digits, range, span, group: `telemetry ${machine.host}`,
      said: average(gpus.map((gpu) => gpu.window && gpu.window[name] && gpu.window[name].mean), unit),
      x: { label: "time", values: gpus[0].series.t, unit: " s" },
      lines: gpus.map((gpu, position) => ({ label: `GPU ${gpu.index}`, values: gpu.series[name], colour: `data-${(position % 8) + 1}`, thin: true })),
    }))),
    throttled.map((gpu) => h("p", { class: "look" }, `GPU ${gpu.index} was slowed down: ${gpu.throttled.join(", ")}.`)));
}

function average(values, unit) {
  const means = values.filter((value) => typeof value === "number").map((value) => number(value)).sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  if (!means.length) return "";
  const [least, most] = [means[0], means[means.length - 1]];
  return `${least === most ? least : `${least} to ${most}`}${unit} on average`;
}

function throughput(machine) {
  const { images_per_s: value, expected, siblings } = machine;
  if (!value || !(expected || siblings)) return null;
  const marks = [
    expected && ["expected", expected.images_per_s, expected.source],
    expected && expected.floor && ["floor", expected.images_per_s * expected.floor, `${number(expected.floor * 100)} % of what is expected`],
    siblings && ["siblings", siblings.median, `median of ${siblings.machines} machines with the same GPUs`],
  ].filter(Boolean);
  const most = Math.max(value, ...marks.map(([, at]) => at)) * 1.08;
  const share = (at) => `${(100 * at) / most}%`;
  const short = expected && expected.floor && value < expected.images_per_s * expected.floor;
  return card("Throughput against expectation", `${number(value)} images/s`,
    h("div", { class: "bullet", "aria-hidden": "true" },
      h("div", { class: short ? "bar act" : "bar", style: { width: share(value) } }),
      marks.map(([name, at]) => h("div", { class: `at ${name}`, style: { left: share(at) } }))),
    definitions(marks.map(([name, at, note]) => [h("span", { class: `key ${name}` }, name), `${number(at)} images/s, ${note}`])));
}

const CHECK_ORDER = ["failed", "not_checked", "passed"];

function checks(machine) {
  const order = (check) => CHECK_ORDER.indexOf(check.status);
  const rows = machine.checks.length
    ? [...machine.checks].sort((a, b) => order(a) - order(b))
    : machine.not_checked.map((item) => ({ name: item.name, status: "not_checked", detail: item.why }));
  const counted = CHECK_ORDER.map((status) => [rows.filter((row) => row.status === status).length, status.replace("_", " ")]);
  return card("Checks", counted.filter(([count]) => count).map(([count, word]) => `${count} ${word}`).join(", "),
    h("ul", { class: "checks" }, rows.map((row) => h("li", {}, mark(row.status),
      h("div", {}, h("b", {}, title(row.name)), h("span", { class: "visually-hidden" }, ` ${row.status.replace("_", " ")}: `), h("p", {}, row.detail))))));
}

function changes(machine) {
  const rows = machine.drift.map((item) => [
    item.component, machine.changed.includes(item.component) ? "changed" : "not changed", item.reasons.join("; ")]);
  const others = machine.changed.filter((name) => !machine.drift.some((item) => item.component === name));
  rows.push(...others.map((name) => [name, "changed", ""]));
  return card("What changed", null, rows.length
    ? h("ul", { class: "checks" }, rows.map(([name, state, why]) => h("li", {},
      h("span", { class: `mark ${state === "changed" ? "look" : "none"}`, "aria-hidden": "true" }, state === "changed" ? "↑" : "≠"),
      h("div", {}, h("b", {}, name), ` ${state}`, h("p", {}, why)))))
    : h("p", { class: "calm" }, machine.status === "unreachable" ? "Nothing is known." : "Nothing: every component is as planned."));
}

function planCard(plan) {
  return card("Plan", plan.summary, planBody(plan));
}

function planBody(plan) {
  const rejected = plan.rejected || [];
  const reasons = (items, chosen) => h("ul", { class: "reasons" }, items.map((item) => h("li", {},
    h("span", { class: "what" }, title(item.component)), h("div", {}, h("b", {}, item[chosen]), h("p", {}, item.reason)))));
  return [
    plan.refusal && h("div", { class: "refusal" }, h("p", {}, plan.refusal.message),
      h("ul", {}, (plan.refusal.conflict || []).map((line) => h("li", {}, line)))),
    (plan.warnings || []).map((warning) => h("p", { class: "look" }, warning.message)),
    (plan.reasons || []).length ? reasons(plan.reasons, "choice") : null,
    rejected.length ? h("details", {}, h("summary", {}, `Why not another: ${plural(rejected.length, "candidate")}`), reasons(rejected, "candidate")) : null,
  ];
}

const STAGES = ["look", "plan", "wait", "converge", "prove"];

function timings(machine) {
  const shown = STAGES.filter((name) => machine.timings[name]);
  if (!shown.length) return null;
  const total = shown.reduce((sum, name) => sum + machine.timings[name], 0);
  return card("Time", duration(total),
    h("div", { class: "spans", "aria-hidden": "true" }, shown.map((name) =>
      h("div", { class: `stage ${name}`, style: { flexGrow: machine.timings[name] } }))),
    definitions(shown.map((name) => [h("span", { class: `key ${name}` }, name), duration(machine.timings[name])])));
}

function definitions(rows) {
  return h("dl", { class: "rows" }, rows.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))));
}

function table(head, rows) {
  return h("div", { class: "scroll" }, h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, String(cell))))))));
}

// A group is what belongs together; it names its `hosts` where the list is about more than one machine.
function actionList(groups) {
  return h("ul", { class: "actions" }, groups.map((group) => h("li", { class: group.level },
    h("span", { class: `mark ${group.level}`, "aria-hidden": "true" }, group.level === "act" ? "!" : "i"),
    h("div", {}, group.items.map((item) => h("div", { class: "item" },
      h("p", { class: "what" }, item.what), item.remedy && h("p", {}, item.remedy), item.where && h("p", { class: "note" }, `seen at: ${item.where}`))),
    group.hosts && hostLinks(group.hosts)))));
}

const HOSTS_SHOWN = 12;

function hostLinks(hosts) {
  const link = (host) => h("a", { href: `#machine=${encodeURIComponent(host)}` }, host);
  const rest = hosts.slice(HOSTS_SHOWN);
  return h("div", { class: "hosts" }, hosts.slice(0, HOSTS_SHOWN).map(link),
    rest.length ? h("details", {}, h("summary", {}, `and ${rest.length} more`), rest.map(link)) : null);
}
