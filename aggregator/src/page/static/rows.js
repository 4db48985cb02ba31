// The rows of one view that the page holds: by group, each group's windows in order, a bounded number of them. Pure.

import { keysOf, windowKind } from "./kinds.js";

/** What stands for a group whose key is null, and for the row that takes what has no group of its own. */
export const NULL_TEXT = "(null)";
export const OVERFLOW_TEXT = "(all other groups)";

/** A change this long after a window's end is late data, in milliseconds: what is on time has arrived by then. */
const LATE = 60_000;

/** `final`: no lane is expected to change it; `complete`: every agent has passed its end; else `open`. */
export function stateOf(row) {
  if (row.final) return "final";
  return row.completeness >= 1 ? "complete" : "open";
}

/** Whether text from the address names this value of a key. */
export function matches(value, text) {
  return value === null || value === undefined ? text === NULL_TEXT : String(value) === text;
}

export function keyText(value) {
  if (value === null || value === undefined) return NULL_TEXT;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** Groups: `name` for people, `points` by time: [{start, end, row, state, amended}]. */
export class Rows {
  constructor(view, bound) {
    this.keys = keysOf(view).map((column) => column.name);
    /** One running row a group: no time chooses between them. */
    this.timeless = windowKind(view) === "none";
    this.bound = bound;
    this.groups = new Map();
    this.size = 0;
    /** Rises with every change. */
    this.version = 0;
  }

  /** Takes a row unless a newer state of it is known. */
  put(row) {
    const group = this.#group(row);
    const start = timeOf(row.window_start);
    const point = { start, end: timeOf(row.window_end), row, state: stateOf(row), amended: this.#cameLate(row), version: this.version + 1 };
    const at = place(group.points, start);
    const known = group.points[at];
    if (known?.start !== start) {
      group.points.splice(at, 0, point);
      this.size += 1;
    } else {
      if (known.row.revision > row.revision) return;
      const grew = row.revision > known.row.revision;
      // it was told to be complete, and then something late came
      point.amended ||= known.amended || (grew && known.state !== "open");
      group.points[at] = point;
    }
    this.version += 1;
    if (this.size > this.bound * 1.25) this.#trim();
  }

  /** Whether a row that there was already changed long after its window: told for rows that were read. */
  #cameLate(row) {
    if (this.timeless || row.revision < 2 || row.changed_at === undefined) return false;
    return Date.parse(row.changed_at) > timeOf(row.window_end) + LATE;
  }

  /** A row that is no more: it was merged into another, or no longer passes HAVING. */
  remove(row) {
    const key = groupKey(row, this.keys);
    const group = this.groups.get(key);
    const start = timeOf(row.window_start);
    const at = group ? place(group.points, start) : -1;
    if (group?.points[at]?.start !== start) return;
    group.points.splice(at, 1);
    this.size -= 1;
    this.version += 1;
    if (group.points.length === 0) this.groups.delete(key);
  }

  /**
   * Leaves out rows that the server no longer has: windows from `from` on that its answer does not name. What came after
   * `version`, while the answer was on its way, stays.
   */
  keepOnly(rows, from, version) {
    const named = new Map();
    for (const row of rows) {
      const key = groupKey(row, this.keys);
      if (!named.has(key)) named.set(key, new Set());
      named.get(key).add(timeOf(row.window_start));
    }
    for (const [key, group] of this.groups) {
      const starts = named.get(key);
      const gone = group.points.filter((point) => point.start >= from && point.version <= version && !starts?.has(point.start));
      for (const { row } of gone) this.remove(row);
    }
  }

  /** Every row, in no order. */
  *points() {
    for (const group of this.groups.values()) yield* group.points;
  }

  #group(row) {
    const key = groupKey(row, this.keys);
    let group = this.groups.get(key);
    if (!group) {
      const values = Object.fromEntries(this.keys.map((name) => [name, row[name] ?? null]));
      const overflow = row.overflow === true;
      const name = overflow ? OVERFLOW_TEXT : this.keys.map((name) => keyText(row[name])).join(" · ");
      group = { key, name, values, overflow, points: [] };
      this.groups.set(key, group);
    }
    return group;
  }

  /** Forgets the oldest windows, whole ones, so that a chart never shows a window without some of its groups. */
  #trim() {
    const starts = [...this.points()].map((point) => point.start).sort((a, b) => b - a);
    const oldest = starts[this.bound];
    // one window with more groups than the bound stays as it is: the server bounds it
    if (oldest === starts[0]) return;
    for (const [key, group] of this.groups) {
      const gone = place(group.points, oldest + 1);
      this.size -= group.points.splice(0, gone).length;
      if (group.points.length === 0) this.groups.delete(key);
    }
  }
}

function groupKey(row, keys) {
  return JSON.stringify([row.overflow === true, ...keys.map((name) => row[name] ?? null)]);
}

/** A view without windows has rows without times: they all stand at 0. */
function timeOf(text) {
  return text === null || text === undefined ? 0 : Date.parse(text);
}

/** The first point that does not start before `start`. Searched from the end, where live rows belong. */
function place(points, start) {
  let at = points.length;
  if (at > 8 && points[at - 8].start >= start) {
    let low = 0;
    while (low < at) {
      const middle = (low + at) >>> 1;
      if (points[middle].start < start) low = middle + 1;
      else at = middle;
    }
    return at;
  }
  while (at > 0 && points[at - 1].start >= start) at -= 1;
  return at;
}
