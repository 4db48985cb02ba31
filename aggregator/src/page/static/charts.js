// Thin cover of the chart library: colours from the style sheet, times in the reader's zone, at most one redraw
// a second for each chart.

import { chartTime } from "./format.js";

const REDRAW_EVERY = 1000;
/** More lines than this cannot be told apart. */
export const MAX_SERIES = 8;

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function baseLayout() {
  return {
    autosize: true,
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { family: "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, sans-serif", size: 12, color: color("--muted") },
    hoverlabel: { bgcolor: color("--card"), bordercolor: color("--line"), font: { color: color("--ink") } },
  };
}

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset", scrollZoom: false };

/** Draws into one element, newest request wins, at most once a second; again when the colour scheme changes. */
class Canvas {
  constructor(node) {
    this.node = node;
    this.timer = undefined;
    this.drawnAt = 0;
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.request());
  }

  request(figure = this.figure) {
    if (!figure) return;
    this.figure = figure;
    if (this.timer !== undefined) return;
    const wait = Math.max(0, this.drawnAt + REDRAW_EVERY - Date.now());
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.drawnAt = Date.now();
      const { data, layout } = this.figure();
      window.Plotly.react(this.node, data, layout, CONFIG);
    }, wait);
  }
}

/** Events per second over the last ten minutes, without axes. */
export class Spark {
  constructor(node) {
    this.canvas = new Canvas(node);
  }

  draw(times, values) {
    this.canvas.request(() => ({
      data: [{
        x: times.map(chartTime),
        y: values,
        type: "scatter",
        mode: "lines",
        fill: "tozeroy",
        line: { color: color("--accent"), width: 1.5, shape: "linear" },
        fillcolor: color("--accent-soft"),
        hovertemplate: "%{y:,.0f} events/s<extra>%{x|%H:%M:%S}</extra>",
      }],
      layout: {
        ...baseLayout(),
        margin: { l: 0, r: 0, t: 2, b: 0 },
        showlegend: false,
        xaxis: { type: "date", visible: false, fixedrange: true },
        yaxis: { visible: false, fixedrange: true, rangemode: "tozero" },
      },
    }));
  }
}

/** One measure of a view over time, a line for each group. */
export class ViewChart {
  constructor(node) {
    this.canvas = new Canvas(node);
    /** Name of a series → its colour: a line keeps it while it is drawn. */
    this.slots = new Map();
  }

  /** `series`: [{name, points: [{at, value, open}]}], at most MAX_SERIES; `unit` names the axis. */
  draw(series, unit) {
    this.#assign(series);
    this.canvas.request(() => ({
      data: series.map((one) => line(one, color(`--series-${this.slots.get(one.name) + 1}`))),
      layout: viewLayout(series, unit),
    }));
  }

  #assign(series) {
    const names = new Set(series.map((one) => one.name));
    for (const name of this.slots.keys()) if (!names.has(name)) this.slots.delete(name);
    const taken = new Set(this.slots.values());
    const free = [...Array(MAX_SERIES).keys()].filter((slot) => !taken.has(slot));
    for (const name of names) if (!this.slots.has(name)) this.slots.set(name, free.shift());
  }
}

function line({ name, points }, ink) {
  const sparse = points.length <= 40;
  return {
    name,
    x: points.map((point) => chartTime(point.at)),
    y: points.map((point) => point.value),
    type: "scatter",
    mode: sparse ? "lines+markers" : "lines",
    line: { color: ink, width: 2 },
    // a window that still takes events is drawn hollow
    marker: { size: 6, color: points.map((point) => (point.open ? color("--card") : ink)), line: { color: ink, width: 1.5 } },
    hovertemplate: "%{y:,.4~g}",
  };
}

function viewLayout(series, unit) {
  const many = series.length > 1;
  return {
    ...baseLayout(),
    margin: { l: 52, r: 12, t: 10, b: many ? 10 : 32 },
    showlegend: many,
    legend: { orientation: "h", x: 0, xanchor: "left", y: -0.16, yanchor: "top", font: { size: 12, color: color("--ink") } },
    hovermode: "x unified",
    uirevision: unit,
    xaxis: {
      type: "date",
      gridcolor: color("--grid"),
      linecolor: color("--line"),
      tickformatstops: TICK_FORMATS,
      hoverformat: "%H:%M:%S",
      nticks: 6,
    },
    yaxis: { gridcolor: color("--grid"), zerolinecolor: color("--line"), tickformat: "~s", rangemode: "tozero", nticks: 6 },
  };
}

const TICK_FORMATS = [
  { dtickrange: [null, 59_999], value: "%H:%M:%S" },
  { dtickrange: [60_000, 86_399_999], value: "%H:%M" },
  { dtickrange: [86_400_000, null], value: "%e %b" },
];
