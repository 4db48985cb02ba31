// One card for each view: chart of one measure, a line for each group, and the newest windows as a table.

import { Refresher, get } from "./api.js";
import { MAX_SERIES, ViewChart } from "./charts.js";
import { KeyedTable, byId, el, emptyState, setText } from "./dom.js";
import { absolute, integer, measure, span } from "./format.js";

/** Window rows that a card keeps, and how many of them its table shows. */
const MAX_ROWS = 1000;
const TABLE_ROWS = 50;
/** Rows of one group's past that are read when a view has more rows than that. */
const GROUP_ROWS = 120;
/** Between two reads of a card's rows, in milliseconds: how complete older windows are is only told on reading. */
const RELOAD_EVERY = 10_000;
/** Between rows that were missed and reading them, in milliseconds: more will be missed meanwhile. */
const CATCH_UP_AFTER = 2000;
/** Between two drawings of a card, in milliseconds. */
const DRAW_EVERY = 400;
const BOUNDS = new Set(["window_start", "window_end"]);
/** A column of type `any` may hold numbers: only the data can tell. */
const MEASURES = new Set(["integer", "number", "any"]);

function title(row) {
  return absolute(Date.parse(row.window_start));
}

class ViewCard {
  constructor(view) {
    this.view = view;
    this.rows = new Map();
    this.keys = view.columns.filter((column) => view.keys.includes(column.name) && !BOUNDS.has(column.name));
    this.measures = view.columns.filter((column) => MEASURES.has(column.type) && !view.keys.includes(column.name));
    /** Groups whose lines are drawn. */
    this.drawn = new Set();
    this.newest = 0;
    this.loadedAt = 0;
    this.#build();
  }

  #build() {
    const { name, sql, stream } = this.view;
    this.select = el("select", { id: `measure-${name}`, "data-testid": "measure" });
    this.select.append(...this.measures.map((column) => el("option", { value: column.name }, column.name)));
    this.select.addEventListener("change", () => {
      this.render();
      this.#reload();
    });
    const label = el("label", { for: `measure-${name}` }, "Measure");
    this.meta = el("p", { class: "meta" }, `over stream ${stream}`);
    this.chartNode = el("div", { class: "chart", role: "img" });
    this.chart = new ViewChart(this.chartNode);
    this.waiting = el("p", { class: "chart-empty" }, "No window yet. Windows appear here with the first event of the stream.");
    this.chartNode.hidden = true;
    this.table = new KeyedTable({
      caption: `Newest windows of ${name}`,
      columns: this.#columns(),
      rowKey: (row) => this.#rowKey(row),
      rowAttribute: "data-row",
    });
    this.node = el(
      "article",
      { class: "view", "data-view": name, "aria-label": `View ${name}` },
      el("header", {}, el("h3", {}, name), el("div", { class: "controls" }, label, this.select)),
      this.meta,
      this.waiting,
      this.chartNode,
      this.table.node,
      el("details", {}, el("summary", {}, "SQL"), el("pre", {}, sql)),
    );
    if (this.measures.length < 2) this.node.querySelector(".controls").hidden = true;
  }

  #columns() {
    const plain = (column) => ({
      key: column.name,
      label: column.name,
      numeric: this.measures.includes(column),
      text: (row) => cellText(row[column.name]),
    });
    const shown = this.view.columns.filter((column) => !BOUNDS.has(column.name));
    return [
      { key: "window", label: "Window", title, text: (row) => span(Date.parse(row.window_start), Date.parse(row.window_end)) },
      {
        key: "final",
        label: "State",
        text: (row) => stateOf(row),
        state: (row) => (stateOf(row) === "open" ? "good" : "quiet"),
      },
      ...shown.map(plain),
    ];
  }

  #rowKey(row) {
    return JSON.stringify([row.window_start, row.window_end, ...this.keys.map((column) => row[column.name])]);
  }

  /** The rows that the server has, for a start, after some were missed, and when a new window began. */
  async load() {
    this.loadedAt = Date.now();
    const answer = await this.#read({ limit: MAX_ROWS });
    for (const row of answer.rows) this.#put(row);
    if (answer.truncated && this.keys.length > 0) await this.#loadPast();
    this.render();
  }

  #read(parameters) {
    return get(`/api/v1/views/${encodeURIComponent(this.view.name)}/windows?${new URLSearchParams(parameters)}`);
  }

  /** With very many groups the newest rows are of one window only: reads the past of the lines that are drawn. */
  async #loadPast() {
    const shown = groups(this.#sorted(), this.keys, this.select.value).slice(0, MAX_SERIES);
    this.drawn = new Set(shown.map((series) => series.group));
    const answers = await Promise.all(shown.map(({ key }) => this.#read({ limit: GROUP_ROWS, ...key })));
    for (const answer of answers) for (const row of answer.rows) this.#put(row);
  }

  take(row) {
    this.#put(row);
    const start = Date.parse(row.window_start);
    const began = this.newest > 0 && start > this.newest;
    this.newest = Math.max(this.newest, start);
    if (began && Date.now() - this.loadedAt > RELOAD_EVERY) this.#reload();
    this.render();
  }

  #reload() {
    this.load().catch((error) => console.warn(error.message));
  }

  #put(row) {
    const key = this.#rowKey(row);
    const known = this.rows.get(key);
    if (known && known.row.revision > row.revision) return;
    const group = this.keys.map((column) => cellText(row[column.name])).join(" · ");
    this.rows.set(key, { row, group, start: Date.parse(row.window_start) });
  }

  /** Newest window first and by group within a window, as the server sorts; a bounded number of them. */
  #sorted() {
    const entries = [...this.rows.entries()];
    entries.sort(([, a], [, b]) => b.start - a.start || (a.group < b.group ? -1 : Number(a.group > b.group)));
    // beyond the bound only the past of the lines that are drawn is kept, within a bound as well
    const past = entries.splice(2 * MAX_ROWS);
    const kept = past.filter(([, entry]) => this.drawn.has(entry.group)).slice(0, MAX_ROWS);
    for (const [key] of past) this.rows.delete(key);
    for (const [key, entry] of kept) this.rows.set(key, entry);
    return [...entries, ...kept].map(([, entry]) => entry);
  }

  /** Draws now, or a little later when that was done a moment ago. */
  render() {
    if (this.scheduled) return;
    this.scheduled = true;
    const wait = Math.max(0, (this.drawnAt ?? 0) + DRAW_EVERY - Date.now());
    setTimeout(() => {
      this.scheduled = false;
      this.drawnAt = Date.now();
      this.#draw();
    }, wait);
  }

  #draw() {
    const entries = this.#sorted();
    const chosen = this.select.value;
    const some = entries.length > 0;
    this.waiting.hidden = some;
    this.chartNode.hidden = !some || !chosen;
    this.table.node.hidden = !some;
    this.table.update(entries.slice(0, TABLE_ROWS).map(({ row }) => row));
    if (!some || !chosen) return;
    const all = groups(entries, this.keys, chosen);
    const shown = all.slice(0, MAX_SERIES).sort((a, b) => a.name.localeCompare(b.name));
    this.drawn = new Set(shown.map((series) => series.group));
    const limited = all.length > shown.length ? `, ${shown.length} largest of ${integer(all.length)} groups drawn` : "";
    setText(this.meta, `${chosen} over stream ${this.view.stream}${limited}`);
    this.chartNode.setAttribute("aria-label", `${chosen} of ${this.view.name} over time; the table below has the values`);
    this.chart.draw(shown, chosen);
  }
}

