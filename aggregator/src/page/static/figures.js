// From the rows of a view to the figure that `plot` draws, or the bars of its newest window. Pure.

import { percentilesOf, windowKind } from "./kinds.js";
import { MAX_SERIES, bandOf, extent, gapsOf, hopOf, lineOf, newestOf, ranked, windowsOf, withinRange } from "./series.js";

/** Bars that are drawn: more are in the table. */
const MAX_BARS = 20;

/** Keeps each group's colour while it is drawn. */
export class Slots {
  constructor() {
    this.taken = new Map();
  }

  assign(lines) {
    const keys = new Set(lines.map((line) => line.key));
    for (const key of this.taken.keys()) if (!keys.has(key)) this.taken.delete(key);
    const used = new Set(this.taken.values());
    const free = [...Array(MAX_SERIES).keys()].filter((slot) => !used.has(slot));
    for (const line of lines) {
      if (!this.taken.has(line.key)) this.taken.set(line.key, free.shift());
      line.slot = this.taken.get(line.key);
    }
  }
}

/** Which charts a view can have, the one that suits it best first: of `lines`, `bands`, `top`. */
export function chartsOf(view) {
  if (windowKind(view) === "none") return ["top"];
  const bands = percentilesOf(view).length >= 2 && windowKind(view) !== "session";
  const charts = ["lines", "top"];
  if (bands) charts.splice(view.keys.some((key) => !key.startsWith("window_")) ? 1 : 0, 0, "bands");
  return charts;
}

/** The time that an axis spans. */
function spanOf(range, windows, now) {
  const first = windows[0]?.start ?? now;
  const last = windows.at(-1)?.end ?? now;
  const to = range.to ?? (range.from === undefined ? last : Math.max(now, range.from + 1));
  const from = range.from ?? Math.min(first, to - 1);
  return [from, to];
}

/** Lines over time: {figure, groups: how many there are, drawn: their groups}. */
export function lineFigure({ view, rows, since, measure, range, now, slots }) {
  const within = withinRange(range);
  const groups = ranked(rows.groups.values(), measure, within);
  const drawn = groups.slice(0, MAX_SERIES).sort(byName);
  const lines = drawn.map((group) => lineOf(group, measure, within));
  slots.assign(lines);
  return { figure: figureOf({ view, lines, windows: windowsOf(groups, within), since, range, now }), groups: groups.length, drawn };
}

/** Percentiles of one group: the named one, else the one that has most of the measure. */
export function bandFigure({ view, rows, measure, range, now, slots, group }) {
  const within = withinRange(range);
  const groups = ranked(rows.groups.values(), measure, within);
  const chosen = groups.find((one) => one.key === group) ?? groups[0];
  const columns = percentilesOf(view).map(({ name, share }) => ({ name, share }));
  if (!chosen) return { figure: figureOf({ view, lines: [], windows: [], range, now }), groups: 0, drawn: [] };
  const band = { ...bandOf(chosen, columns, within), columns };
  slots.assign([band]);
  const figure = figureOf({ view, lines: [], windows: windowsOf([chosen], within), range, now });
  return { figure: { ...figure, band, values: extent([band]) }, groups: groups.length, drawn: [chosen] };
}

function figureOf({ view, lines, windows, since = -Infinity, range, now }) {
  const kind = windowKind(view);
  const hop = hopOf(kind, windows);
  // between sessions there is nothing by their nature, and of what was not read nobody knows
  const gaps = kind === "session" ? [] : gapsOf(windows, hop).filter((gap) => gap.start >= since);
  return { kind, hop, lines, windows, gaps, time: spanOf(range, windows, now), values: extent(lines) };
}

/** The largest groups of the newest window: {bars, groups, window}. */
export function barFigure({ rows, measure, range }) {
  const within = withinRange(range);
  const all = newestOf([...rows.groups.values()], measure, within);
  const [first] = all;
  const window = first && first.end > 0 ? { start: first.start, end: first.end } : undefined;
  return { bars: all.slice(0, MAX_BARS), groups: all.length, window };
}

function byName(a, b) {
  return a.overflow - b.overflow || a.name.localeCompare(b.name, undefined, { numeric: true });
}
