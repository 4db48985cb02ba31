// One view: its chart, its groups, its rows, and what can be done with it.

import { format, timeOnly } from "./address.js";
import { Chart } from "./chart.js";
import { DataTable } from "./datatable.js";
import { DeleteDialog } from "./deletedialog.js";
import { button, el, labelled, setAttribute, setText } from "./dom.js";
import { Feed } from "./feed.js";
import { Slots, bandFigure, barFigure, chartsOf, lineFigure } from "./figures.js";
import { integer, serverNow, span } from "./format.js";
import { calmly } from "./frames.js";
import { GroupFilter } from "./groupfilter.js";
import { measuresOf, shownOf } from "./kinds.js";
import { Bars, Legend, newestValue } from "./legend.js";
import { keyText } from "./rows.js";
import { Remarks, remarksOf } from "./status.js";
import { ViewForm } from "./viewform.js";
import { WhoIsMissing } from "./missing.js";

/** Rows of one reading, and of one group's past; milliseconds between two drawings, and between two fillings of the table. */
const LIMIT = 5000;
const PAST = 1500;
const DRAW_EVERY = 250;
const FILL_EVERY = 1000;
const CHARTS = { lines: "Lines over time", bands: "Percentile band", top: "Largest groups" };

export class Detail {
  constructor(address, view, { deleted }) {
    this.address = address;
    this.view = view;
    this.measures = measuresOf(view).map((column) => column.name);
    this.slots = new Slots();
    this.feed = new Feed(view, { limit: LIMIT, past: PAST, changed: () => this.#changed() });
    this.render = calmly(DRAW_EVERY, () => this.#render());
    this.fill = calmly(FILL_EVERY, () => this.#fill());
    this.dialog = new DeleteDialog(view.name, deleted);
    this.#build();
  }

  #changed() {
    this.render();
    this.fill();
  }

  #build() {
    const { name } = this.view;
    this.title = el("h2", { tabindex: "-1", "data-testid": "view-title" }, name);
    this.edit = el("a", { class: "button", "data-testid": "view-edit" }, "Edit");
    this.back = el("a", { "data-testid": "all-views" }, "All views");
    this.remarks = new Remarks();
    this.notice = el("p", { class: "notice", role: "status" });
    this.chart = new Chart({ chosen: (from, to) => this.#zoom(from, to) });
    this.chart.node.hidden = true;
    this.bars = new Bars((bar) => this.#only(bar));
    this.legend = new Legend((line) => this.#only(line));
    this.meta = el("p", { class: "meta", "data-testid": "chart-meta" });
    this.message = el("p", { class: "chart-empty" });
    this.missing = new WhoIsMissing();
    this.sql = el("pre", {}, this.view.sql);
    this.node = el(
      "div",
      { class: "detail", "data-view": name },
      el("p", { class: "crumbs" }, this.back),
      el("header", { class: "detail-head" }, this.title, el("div", { class: "actions" }, this.edit, button("Delete", () => this.dialog.ask(), { "data-testid": "view-delete" }))),
      this.notice,
      this.remarks.node,
      this.#controls(),
      el("section", { class: "panel chart-panel", "aria-label": "Chart" }, this.meta, this.chart.node, this.bars.node, this.message, this.legend.node, this.missing.node),
      this.#rowsPanel(),
      el("details", { class: "panel sql-panel" }, el("summary", {}, "SQL"), this.sql),
      this.dialog.node,
    );
    this.update(this.view);
  }

  #controls() {
    this.kind = el("select", { "data-testid": "chart-kind" });
    this.kind.append(...chartsOf(this.view).map((kind) => el("option", { value: kind }, CHARTS[kind])));
    this.kind.addEventListener("change", () => this.address.change({ show: this.kind.value }, { remember: true }));
    this.measure = el("select", { "data-testid": "chart-measure" });
    this.measure.append(...this.measures.map((measure) => el("option", { value: measure }, measure)));
    this.measure.addEventListener("change", () => this.address.change({ measure: this.measure.value }, { remember: true }));
    this.groupFilter = new GroupFilter(this.view, {
      groups: () => this.feed.rows.groups.values(),
      chosen: (where) => this.address.change({ where }, { remember: true }),
    });
    this.controls = el("div", { class: "controls" }, labelled("Chart", this.kind), labelled("Measure", this.measure), this.groupFilter.node);
    return this.controls;
  }

  #rowsPanel() {
    this.find = el("input", { type: "search", autocomplete: "off", "data-testid": "rows-find" });
    this.find.addEventListener("input", calmly(150, () => this.address.change({ rows: this.find.value || undefined })));
    this.columns = shownOf(this.view).map(({ name }) => {
      const box = el("input", { type: "checkbox", value: name });
      box.addEventListener("change", () => this.#chooseColumns());
      return box;
    });
    const choices = this.columns.map((box) => el("label", { class: "check" }, box, box.value));
    this.files = ["csv", "parquet"].map((format) => el("a", { download: `${this.view.name}.${format}` }, format === "csv" ? "CSV" : "Parquet"));
    this.older = button("Read older rows", () => this.feed.more(), { "data-testid": "rows-older" });
    this.table = new DataTable({
      caption: `Rows of ${this.view.name}`,
      view: this.view,
      onSort: (sort) => this.address.change({ sort }),
    });
    return el(
      "section",
      { class: "panel rows-panel", "aria-labelledby": "rows-title" },
      el("div", { class: "rows-head" }, el("h3", { id: "rows-title" }, "Rows"), labelled("Find", this.find), el("details", { class: "columns" }, el("summary", {}, "Columns"), el("div", {}, ...choices))),
      this.table.node,
      el("p", { class: "files" }, this.older, "As a file: ", ...this.files),
    );
  }

  #chooseColumns() {
    const chosen = this.columns.filter((box) => box.checked).map((box) => box.value);
    this.address.change({ columns: chosen.length === this.columns.length ? [] : chosen });
  }

  /** The reader has come here, or has chosen something. */
  show(place) {
    this.place = place;
    const kinds = [...this.kind.options].map((option) => option.value);
    this.kind.value = kinds.includes(place.show) ? place.show : kinds[0];
    this.measure.value = this.measures.includes(place.measure) ? place.measure : (this.measures[0] ?? "");
    // of percentiles it only chooses whose they are
    const alone = this.kind.value === "bands" && this.feed.rows.keys.length === 0;
    this.measure.parentElement.hidden = this.measures.length < 2 || alone;
    this.kind.parentElement.hidden = kinds.length < 2;
    if (document.activeElement !== this.find) this.find.value = place.rows ?? "";
    for (const box of this.columns) box.checked = place.columns.length === 0 || place.columns.includes(box.value);
    this.back.href = format(timeOnly(place));
    this.edit.href = ViewForm.linkTo(place, this.view.name);
    this.groupFilter.show(place.where);
    this.feed.aim(place, this.measure.value);
    this.#nameFiles();
    this.#changed();
  }

  /** The newest rows of what is looked at, as the server writes them. */
  #nameFiles() {
    this.files[0].href = this.feed.fileAddress("csv");
    this.files[1].href = this.feed.fileAddress("parquet");
  }

  focus() {
    this.title.focus();
  }

  /** What the server says of the view has changed, but not its definition. */
  update(view) {
    this.view = view;
    this.remarks.show(remarksOf(view));
  }

  #zoom(from, to) {
    this.address.change({ last: undefined, from: Math.floor(from), to: Math.ceil(to) }, { remember: true });
  }

  /** Looks at one group only. */
  #only({ key }) {
    const group = this.feed.rows.groups.get(key);
    if (!group || group.overflow || this.feed.rows.keys.length === 0) return;
    const where = new Map(Object.entries(group.values).map(([name, value]) => [name, keyText(value)]));
    this.address.change({ where }, { remember: true });
  }

  #render() {
    const [measure, kind] = [this.measure.value, this.kind.value];
    const rows = this.feed.hasRows();
    const some = rows && measure !== "";
    this.chart.node.hidden = !some || kind === "top";
    this.bars.node.hidden = !some || kind !== "top";
    this.legend.node.hidden = !some || kind !== "lines";
    this.message.hidden = some;
    if (!some) {
      this.#showEmpty(rows);
      setText(this.meta, `over ${this.view.stream}`);
    } else if (kind === "top") this.#showBars(measure);
    else this.#showChart(measure, kind);
    this.missing.show(this.feed.windows ?? []);
    this.#showNotice();
  }

