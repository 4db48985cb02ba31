// Which event to follow: by its name, or by a field's value within a time.

import { eventLink, rangeOf } from "./address.js";
import { get } from "./api.js";
import { button, el, labelled, setText } from "./dom.js";
import { integer, moment, serverNow } from "./format.js";
import { words } from "./path.js";
import { cell, plainTable } from "./plaintable.js";
import { RangeControl } from "./range.js";
import { Latest } from "./sections.js";

/** Events of one answer. */
const LIMIT = 50;
const FIRST_PRESETS = "Any time";
/** Before a field's name, so that it is none of the request's own parameters. */
const FIELD = "field.";

export class EventSearch {
  constructor(address, streams) {
    this.address = address;
    this.streams = streams;
    this.latest = new Latest();
    this.id = el("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "lineage id, or agent/stream/epoch/seq", "data-testid": "event-id" });
    const byName = this.#form("Event by its name", () => this.#follow(), labelled("Event", this.id, "field grow"), el("button", { type: "submit", class: "primary" }, "Follow"));
    this.known = el("datalist", { id: "event-streams" });
    this.stream = el("input", { type: "text", list: "event-streams", autocomplete: "off", spellcheck: "false", "data-testid": "event-stream" });
    this.stream.addEventListener("focus", () => this.known.replaceChildren(...this.streams().map((name) => el("option", { value: name }))));
    this.field = el("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "order_id", "data-testid": "event-field" });
    this.value = el("input", { type: "text", autocomplete: "off", spellcheck: "false", "data-testid": "event-value" });
    this.range = el("div", { class: "range" });
    new RangeControl(address, { node: this.range, id: "event-range", all: FIRST_PRESETS });
    const byField = this.#form(
      "Event by a field",
      () => this.#find(),
      labelled("Stream", this.stream),
      this.known,
      labelled("Field", this.field),
      labelled("Is", this.value),
      this.range,
      el("button", { type: "submit", "data-testid": "event-find" }, "Find"),
    );
    this.problem = el("p", { class: "field-error", role: "alert" });
    this.count = el("p", { class: "meta", role: "status", "data-testid": "event-count" });
    this.list = el("div");
    this.more = button("Look further", () => this.#read(this.next));
    this.more.hidden = true;
    this.found = el("div", { class: "found", hidden: "" }, this.count, this.list, this.more);
    this.node = el("div", { class: "panel event-search" }, byName, byField, this.problem, this.found);
  }

  #form(label, submit, ...parts) {
    const form = el("form", { class: "filters", "aria-label": label, role: "search" }, ...parts);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      submit();
    });
    return form;
  }

  #follow() {
    const id = this.id.value.trim().replace(/^\/+|\/+$/g, "");
    setText(this.problem, id ? "" : "Which event? Write its lineage id, or agent/stream/epoch/seq.");
    if (id) this.address.go({ event: id });
    else this.id.focus();
  }

  #find() {
    const [stream, field, value] = [this.stream, this.field, this.value].map((input) => input.value.trim());
    const [missing] = [[this.stream, stream, "Which stream is it of?"], [this.field, field, "Which field says which event it is?"]].filter(([, text]) => !text);
    setText(this.problem, missing?.[2] ?? "");
    if (missing) {
      missing[0].focus();
      return;
    }
    const { last, from, to } = this.address.place;
    this.asked = undefined;
    this.address.go({ event: "", stream, where: new Map([[field, value]]), last, from, to });
  }

  /** What the address asks for. */
  show(place) {
    this.id.value = place.event;
    const [[field, value] = ["", ""]] = place.where;
    for (const [input, text] of [[this.stream, place.stream], [this.field, field], [this.value, value]]) {
      if (document.activeElement !== input) input.value = text ?? "";
    }
    const wanted = !place.event && place.stream && place.where.size > 0;
    this.found.hidden = !wanted;
    if (!wanted) {
      this.leave();
      return;
    }
    const asked = JSON.stringify([place.stream, [...place.where], place.last, place.from, place.to]);
    if (asked === this.asked) return;
    this.asked = asked;
    this.events = [];
    this.scanned = 0;
    this.place = place;
    this.#read(undefined);
  }

  leave() {
    this.latest.forget();
    this.asked = undefined;
    this.list.replaceChildren();
    setText(this.count, "");
    this.more.hidden = true;
  }

  #read(after) {
    const { stream, where } = this.place;
    const query = new URLSearchParams({ stream, limit: LIMIT });
    for (const [name, value] of where) query.set(FIELD + name, value);
    const { from, to } = rangeOf(this.place, serverNow());
    if (from !== undefined) query.set("from", new Date(from).toISOString());
    if (to !== undefined) query.set("to", new Date(to).toISOString());
    if (after !== undefined) query.set("next", after);
    this.more.hidden = true;
    setText(this.count, "Looking …");
    this.latest.ask(
      () => get(`/api/v1/events?${query}`),
      (answer) => this.#take(answer),
      (error) => {
        setText(this.count, "");
        setText(this.problem, error.message);
      },
    );
  }

  #take({ events, scanned_entries: scanned, next }) {
    setText(this.problem, "");
    this.events.push(...events);
    this.scanned += scanned ?? 0;
    this.next = next ?? undefined;
    this.more.hidden = this.next === undefined;
    const [one] = this.events;
    const count = this.events.length;
    const found = count === 0 ? "No event" : count === 1 ? "1 event" : `${integer(count)} events`;
    const open = this.next === undefined ? "" : ", and not all of the time is looked through yet";
    const hint = one || this.next !== undefined ? "" : ". Is the field written as in the events, and the time long enough?";
    setText(this.count, `${found} in ${integer(this.scanned)} batches${open}${hint}`);
    this.list.replaceChildren(...(one ? [this.#table()] : []));
  }

  #table() {
    const rows = this.events.map((event) => {
      const link = el("a", { href: eventLink(event.lineage_id) }, el("code", {}, event.lineage_id));
      const time = event.event_time ? moment(Date.parse(event.event_time)) : "–";
      return el("tr", {}, cell("Event", link, "name"), cell("Event time", time), cell("Agent", event.agent), cell("Seq", integer(event.seq), "num"), cell("Outcome", words(event.outcome)));
    });
    return plainTable("Events found", ["Event", "Event time", "Agent", "Seq", "Outcome"], rows, "events-found");
  }
}
