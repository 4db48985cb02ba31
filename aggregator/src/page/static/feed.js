// The rows of one view, as they are on the server now: read once for the time and groups that are looked at, kept up by
// the live stream, and read again when rows were missed or windows have settled meanwhile.

import { ApiError, get } from "./api.js";
import { serverNow } from "./format.js";
import { NULL_TEXT, Rows, keyText, matches } from "./rows.js";
import { MAX_SERIES, ranked, withinRange } from "./series.js";
import { rangeOf } from "./address.js";

/** The most rows that one answer can have. */
const MOST = 10_000;
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
    this.next = undefined;
    this.readOn = false;
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

  /** The time that is looked at; rows that run on have none. */
  range() {
    return this.rows.timeless ? {} : rangeOf(this.place, serverNow());
  }

  /** The rows of the time that is looked at. */
  points() {
    const within = withinRange(this.range());
    return [...this.rows.points()].filter(within);
  }

  hasRows() {
    const within = withinRange(this.range());
    for (const point of this.rows.points()) if (within(point)) return true;
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
      const { version } = this.rows;
      const answer = await this.#read([["limit", this.limit], ...this.#bounds(from, to), ...this.#filters()]);
      if (turn !== this.turn) return;
      const whole = answer.truncated !== true;
      if (whole) this.rows.keepOnly(answer.rows, from ?? -Infinity, version);
      for (const row of answer.rows) this.#put(row);
      // who has read on has read more than this answer
      if (!this.readOn) this.#behind(answer);
      this.columns = answer.columns;
      this.windows = answer.windows ?? [];
      this.state = "ready";
      this.error = undefined;
      this.changed();
      if (!whole) await this.#loadPast(turn);
    } catch (error) {
      if (turn !== this.turn) return;
      this.state = error instanceof ApiError && error.status === 404 ? "deleted" : "failed";
      this.error = error.message;
    }
    this.changed();
  }

  /** What an answer says of the rows behind its last one. */
  #behind(answer) {
    this.truncated = answer.truncated === true;
    this.next = answer.next ?? undefined;
    this.since = this.truncated ? Date.parse(answer.rows.at(-1)?.window_start) : -Infinity;
  }

  /** Reads the rows behind the oldest ones that are here. */
  async more() {
    const { turn, next } = this;
    if (!next) return;
    const { from, to } = this.range();
    try {
      const answer = await this.#read([["limit", this.limit], ["next", next], ...this.#bounds(from, to), ...this.#filters()]);
      if (turn !== this.turn) return;
      this.rows.bound += this.limit;
      for (const row of answer.rows) this.#put(row);
      this.readOn = true;
      this.#behind(answer);
    } catch (error) {
      this.error = error.message;
      this.state = "failed";
    }
    this.changed();
  }

  /** With very many groups the newest rows are of a few windows only: reads the past of the lines that are drawn. */
  async #loadPast(turn) {
    const range = this.range();
    const groups = ranked(this.rows.groups.values(), this.measure, withinRange(range)).slice(0, MAX_SERIES);
    const wanted = groups.filter((group) => !group.overflow && !this.known.has(group.key));
    if (this.rows.keys.length === 0 || wanted.length === 0) return;
    const bounds = this.#bounds(range.from, range.to);
    // one key's values are asked for together; of several keys that would be every combination of them
    const [key, ...others] = this.rows.keys;
    const questions =
      others.length === 0
        ? [{ groups: wanted, parameters: wanted.map(({ values }) => equal(key, values[key])) }]
        : wanted.map((group) => ({ groups: [group], parameters: this.rows.keys.map((name) => equal(name, group.values[name])) }));
    const answers = await Promise.all(
      questions.map(({ groups: some, parameters }) =>
        this.#read([["limit", Math.min(MOST, this.past * some.length)], ...bounds, ...parameters])),
    );
    if (turn !== this.turn) return;
    for (const { key } of wanted) this.known.add(key);
    for (const answer of answers) for (const row of answer.rows) this.#put(row);
  }

  async #read(parameters) {
    const answer = await get(`${this.#path()}?${new URLSearchParams([...parameters, ["changes", "true"]])}`);
    answer.rows.forEach((row, at) => {
      row.changed_at = answer.changed_at?.[at] ?? undefined;
    });
    return answer;
  }

  #path() {
    return `/api/v1/views/${encodeURIComponent(this.view.name)}/windows`;
  }

  /** Where the rows that are looked at are, as a file. */
  fileAddress(format) {
    const { from, to } = this.range();
    return `${this.#path()}?${new URLSearchParams([["format", format], ...this.#bounds(from, to), ...this.#filters()])}`;
  }

  #bounds(from, to) {
    const bounds = [];
    if (from !== undefined) bounds.push(["from", new Date(Math.floor(from)).toISOString()]);
    if (to !== undefined) bounds.push(["to", new Date(Math.ceil(to)).toISOString()]);
    return bounds;
  }

  #filters() {
    const known = [...this.place.where].filter(([name]) => this.rows.keys.includes(name));
    return known.map(([name, text]) => equal(name, text === NULL_TEXT ? null : text));
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

/** A filter of the windows call; with its operator it is never taken for another parameter. */
function equal(column, value) {
  return [`${column}.eq`, value === null ? "null" : keyText(value)];
}

function sameMap(a, b) {
  return a.size === b.size && [...a].every(([key, value]) => b.get(key) === value);
}
