// The rows of one view, as they are on the server now: read once for the time and groups that are looked at, kept up by
// the live stream, and read again when rows were missed or windows have settled meanwhile.

import { ApiError, get } from "./api.js";
import { serverNow } from "./format.js";
import { NULL_TEXT, Rows, matches } from "./rows.js";
import { MAX_SERIES, ranked, withinRange } from "./series.js";
import { rangeOf } from "./address.js";

/** Between two reads that nobody asked for, in milliseconds. */
const RECHECK = 10_000;

export class Feed {
  /**
   * `limit`: rows of one answer; `past`: rows of one group that are read when a view has more than that; `changed()`
   * hears of every change.
   */
  constructor(view, { limit, past, changed }) {
    Object.assign(this, { view, limit, past, changed });
    this.place = { where: new Map() };
    this.turn = 0;
    this.#empty();
  }

  #empty() {
    this.rows = new Rows(this.view, 2 * this.limit);
    /** Groups whose past is here. */
    this.known = new Set();
    /** `loading`, `ready`, `failed` (with `error`) or `deleted`. */
    this.state = "loading";
    this.truncated = false;
    /** Windows from here on were read with all of their groups. */
    this.since = -Infinity;
    this.readAt = undefined;
  }

  /** Looks at another time, other groups, or another measure. */
  aim(place, measure) {
    const same = ["last", "from", "to"].every((name) => place[name] === this.place[name]) && sameMap(place.where, this.place.where);
    const sameMeasure = measure === this.measure;
    this.place = place;
    this.measure = measure;
    if (!same) this.#empty();
    if (!same || this.readAt === undefined || (!sameMeasure && this.truncated)) return this.load();
    return Promise.resolve();
  }

  range() {
    return rangeOf(this.place, serverNow());
  }

  /** The rows of the time that is looked at. */
  points() {
    const within = withinRange(this.range());
    return [...this.rows.points()].filter((point) => this.rows.timeless || within(point));
  }

  hasRows() {
    const within = withinRange(this.range());
    for (const point of this.rows.points()) if (this.rows.timeless || within(point)) return true;
    return false;
  }

  async load() {
    this.known.clear();
    await this.refresh();
  }

  /** Reads the newest rows again; the past of groups that is here stays. */
  async refresh() {
    const turn = (this.turn += 1);
    this.readAt = Date.now();
    try {
      const { from, to } = this.range();
      const answer = await this.#read({ limit: this.limit, ...this.#bounds(from, to), ...this.#filters() });
      if (turn !== this.turn) return;
      this.truncated = answer.truncated === true || Boolean(answer.next);
      if (!this.truncated) this.rows.keepOnly(answer.rows, from ?? -Infinity);
      for (const row of answer.rows) this.#put(row);
      this.since = this.truncated ? Date.parse(answer.rows.at(-1)?.window_start) : -Infinity;
      this.columns = answer.columns;
      this.windows = answer.windows ?? [];
      this.state = "ready";
      this.error = undefined;
      this.changed();
      if (this.truncated) await this.#loadPast(turn);
    } catch (error) {
      if (turn !== this.turn) return;
      this.state = error instanceof ApiError && error.status === 404 ? "deleted" : "failed";
      this.error = error.message;
    }
    this.changed();
  }

  /** With very many groups the newest rows are of a few windows only: reads the past of the lines that are drawn. */
  async #loadPast(turn) {
    const range = this.range();
    const groups = ranked(this.rows.groups.values(), this.measure, withinRange(range)).slice(0, MAX_SERIES);
    // a group without a name cannot be asked for
    const named = ({ overflow, values }) => !overflow && Object.values(values).every((value) => value !== null);
    const wanted = groups.filter((group) => named(group) && !this.known.has(group.key));
    if (this.rows.keys.length === 0 || wanted.length === 0) return;
    const answers = await Promise.all(
      wanted.map(({ values }) => this.#read({ limit: this.past, ...this.#bounds(range.from, range.to), ...values })),
    );
    if (turn !== this.turn) return;
    for (const { key } of wanted) this.known.add(key);
    for (const answer of answers) for (const row of answer.rows) this.#put(row);
  }

  #read(parameters) {
    return get(`/api/v1/views/${encodeURIComponent(this.view.name)}/windows?${new URLSearchParams(parameters)}`);
  }

  #bounds(from, to) {
    const bounds = {};
    if (from !== undefined) bounds.from = new Date(Math.floor(from)).toISOString();
    if (to !== undefined) bounds.to = new Date(Math.ceil(to)).toISOString();
    return bounds;
  }

  /** Groups without a value cannot be asked for: those are picked out here. */
  #filters() {
    return Object.fromEntries([...this.place.where].filter(([name, text]) => this.rows.keys.includes(name) && text !== NULL_TEXT));
  }

  #put(row) {
    for (const [name, text] of this.place.where) {
      if (this.rows.keys.includes(name) && (row.overflow === true || !matches(row[name], text))) return;
    }
    this.rows.put(row);
  }

  /** Rows that have just changed. */
  take(rows) {
    if (this.state !== "ready") return;
    for (const row of rows) this.#put(row);
    this.changed();
  }

  gone(row) {
    this.rows.remove(row);
    this.changed();
  }

  /** How complete a window is changes without an event of its own: reads again while there is one that is not. */
  recheck() {
    if (this.readAt === undefined || Date.now() - this.readAt < RECHECK) return;
    if (this.state === "failed" || this.#unsettled()) this.refresh();
  }

  #unsettled() {
    for (const { state } of this.rows.points()) if (state === "open") return true;
    return false;
  }
}

function sameMap(a, b) {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}
