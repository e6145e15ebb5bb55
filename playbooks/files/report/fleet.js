// Copyright: (c) 2026, The gpulab.workstation authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Many machines: one row each, sortable, filterable, and open to the proof.
"use strict";

const SORTABLE = [
  { key: "host", name: "Machine", text: (machine) => machine.host },
  { key: "status", name: "Status", rank: (machine) => machine.rank },
  { key: "gpus", name: "GPUs", text: (machine) => machine.gpus },
  { key: "stack", name: "Stack", text: (machine) => machine.stack },
  { key: "accuracy", name: "Accuracy", rank: (machine) => machine.accuracy, figures: true },
  { key: "speed", name: "Images/s", rank: (machine) => machine.images_per_s, figures: true },
  { key: "open", name: "Not checked", rank: (machine) => machine.not_checked.length, figures: true },
];

function fleet(page) {
  const rows = page.machines.map((machine, position) => fleetRow({ ...machine, rank: position }, page));
  const body = h("tbody", {}, rows.map((row) => [row.element, row.detail]));
  const shown = h("p", { class: "count", role: "status" });
  const wanted = { words: [], statuses: new Set(), gpus: "" };

  function filter() {
    let count = 0;
    for (const row of rows) {
      const visible = (!wanted.statuses.size || wanted.statuses.has(row.machine.status))
        && (!wanted.gpus || row.machine.gpus === wanted.gpus)
        && wanted.words.every((word) => row.searched.includes(word));
      row.element.hidden = !visible;
      row.detail.hidden = !visible || !row.isOpen();
      count += visible;
    }
    shown.textContent = count === rows.length ? plural(count, "machine") : `${count} of ${plural(rows.length, "machine")}`;
    empty.hidden = count > 0;
  }

  const search = h("input", {
    type: "search", id: "search", placeholder: "Search machines", "aria-label": "Search machines by name, GPU, system, stack or message",
    oninput: () => { wanted.words = search.value.toLowerCase().split(/\s+/).filter(Boolean); filter(); },
  });
  const kinds = [...new Set(page.machines.map((machine) => machine.gpus))].filter(Boolean).sort();
  const select = h("select", { "aria-label": "Only machines with these GPUs", onchange: () => { wanted.gpus = select.value; filter(); } },
    h("option", { value: "" }, "All GPUs"), kinds.map((kind) => h("option", { value: kind }, kind)));
  const chips = Object.entries(page.statuses).filter(([, count]) => count).map(([status, count]) => {
    const chip = h("button", {
      type: "button", class: `chip ${LEVELS[status]}`, "aria-pressed": "false",
      onclick: () => {
        const on = wanted.statuses.has(status);
        if (on) wanted.statuses.delete(status); else wanted.statuses.add(status);
        chip.setAttribute("aria-pressed", String(!on));
        filter();
      },
    }, mark(status), `${status} `, h("b", {}, number(count)));
    return chip;
  });
  const empty = h("p", { class: "calm", hidden: true }, "No machine matches. ",
    h("button", { type: "button", class: "link", onclick: () => {
      wanted.statuses.clear();
      for (const chip of chips) chip.setAttribute("aria-pressed", "false");
      search.value = select.value = wanted.gpus = "";
      wanted.words = [];
      filter();
      search.focus();
    } }, "Show all"));

  const heads = SORTABLE.map((column) => {
    const head = h("th", { scope: "col", class: `${column.key} ${column.figures ? "figures" : ""}`, "aria-sort": column.key === "status" ? "ascending" : "none" },
      h("button", { type: "button", onclick: () => {
        const down = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
        for (const other of heads) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
        body.append(...[...rows].sort((a, b) => down * compare(column, a.machine, b.machine)).flatMap((row) => [row.element, row.detail]));
      } }, column.name));
    return head;
  });

  // Up and down go from machine to machine, / goes to the search.
  body.addEventListener("keydown", (event) => {
    if (!["ArrowDown", "ArrowUp"].includes(event.key) || !event.target.matches(".opener")) return;
    const openers = [...body.querySelectorAll("tr:not([hidden]) > th > .opener")];
    const next = openers[openers.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) { event.preventDefault(); next.focus(); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.matches("input, select, textarea")) return;
    event.preventDefault();
    search.focus();
  });

  const follow = () => {
    const name = location.hash.startsWith("#machine=") && decodeURIComponent(location.hash.slice("#machine=".length));
    const row = name && rows.find((candidate) => candidate.machine.host === name);
    if (!row) return;
    if (row.element.hidden) { empty.querySelector("button").click(); }
    row.open(true);
    row.opener.focus({ preventScroll: true });
    row.element.scrollIntoView({ block: "start" });
  };
  addEventListener("hashchange", follow);
  filter();
  setTimeout(follow);

  return h("section", { class: "fleet", "aria-label": "Machines" },
    h("div", { class: "tools" }, h("div", { class: "chips", role: "group", "aria-label": "Only machines with this status" }, chips), search, select, shown),
    h("table", { class: "machines" }, h("thead", {}, h("tr", {}, heads)), body), empty);
}

