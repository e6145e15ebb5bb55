// Copyright: (c) 2026, The gpulab.workstation authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Elements made of text, never of markup: whatever a machine calls itself, it stays a text node.
"use strict";

function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const formats = {};
function number(value, digits = 0) {
  if (value === null || value === undefined) return "–";
  // Halves go to the even digit, as Python has them: what the terminal says is what the page says.
  formats[digits] ||= new Intl.NumberFormat("en", {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
    roundingMode: "halfEven",
  });
  return formats[digits].format(value);
}

function duration(seconds) {
  if (seconds < 10) return `${number(seconds, 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 120) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 120 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function moment(iso) {
  return String(iso || "").replace("T", " ").replace(/(:\d\d)?(\.\d+)?(Z|\+00:00)$/, " UTC");
}

function plural(count, word) {
  return `${number(count)} ${word}${count === 1 ? "" : "s"}`;
}

// The name of a check or a component as a title; an abbreviation keeps its letters.
const SPELLED = { gpu: "GPU", cuda: "CUDA", cudnn: "cuDNN", pcie: "PCIe", ecc: "ECC", tensorflow: "TensorFlow", nvidia: "NVIDIA", cifar10: "CIFAR-10" };
function title(name) {
  const [first, ...rest] = String(name).split(/[_ ]/);
  return [SPELLED[first] || first.charAt(0).toUpperCase() + first.slice(1), ...rest.map((word) => SPELLED[word] || word)].join(" ");
}

// A mark beside every status, so that none is told by its colour alone.
const MARKS = {
  proved: "✓", passed: "✓", "as planned": "✓", converged: "↑", skipped: "…", drifted: "≠", "not checked": "–", not_checked: "–",
  failed: "✕", "rolled back": "↩", refused: "✕", unreachable: "?",
};
const LEVELS = {
  proved: "fine", passed: "fine", "as planned": "fine", converged: "look", skipped: "look", drifted: "look",
  "not checked": "none", not_checked: "none", failed: "act", "rolled back": "act", refused: "act", unreachable: "act",
};

function mark(status) {
  return h("span", { class: `mark ${LEVELS[status] || "none"}`, "aria-hidden": "true" }, MARKS[status] || "–");
}

function pill(status) {
  return h("span", { class: `pill ${LEVELS[status] || "none"}` }, mark(status), String(status).replace("_", " "));
}

function card(title, note, ...content) {
  return h("section", { class: "card" }, h("header", {}, h("h3", {}, title), note && h("p", { class: "note" }, note)), content);
}
