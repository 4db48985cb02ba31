// The rows of a view as a table: every value that the chart shows, sorted by any column, filtered by any text, a page of
// rows at a time. Rows of the page are filled in place, so that a table that changes does not jump.

import { explainLink } from "./address.js";
import { el, setAttribute, setText } from "./dom.js";
import { absolute, integer, measure, percent, span } from "./format.js";
import { NULL_TEXT, OVERFLOW_TEXT, keyText, stateOf } from "./rows.js";
import { keysOf, shownOf } from "./kinds.js";

/** Rows of a page. */
const PAGE = 50;
/** Columns that every view's table has. */
const FIXED = new Set(["window", "state", "revision", "why"]);
const STATES = { open: "good", complete: "quiet", final: "quiet" };
const collator = new Intl.Collator(undefined, { numeric: true });

/** Columns of a view's table: {key, label, numeric, value(point) to sort by, text(point), title?, state?}. */
export function tableColumns(view) {
  const keys = new Set(keysOf(view).map((column) => column.name));
  const columns = shownOf(view).map((column) => ({
    key: column.name,
    label: column.name,
    note: errorNote(column),
    hint: errorTitle(column),
    numeric: !keys.has(column.name) && (column.type === "integer" || column.type === "number"),
    untyped: !keys.has(column.name) && column.type === "any",
    value: ({ row }) => row[column.name],
    text: ({ row }) => cellText(row, column.name, keys.has(column.name)),
  }));
  return [
    { key: "window", label: "Window", value: (point) => point.start, text: windowText, title: windowTitle },
    { key: "state", label: "State", value: ({ row }) => (row.final ? 2 : row.completeness), text: stateText, state: (point) => (point.amended ? "warn" : STATES[stateOf(point.row)]) },
    ...columns,
    { key: "revision", label: "Revision", numeric: true, value: ({ row }) => row.revision, text: ({ row }) => integer(row.revision) },
    { key: "why", label: "Why", text: () => "explain", link: ({ row }) => explainLink(view.name, row, Object.fromEntries([...keys].map((name) => [name, row[name]]))) },
  ];
}

function windowText({ row, start, end }) {
  return row.window_start === null ? "running" : span(start, end);
}

function windowTitle({ row, start }) {
  return row.window_start === null ? "since the first event" : absolute(start);
}

function stateText({ row, amended }) {
  const state = stateOf(row);
  const share = state === "open" ? ` ${percent(row.completeness)}` : "";
  return `${state}${share}${amended ? ", amended" : ""}`;
}

/** "± 1 %" of a column whose values are estimates. */
function errorNote({ error }) {
  if (!error) return undefined;
  if (error.kind === "share_of_rows") return `≤ ${percent(error.bound)} of rows too low`;
  return `± ${percent(error.bound)}`;
}

/** The same in full. */
function errorTitle({ error }) {
  if (!error) return undefined;
  const often = error.confidence ? ` in ${percent(error.confidence)} of cases` : "";
  const exact = error.exact_up_to > 0 ? `; exact up to ${integer(error.exact_up_to)} values` : "";
  return `An estimate: ${errorNote({ error })}${often}${exact}`;
}

function cellText(row, name, isKey) {
  const value = row[name];
  if (isKey) return row.overflow === true ? OVERFLOW_TEXT : keyText(value);
  if (value === null || value === undefined) return "–";
  const near = Array.isArray(row.approximate) && row.approximate.includes(name) ? "≈ " : "";
  if (typeof value === "number") return near + measure(value);
  return near + (typeof value === "object" ? JSON.stringify(value) : String(value));
}

function compare(a, b) {
  const missing = (value) => value === null || value === undefined;
  if (missing(a) || missing(b)) return Number(missing(a)) - Number(missing(b));
  if (typeof a === "number" && typeof b === "number") return a - b;
  return collator.compare(typeof a === "object" ? JSON.stringify(a) : a, typeof b === "object" ? JSON.stringify(b) : b);
}

/** Points in order: `sort` is a column's key, with "-" before it from the largest down. Nulls come last, then first. */
export function sorted(points, columns, sort) {
  const descending = sort?.startsWith("-") ?? false;
  const column = columns.find((one) => !one.link && one.key === (sort ?? "").replace(/^-/, ""));
  const names = columns.filter((one) => !FIXED.has(one.key));
  const byGroup = (a, b) => names.reduce((order, one) => order || compare(one.value(a), one.value(b)), 0);
  const newest = (a, b) => b.start - a.start || byGroup(a, b);
  if (!column) return points.sort(newest);
  const sign = descending ? -1 : 1;
  return points.sort((a, b) => sign * compare(column.value(a), column.value(b)) || newest(a, b));
}

