// A view among others: a small chart, what is drawn, and its rows as a table for who opens it. Nothing is read or drawn
// before the card comes into view.

import { format, timeOnly } from "./address.js";
import { Chart } from "./chart.js";
import { DataTable } from "./datatable.js";
import { el, setText } from "./dom.js";
import { Feed } from "./feed.js";
import { Slots, bandFigure, barFigure, chartsOf, lineFigure } from "./figures.js";
import { integer, serverNow } from "./format.js";
import { calmly, unwatch, watch } from "./frames.js";
import { measuresOf } from "./kinds.js";
import { Bars, Legend, newestValue } from "./legend.js";
import { Remarks, remarksOf } from "./status.js";

/** Rows of one reading, rows of one group's past, and milliseconds between two drawings. */
const LIMIT = 1000;
const PAST = 200;
const DRAW_EVERY = 500;

export class Card {
  /** `seen(card)` hears of coming into view and leaving it. */
  constructor(view, { seen }) {
    this.view = view;
    this.measures = measuresOf(view).map((column) => column.name);
    this.kind = chartsOf(view)[0];
    this.slots = new Slots();
    this.feed = new Feed(view, { limit: LIMIT, past: PAST, changed: () => this.changed() });
    this.changed = calmly(DRAW_EVERY, () => this.#render());
    this.#build(seen);
  }

  #build(seen) {
    const { name } = this.view;
    this.select = el("select", { "aria-label": `Measure of ${name}`, "data-testid": "measure" });
    this.select.append(...this.measures.map((measure) => el("option", { value: measure }, measure)));
    this.select.hidden = this.measures.length < 2 || this.kind === "bands";
    this.select.addEventListener("change", () => this.look(this.place));
    this.link = el("a", {}, name);
    this.meta = el("p", { class: "meta" });
    this.remarks = new Remarks();
    this.chart = new Chart();
    this.bars = new Bars();
    this.legend = new Legend();
    this.message = el("p", { class: "chart-empty" }, "Reading …");
    this.table = new DataTable({ caption: `Rows of ${name}`, view: this.view, onSort: (sort) => this.#sort(sort) });
    this.details = el("details", {}, el("summary", {}, "Table"), this.table.node);
    this.details.addEventListener("toggle", () => this.#fillTable());
    this.node = el(
      "article",
      { class: "view", "data-view": name, "aria-label": `View ${name}` },
      el("header", {}, el("h3", {}, this.link), this.select),
      this.meta,
      this.remarks.node,
      this.chart.node,
      this.bars.node,
      this.message,
      this.legend.node,
      this.details,
    );
    this.chart.node.hidden = true;
    this.bars.node.hidden = true;
    this.node.classList.add(`chart-${this.kind}`);
    this.update(this.view);
    watch(this, this.node, (inView) => this.#seen(inView, seen));
  }

  #seen(inView, seen) {
    if (inView && this.place) {
      this.feed.aim(this.place, this.select.value);
      // what came while nobody looked was not drawn
      this.changed();
    }
    seen(this);
  }

  /** What the server says of the view has changed, but not its definition. */
  update(view) {
    this.remarks.show(remarksOf(view));
  }

  /** {inView, draw} of `watch`: a card draws through its chart. */
  draw() {}

  /** Shows this time; groups are chosen on the view's own page. */
  look(place) {
    this.place = timeOnly(place);
    this.link.href = format({ ...this.place, view: this.view.name });
    if (this.inView) this.feed.aim(this.place, this.select.value);
    this.changed();
  }

  #sort(sort) {
    this.sort = sort;
    this.#fillTable();
  }

  #fillTable() {
    if (this.details.open) this.table.show(this.feed.points(), { sort: this.sort });
  }

  #render() {
    if (!this.inView) return;
    const measure = this.select.value;
    const rows = this.feed.hasRows();
    const some = rows && measure !== "";
    this.chart.node.hidden = !some || this.kind === "top";
    this.bars.node.hidden = !some || this.kind !== "top";
    this.message.hidden = some;
    this.legend.node.hidden = !some;
    setText(this.message, this.#emptyText());
    if (some) this.#draw(measure);
    this.#fillTable();
  }

  #emptyText() {
    if (this.feed.hasRows()) return "No column of numbers: the table has the rows.";
    if (this.feed.state === "loading") return "Reading …";
    if (this.feed.error) return `Cannot be read: ${this.feed.error}`;
    const { from, to } = this.feed.range();
    if (from !== undefined || to !== undefined) return "No window in this time.";
    return "No window yet. Windows appear here with the first event of the stream.";
  }

  #draw(measure) {
    const asked = { view: this.view, rows: this.feed.rows, since: this.feed.since, measure, range: this.feed.range(), now: serverNow(), slots: this.slots };
    if (this.kind === "top") {
      const { bars, groups } = barFigure(asked);
      this.bars.show(bars.slice(0, 8), `${measure} of ${this.view.name}, largest groups`);
      this.#tell(measure, Math.min(8, bars.length), groups);
      return;
    }
    const make = this.kind === "bands" ? bandFigure : lineFigure;
    const { figure, groups, drawn } = make(asked);
    const lines = figure.band ? [] : figure.lines;
    this.chart.show(figure, `${measure} of view ${this.view.name} over time, ${drawn.length} of ${groups} groups drawn`);
    this.legend.show(lines.length > 1 ? lines.map((line) => ({ ...line, value: newestValue(line) })) : []);
    this.#tell(figure.band ? figure.band.columns.map((column) => column.name).join(", ") : measure, drawn.length, groups);
  }

  #tell(what, drawn, groups) {
    const limited = groups > drawn ? `, the ${drawn} largest of ${integer(groups)} groups` : "";
    setText(this.meta, `${what} over ${this.view.stream}${limited}`);
  }

  remove() {
    this.changed.cancel();
    this.chart.remove();
    unwatch(this, this.node);
    this.node.remove();
  }
}
