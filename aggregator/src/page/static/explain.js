// Why a row is what it is: which agents, gateways and schema versions its events came by, with counts that add up, and the
// events themselves by ranges.

import { eventLink, format, timeOnly } from "./address.js";
import { get } from "./api.js";
import { button, el, setAttribute, setText } from "./dom.js";
import { integer, moment } from "./format.js";
import { balanceOf, joined, versionText } from "./origins.js";
import { OriginsPicture } from "./originspicture.js";
import { groupText, windowText } from "./path.js";
import { asTable, cell, plainTable, traceNode } from "./plaintable.js";
import { Latest } from "./sections.js";

/** Pages that are read without being asked for: each is a thousand ranges. */
const PAGES = 4;
/** Ranges that the table shows at once. */
const RANGES = 200;
/** Times that one that changed meanwhile is begun again. */
const AGAIN = 3;

export class Explain {
  constructor(address, node) {
    this.address = address;
    this.node = node;
    this.latest = new Latest();
    this.title = el("h2", { id: "explain-title", tabindex: "-1" }, "Why this row");
    this.back = el("a", {}, "");
    this.what = el("p", { class: "lead" });
    this.notice = el("p", { class: "notice", role: "status", hidden: "" });
    this.balance = el("p", { class: "verdict", role: "status", "data-testid": "balance" });
    this.missing = el("p", { class: "notice", "data-level": "info" });
    this.picture = new OriginsPicture();
    this.tables = el("div");
    this.more = button("Read on", () => this.#read(this.pages + PAGES), { "data-testid": "explain-more" });
    const ways = el("section", { class: "panel", "aria-labelledby": "origins-title" }, el("h3", { id: "origins-title" }, "Where its events came by"), this.picture.node, this.tables);
    this.content = el("div", { hidden: "" }, this.balance, this.missing, this.more, ways);
    this.ranges = el("section", { class: "panel", "aria-labelledby": "ranges-title", hidden: "" });
    node.setAttribute("aria-labelledby", "explain-title");
    node.append(el("p", { class: "crumbs" }, this.back), this.title, this.what, this.notice, this.content, this.ranges);
  }

  show(place) {
    const asked = addressOf(place);
    setText(this.back, place.view);
    this.back.href = format({ ...timeOnly(place), view: place.view });
    if (asked === this.asked) return;
    this.leave();
    this.asked = asked;
    this.view = place.view;
    this.restarts = 0;
    setText(this.what, "");
    this.#begin();
  }

  leave() {
    this.latest.forget();
    this.asked = undefined;
  }

  focus() {
    this.title.focus();
  }

  #begin() {
    this.answer = undefined;
    this.pages = 0;
    this.content.hidden = true;
    this.ranges.hidden = true;
    this.#tell("Reading …");
    this.#read(PAGES);
  }

  #read(upTo) {
    const next = this.answer?.next;
    this.more.hidden = true;
    this.latest.ask(
      () => get(this.asked + (next ? `&next=${encodeURIComponent(next)}` : "")),
      (page) => this.#take(page, upTo),
      (error) => this.#fail(error),
    );
  }

  #fail(error) {
    if (error.detail?.code === "window_changed" && this.restarts < AGAIN) {
      this.restarts += 1;
      this.#begin();
      return;
    }
    this.#tell(error.status ? error.message : `Cannot be read at present: ${error.message}.`, "warn");
  }

  #take(page, upTo) {
    this.answer = joined(this.answer, page);
    this.pages += 1;
    this.#tell("");
    this.#render();
    if (page.next && this.pages < upTo) this.#read(upTo);
    else this.more.hidden = !page.next;
  }

  #render() {
    const { answer } = this;
    const rows = answer.groups > 1 ? `all ${integer(answer.groups)} groups` : groupText(answer) || "the only group";
    setText(this.what, `${this.view}, ${windowText(answer)}, ${rows}: ${integer(answer.events)} events of ${answer.stream}.`);
    const { level, text } = balanceOf(answer);
    setText(this.balance, text);
    setAttribute(this.balance, "data-level", level);
    const gone = answer.not_kept;
    setText(this.missing, gone ? `${integer(gone.events)} events are no longer kept: ${gone.why}` : "");
    this.missing.hidden = !gone;
    this.content.hidden = false;
    this.picture.show(answer);
    this.tables.replaceChildren(asTable(partsTable(answer)));
    this.ranges.replaceChildren(...rangeNodes(answer));
    this.ranges.hidden = answer.lanes.length === 0;
  }

  #tell(text, level = "info") {
    setText(this.notice, text);
    setAttribute(this.notice, "data-level", level);
    this.notice.hidden = text === "";
  }
}

/** Keys that are null are given as no text. */
function addressOf({ view, explain, where, overflow }) {
  const query = new URLSearchParams();
  if (explain) query.set("window_start", explain);
  if (overflow) query.set("overflow", "true");
  for (const [name, value] of where) query.set(name, value);
  return `/api/v1/views/${encodeURIComponent(view)}/explain?${query}`;
}

function partsTable({ agents, gateways, schemas, lanes }) {
  const row = (kind, name, events) => el("tr", {}, cell("What", kind), cell("Which", name, "name"), cell("Events", integer(events), "num"));
  const rows = [
    ...agents.map(({ agent, events }) => row("agent", agent, events)),
    ...gateways.map(({ gateway, events }) => row("gateway", gateway ?? "none: dead letters that were replayed", events)),
    ...schemas.map(({ version, events }) => row("schema", version === null || version === undefined ? "none" : `version ${version}`, events)),
    ...lanes.map((lane) => row("lane", `${lane.agent}/${lane.stream}/${lane.epoch}, seqs ${integer(lane.first_seq)} to ${integer(lane.last_seq)}`, lane.events)),
  ];
  return plainTable("Where the row's events came by", ["What", "Which", "Events"], rows, "origins");
}

function rangeNodes({ lanes }) {
  const all = lanes.flatMap((lane) => lane.ranges.map((range) => ({ lane, range }))).sort((a, b) => a.range.position - b.range.position);
  const rows = all.slice(0, RANGES).map(rangeRow);
  const heads = ["Lane", "Events", "First", "Last", "Position", "Committed", "Gateway", "Schema", "Trace"];
  const more = all.length > RANGES ? [el("p", { class: "meta" }, `The first ${integer(RANGES)} of ${integer(all.length)}; the API has all of them.`)] : [];
  return [
    el("h3", { id: "ranges-title" }, "Its events"),
    el("p", { class: "meta" }, "By batches. Between the first and the last event of a batch may be some that went into other rows."),
    ...more,
    plainTable("Ranges of the row's events", heads, rows, "ranges"),
  ];
}

function rangeRow({ lane, range }) {
  const link = (seq) => el("a", { href: eventLink([lane.agent, lane.stream, lane.epoch, seq].join("/")), "aria-label": `Event ${seq}` }, integer(seq));
  return el(
    "tr",
    {},
    cell("Lane", `${lane.agent}/${lane.stream}/${lane.epoch}`, "name"),
    cell("Events", integer(range.events), "num"),
    cell("First", link(range.first_seq), "num"),
    cell("Last", link(range.last_seq), "num"),
    cell("Position", integer(range.position), "num"),
    cell("Committed", range.committed_at ? moment(Date.parse(range.committed_at)) : "–"),
    cell("Gateway", range.replayed ? "replayed" : (range.gateway ?? "–")),
    cell("Schema", versionText(range)),
    cell("Trace", range.trace_id ? traceNode({ id: range.trace_id, url: range.trace_url }) : "–"),
  );
}