export class DataTable {
  /** `onSort(sort)` hears which column was pressed. */
  constructor({ caption, view, onSort }) {
    this.view = view;
    this.onSort = onSort;
    this.all = tableColumns(view);
    this.columns = [];
    this.page = 0;
    this.head = el("tr");
    this.body = el("tbody");
    this.count = el("p", { class: "quiet" });
    this.back = el("button", { type: "button" }, "Previous rows");
    this.next = el("button", { type: "button" }, "Next rows");
    this.back.addEventListener("click", () => this.#turn(-1));
    this.next.addEventListener("click", () => this.#turn(1));
    this.pages = el("div", { class: "actions pages" }, this.back, this.next);
    const table = el("table", {}, el("caption", {}, caption), el("thead", {}, this.head), this.body);
    this.scroll = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, table);
    this.node = el("div", { class: "data-table" }, this.scroll, el("div", { class: "table-foot" }, this.count, this.pages));
  }

  /** `points` is taken over and sorted; `columns`: names of the view's columns to show, all when there is none. */
  show(points, { sort, find = "", columns = [] } = {}) {
    this.#learnTypes(points);
    this.#setColumns(columns, sort);
    const wanted = find.trim().toLowerCase();
    const hits = wanted ? points.filter((point) => this.columns.some((one) => !one.link && one.text(point).toLowerCase().includes(wanted))) : points;
    this.points = sorted(hits, this.all, sort);
    this.of = points.length;
    this.#fill();
  }

  /** What a column without a declared type holds shows with the first value. */
  #learnTypes(points) {
    for (const column of this.all) {
      if (!column.untyped) continue;
      const value = points.map((point) => column.value(point)).find((one) => one !== null && one !== undefined);
      if (value === undefined) continue;
      column.untyped = false;
      column.numeric = typeof value === "number";
      this.columns = [];
    }
  }

  #setColumns(chosen, sort) {
    const columns = this.all.filter(({ key }) => FIXED.has(key) || chosen.length === 0 || chosen.includes(key));
    if (columns.map((one) => one.key).join("\n") !== this.columns.map((one) => one.key).join("\n")) {
      this.columns = columns;
      this.head.replaceChildren(...columns.map((column) => this.#headCell(column)));
      this.body.replaceChildren();
    }
    [...this.head.cells].forEach((cell, at) => {
      if (this.columns[at].link) return;
      const { key } = this.columns[at];
      const order = sort === key ? "ascending" : sort === `-${key}` || (!sort && key === "window") ? "descending" : "none";
      setAttribute(cell, "aria-sort", order);
    });
  }

  #headCell(column) {
    if (column.link) return el("th", { scope: "col", "data-col": column.key }, column.label);
    const label = el("button", { type: "button", class: "sort" }, column.label);
    label.addEventListener("click", () => {
      const ascending = label.parentElement.getAttribute("aria-sort") === "ascending";
      const first = column.numeric || column.key === "window" ? `-${column.key}` : column.key;
      const descending = label.parentElement.getAttribute("aria-sort") === "descending";
      this.page = 0;
      this.onSort(ascending ? `-${column.key}` : descending ? column.key : first);
    });
    const note = column.note ? [el("span", { class: "quiet note", title: column.hint }, column.note)] : [];
    return el("th", { scope: "col", "data-col": column.key, class: column.numeric ? "num" : null }, label, ...note);
  }

  #turn(pages) {
    this.page += pages;
    this.#fill();
    this.scroll.scrollTop = 0;
  }

  #fill() {
    const last = Math.max(0, Math.ceil(this.points.length / PAGE) - 1);
    this.page = Math.min(last, Math.max(0, this.page));
    const first = this.page * PAGE;
    const shown = this.points.slice(first, first + PAGE);
    while (this.body.rows.length > shown.length) this.body.lastElementChild.remove();
    shown.forEach((point, at) => {
      const row = this.body.rows[at] ?? this.body.appendChild(this.#row());
      if (point.row.overflow === true || row.dataset.overflow) setAttribute(row, "data-overflow", String(point.row.overflow === true));
      this.columns.forEach((column, place) => fill(row.cells[place], column, point));
    });
    this.pages.hidden = last === 0;
    this.back.disabled = this.page === 0;
    this.next.disabled = this.page === last;
    const hits = this.points.length === this.of ? integer(this.of) : `${integer(this.points.length)} matching of ${integer(this.of)}`;
    const range = last === 0 ? "" : `${integer(first + 1)} to ${integer(first + shown.length)} of `;
    setText(this.count, `${last === 0 ? "Rows: " : "Rows "}${range}${hits}`);
  }

  #row() {
    const row = el("tr");
    for (const column of this.columns) {
      row.append(el("td", { "data-col": column.key, class: column.numeric ? "num" : null }));
    }
    return row;
  }
}

function fill(cell, column, point) {
  const text = column.text(point);
  if (column.link) {
    if (!cell.firstElementChild) cell.append(el("a", {}, text));
    setAttribute(cell.firstElementChild, "href", column.link(point));
    return;
  }
  setText(cell, text);
  if (column.title) setAttribute(cell, "title", column.title(point));
  if (column.state) {
    cell.classList.add("pill");
    setAttribute(cell, "data-state", column.state(point));
  }
  const empty = text === NULL_TEXT || text === OVERFLOW_TEXT || text === "–";
  if (empty !== cell.classList.contains("quiet")) cell.classList.toggle("quiet", empty);
}