/** `final`: no lane is expected to change it; `complete`: every active lane has passed its end; else `open`. */
function stateOf(row) {
  if (row.final) return "final";
  return row.completeness >= 1 ? "complete" : "open";
}

function cellText(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "number" ? measure(value) : String(value);
}

/** Sorted entries as one series a group, oldest point first; the series with the largest sum comes first, so that
    the lines that are drawn seldom change. */
function groups(entries, keys, chosen) {
  const byGroup = new Map();
  for (const { row, group, start } of entries) {
    let series = byGroup.get(group);
    if (!series) {
      const key = Object.fromEntries(keys.map((column) => [column.name, row[column.name]]));
      series = { group, name: group || chosen, key, points: [], sum: 0 };
      byGroup.set(group, series);
    }
    const value = typeof row[chosen] === "number" ? row[chosen] : null;
    series.points.push({ at: start, value, open: stateOf(row) === "open" });
    series.sum += value ?? 0;
  }
  for (const series of byGroup.values()) series.points.reverse();
  return [...byGroup.values()].sort((a, b) => b.sum - a.sum);
}

/** All view cards. */
export class Views {
  constructor() {
    this.grid = byId("view-grid");
    this.empty = byId("views-empty");
    this.cards = new Map();
    this.refresher = new Refresher(() => this.#read());
    const command = `curl -X PUT ${location.origin}/api/v1/views/per_minute -H 'content-type: application/json' -d @- <<'END'
{"sql":"SELECT window_start, window_end, count(*) AS n FROM TUMBLE(host, ts, INTERVAL '1 minute') GROUP BY window_start, window_end"}
END`;
    this.empty.append(emptyState("No view yet. A view is one SELECT over a stream; make the first one:", command));
  }

  /** `fingerprint` changes when a view is made, replaced or removed; only then the list is read again. */
  refresh(fingerprint) {
    return this.refresher.offer(fingerprint);
  }

  async #read() {
    const { views } = await get("/api/v1/views");
    this.empty.hidden = views.length > 0;
    const wanted = new Map(views.map((view) => [view.name, view]));
    for (const [name, card] of this.cards) {
      if (wanted.get(name)?.sql !== card.view.sql) {
        card.node.remove();
        this.cards.delete(name);
      }
    }
    for (const view of views) {
      if (this.cards.has(view.name)) continue;
      const card = new ViewCard(view);
      this.cards.set(view.name, card);
      this.grid.append(card.node);
      await card.load();
    }
  }

  take({ view, row }) {
    this.cards.get(view)?.take(row);
  }

  /** After a lost connection, what is shown may be behind. */
  async reload() {
    await Promise.all([...this.cards.values()].map((card) => card.load()));
  }

  /** Rows were missed because there are too many: reads them now, or soon when that was done a moment ago. */
  missed() {
    if (this.catchUp !== undefined) return;
    this.catchUp = setTimeout(async () => {
      try {
        await this.reload();
      } catch (error) {
        console.warn(error.message);
      } finally {
        this.catchUp = undefined;
      }
    }, CATCH_UP_AFTER);
  }
}
