// Copyright: (c) 2026, The gpulab.workstation authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Curves. Colours are read from the style sheet when a chart draws, so that they follow light, dark and paper.
"use strict";

const charts = new Set();
const CHART_HEIGHT = 168;

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

function axis(unit, { short = false } = {}) {
  return {
    stroke: () => colour("muted"),
    grid: { stroke: () => colour("line"), width: 1 },
    ticks: { show: false },
    font: "12px system-ui, sans-serif",
    size: short ? 28 : 46,
    gap: 4,
    values: (_chart, ticks) => ticks.map((tick) => (tick === null ? "" : `${+tick.toFixed(3)}${unit}`)),
  };
}

// The legend names the lines, and reads the values off where the pointer is.
function reading(digits, unit) {
  return (_chart, value) => (value === null || value === undefined ? "" : `${number(value, digits)}${unit}`);
}

// Shades the part of the run that the checks looked at.
function windowPlugin(span) {
  const shade = (chart) => {
    const left = Math.max(chart.valToPos(span.start, "x", true), chart.bbox.left);
    const right = Math.min(chart.valToPos(span.end, "x", true), chart.bbox.left + chart.bbox.width);
    chart.ctx.save();
    chart.ctx.fillStyle = colour("window");
    chart.ctx.fillRect(left, chart.bbox.top, right - left, chart.bbox.height);
    chart.ctx.strokeStyle = colour("window-edge");
    chart.ctx.lineWidth = devicePixelRatio;
    chart.ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
    for (const x of [left, right]) {
      chart.ctx.beginPath();
      chart.ctx.moveTo(x, chart.bbox.top);
      chart.ctx.lineTo(x, chart.bbox.top + chart.bbox.height);
      chart.ctx.stroke();
    }
    chart.ctx.restore();
  };
  return { hooks: { drawClear: [shade] } };
}

// One figure with one chart. `lines` are {label, values, colour, dash}; `x` is {label, values, unit}.
// `said` is what the picture shows, in words, for those who do not see it.
function figure({ title, said, x, lines, unit, range, digits, span, group }) {
  const place = h("div", { class: "chart", role: "img", "aria-label": `${title}. ${said}` });
  const element = h("figure", {}, h("figcaption", {}, title, h("span", { class: "note" }, ` ${said}`)), place);
  const options = {
    width: 320,
    height: CHART_HEIGHT,
    padding: [8, 8, 0, 0],
    legend: { live: true },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false }, sync: group ? { key: group } : undefined },
    scales: { x: { time: false }, y: { range: range || ((_chart, low, high) => padded(low, high)) } },
    axes: [axis(x.unit, { short: true }), axis(unit)],
    series: [
      { label: x.label, value: reading(x.digits || 0, x.unit) },
      ...lines.map((line) => ({
        label: line.label,
        stroke: () => colour(line.colour),
        width: line.thin ? 1.25 : 2,
        dash: line.dash,
        points: { show: x.values.length < 3 },
        value: reading(digits, unit),
      })),
    ],
    plugins: span ? [windowPlugin(span)] : [],
  };
  // A chart needs the width of its place, which it has once it is on the page.
  const observer = new ResizeObserver(() => {
    const width = Math.floor(place.clientWidth);
    if (!width) return;
    if (!place.chart) {
      place.chart = new uPlot({ ...options, width }, [x.values, ...lines.map((line) => line.values)], place);
      charts.add(place.chart);
    } else if (place.chart.width !== width) {
      place.chart.setSize({ width, height: CHART_HEIGHT });
    }
  });
  observer.observe(place);
  return element;
}

function padded(low, high) {
  if (low === null || high === null) return [0, 1];
  const room = (high - low || Math.abs(high) || 1) * 0.08;
  return [low - room < 0 && low >= 0 ? 0 : low - room, high + room];
}

function redraw() {
  for (const chart of charts) chart.redraw(false, true);
}

// Paper is light whatever the screen is; the class stands in for the media query, which holds only while printing.
addEventListener("beforeprint", () => { document.documentElement.classList.add("printing"); redraw(); });
addEventListener("afterprint", () => { document.documentElement.classList.remove("printing"); redraw(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