function compare(column, a, b) {
  if (column.text) return column.text(a).localeCompare(column.text(b), "en", { numeric: true }) || a.rank - b.rank;
  const [left, right] = [column.rank(a), column.rank(b)].map((value) => (value === null ? -Infinity : value));
  return left === right ? a.rank - b.rank : left - right;
}

function fleetRow(machine, page) {
  const detail = h("tr", { class: "detail", hidden: true }, h("td", { colspan: SORTABLE.length }));
  const isOpen = () => opener.getAttribute("aria-expanded") === "true";
  const open = (on) => {
    opener.setAttribute("aria-expanded", String(on));
    detail.hidden = !on;
    // Made when first asked for: four hundred proofs at once would make a slow page.
    if (on && !detail.firstChild.firstChild) detail.firstChild.append(machineDetail(machine, page.plans[machine.plan]));
  };
  const opener = h("button", { type: "button", class: "opener", "aria-expanded": "false", onclick: () => open(!isOpen()) }, machine.host);
  const act = machine.actions.find((item) => item.level === "act") || machine.actions[0];
  const element = h("tr", { class: `row ${LEVELS[machine.status] === "act" ? "act" : machine.actions.length ? "warn" : ""}`, onclick: (event) => { if (!event.target.closest("button, a") && !String(getSelection())) open(!isOpen()); } },
    h("th", { scope: "row", class: "host" }, opener),
    h("td", { class: "status" }, pill(machine.status), act && h("span", { class: "todo" }, act.what)),
    h("td", { class: "gpus", title: machine.gpus }, machine.gpus.replace(/NVIDIA (?=GeForce|RTX|[A-Z]\d)/g, "")),
    h("td", { class: "stack", title: machine.stack }, machine.stack.replace("TensorFlow", "TF")),
    h("td", { class: "figures", "data-name": "accuracy" }, machine.accuracy === null ? "–" : `${number(machine.accuracy * 100, 1)} %`),
    h("td", { class: "figures speed", "data-name": "images/s" }, number(machine.images_per_s), machine.siblings && sibling(machine.siblings.share)),
    h("td", { class: "figures", "data-name": "not checked" }, number(machine.not_checked.length)));
  const searched = [machine.host, machine.status, machine.system, machine.gpus, machine.stack, ...machine.actions.map((item) => item.what)].join(" ").toLowerCase();
  return { machine, element, detail, opener, open, isOpen, searched };
}

const OUTLIER_BELOW = 0.85;

// How the machine stands among those with the same GPUs; the tick is their median.
function sibling(share) {
  const most = 1.25;
  return h("span", { class: share < OUTLIER_BELOW ? "sibling look" : "sibling", title: `${number(share * 100)} % of the median of machines with the same GPUs` },
    h("span", { style: { width: `${(100 * Math.min(share, most)) / most}%` } }));
}