  #showNotice() {
    const { state, error, truncated } = this.feed;
    let text = "";
    if (state === "deleted") text = `The view ${this.view.name} was deleted. What is shown is what it was.`;
    else if (state === "failed") text = `Cannot be read at present: ${error}. What is shown may be old; it is tried again.`;
    else if (truncated) text = `There are more rows than are shown: the newest are here, and the past of the groups that are drawn. Choose groups or a shorter time to see all of them, or read older rows below the table.`;
    this.older.hidden = this.feed.next === undefined;
    setText(this.notice, text);
    setAttribute(this.notice, "data-level", state === "ready" ? "info" : "warn");
    this.notice.hidden = text === "";
    setAttribute(this.node, "data-state", state);
  }

  #showEmpty(rows) {
    const { from, to } = this.feed.range();
    const ranged = from !== undefined || to !== undefined;
    const newest = button("Show the newest windows", () => this.address.change({ last: undefined, from: undefined, to: undefined }, { remember: true }));
    const every = button("Show all groups", () => this.address.change({ where: new Map() }, { remember: true }));
    let content = ["Reading …"];
    if (rows) content = ["No column of this view is a number: the table has its rows."];
    else if (this.feed.state === "failed" || this.feed.state === "deleted") content = ["Nothing to show."];
    else if (this.feed.state === "ready" && this.place.where.size > 0) content = ["No window of this group. ", every];
    else if (this.feed.state === "ready" && ranged) content = ["No window in this time. ", newest];
    else if (this.feed.state === "ready") content = ["No window yet. Windows appear here with the first event of the stream."];
    const text = content.map((part) => part.textContent ?? part).join("");
    if (this.message.textContent !== text) this.message.replaceChildren(...content);
  }

  #asked(measure) {
    return { view: this.view, rows: this.feed.rows, since: this.feed.since, measure, range: this.feed.range(), now: serverNow(), slots: this.slots };
  }

  #showBars(measure) {
    const { bars, groups, window } = barFigure(this.#asked(measure));
    const when = window ? ` in the window ${span(window.start, window.end)}` : "";
    this.bars.show(bars, `${measure} of the largest groups${when}`);
    setText(this.meta, `${measure} of the ${groups > bars.length ? `${bars.length} largest of ${integer(groups)}` : integer(groups)} groups${when}, over ${this.view.stream}`);
  }

  #showChart(measure, kind) {
    const make = kind === "bands" ? bandFigure : lineFigure;
    const { figure, groups, drawn } = make(this.#asked(measure));
    this.legend.show(figure.lines.map((line) => ({ ...line, value: newestValue(line) })));
    const what = figure.band ? figure.band.columns.map((column) => column.name).join(", ") : measure;
    let which = "";
    if (figure.band && groups > 1) which = ` of ${drawn[0].name}, the largest of ${integer(groups)} groups`;
    else if (groups > drawn.length) which = `, the ${drawn.length} largest of ${integer(groups)} groups`;
    setText(this.meta, `${what}${which}, over ${this.view.stream}`);
    this.chart.show(figure, `${what}${which} over time`);
  }

  #fill() {
    const { sort, rows, columns } = this.place;
    this.table.show(this.feed.points(), { sort, find: rows, columns });
  }

  remove() {
    this.render.cancel();
    this.fill.cancel();
    this.chart.remove();
    this.node.remove();
  }
}
