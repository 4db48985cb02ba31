// One event followed: found by its name or by a field, then its path as a picture, and the same as a table.

import { eventLink, explainLink, format } from "./address.js";
import { get } from "./api.js";
import { el, setAttribute, setText } from "./dom.js";
import { EventSearch } from "./eventsearch.js";
import { integer, lapse, moment, percent } from "./format.js";
import { doubtOf, groupText, isPending, pathOf, timesOf, verdictOf, windowText, words } from "./path.js";
import { PathPicture } from "./pathpicture.js";
import { asTable, cell, plainTable, traceNode } from "./plaintable.js";
import { Latest, later } from "./sections.js";

/** Between two looks at an event that is still on its way, in milliseconds. */
const AGAIN = 2000;
/** Windows of the table: a HOP window may have thousands. */
const WINDOWS = 500;

export class FollowEvent {
  constructor(address, node, { streams }) {
    this.address = address;
    this.node = node;
    this.latest = new Latest();
    this.title = el("h2", { id: "event-title", tabindex: "-1" }, "Follow an event");
    this.search = new EventSearch(address, streams);
    this.notice = el("p", { class: "notice", role: "status", hidden: "" });
    this.picture = new PathPicture();
    this.content = el("div", { class: "followed", hidden: "" });
    node.setAttribute("aria-labelledby", "event-title");
    node.append(this.title, this.search.node, this.notice, this.content);
  }

  show(place) {
    this.search.show(place);
    if (place.event === this.id) return;
    this.#stop();
    this.id = place.event;
    this.content.hidden = true;
    this.#tell("");
    if (this.id) this.#read(this.id);
  }

  leave() {
    this.#stop();
    this.search.leave();
    this.id = undefined;
  }

  #stop() {
    this.later?.();
    this.latest.forget();
  }

  focus() {
    this.title.focus();
  }

  #read(id) {
    if (this.content.hidden) this.#tell("Reading …");
    const path = id.split("/").map(encodeURIComponent).join("/");
    this.latest.ask(
      () => get(`/api/v1/events/${path}`),
      (event) => this.#take(id, event),
      (error) => this.#fail(error),
    );
  }

  #fail(error) {
    this.content.hidden = true;
    this.#tell(error.status ? error.message : `Cannot be read at present: ${error.message}.`, "warn");
  }

  #take(id, event) {
    const fingerprint = JSON.stringify(event);
    if (isPending(event)) this.later = later(AGAIN, () => this.#read(id));
    if (!this.content.hidden && fingerprint === this.fingerprint) return;
    this.fingerprint = fingerprint;
    this.#tell("");
    this.content.replaceChildren(...this.#nodes(event));
    this.content.hidden = false;
  }

  #nodes(event) {
    const path = pathOf(event);
    const verdict = verdictOf(event);
    const parts = [
      headOf(event),
      el("p", { class: "verdict", "data-level": verdict.level, role: "status", "data-testid": "event-verdict" }, verdict.text),
      ...keptNodes(event),
    ];
    if (path.stops.length > 0) {
      this.picture.show(path);
      parts.push(el("section", { class: "panel", "aria-labelledby": "path-title" }, el("h3", { id: "path-title" }, "Its path"), ...timeBar(event), this.picture.node, asTable(hopTable(path))));
    }
    if (event.dead_letter) parts.push(letterNode(event.dead_letter));
    if (event.windows?.length > 0 || event.not_counted?.length > 0) parts.push(windowsNode(event));
    parts.push(proofNode(event));
    return parts;
  }

  #tell(text, level = "info") {
    setText(this.notice, text);
    setAttribute(this.notice, "data-level", level);
    this.notice.hidden = text === "";
  }
}

function headOf(event) {
  const name = [event.agent, event.stream, event.epoch, event.seq].join("/");
  const beside = (seq) => eventLink([event.agent, event.stream, event.epoch, seq].join("/"));
  const facts = [
    ["Lineage id", el("code", { "data-testid": "lineage-id" }, event.lineage_id)],
    ["Agent / stream / epoch / seq", el("code", {}, name)],
    ["Lane", integer(event.lane)],
  ];
  if (event.schema) facts.push(["Schema", `version ${event.schema.version}`]);
  const { application_trace: app, trace_id: trace } = event;
  if (trace) facts.push(["Trace of its batch", traceNode({ id: trace, url: event.hops?.find((hop) => hop.trace_id === trace)?.trace_url })]);
  if (app) facts.push(["Trace of its application", traceNode({ id: app.trace_id, url: app.trace_url })]);
  const before = event.seq > 1 ? [el("a", { href: beside(event.seq - 1), rel: "prev" }, "Event before it")] : [];
  return el(
    "header",
    { class: "event-head" },
    el("dl", { class: "facts" }, ...facts.flatMap(([title, value]) => [el("dt", {}, title), el("dd", {}, value)])),
    el("p", { class: "neighbours" }, ...before, el("a", { href: beside(event.seq + 1), rel: "next" }, "Event after it")),
  );
}

/** What is no longer kept, and since when, in the words of the API. */
function keptNodes({ message, kept }) {
  const lines = message ? [message] : [];
  const since = (at) => (at ? ` since ${moment(Date.parse(at))}` : "");
  if (kept?.row === false && !message) lines.push(`The event itself is no longer kept${since(kept.row_until)}.`);
  if (kept?.hops === false && !message) lines.push(`Its hops are no longer kept${since(kept.hops_until)}.`);
  return lines.map((line) => el("p", { class: "notice", "data-level": "info" }, line));
}

/** Where the time went, to scale. */
function timeBar(event) {
  const { times, all, differ } = timesOf(event);
  if (times.length === 0) return [];
  const share = (millis) => (all > 0 ? Math.max(0, millis) / all : 0);
  const segments = times.map(({ millis }, at) => {
    const segment = el("span", { "data-slot": String(at) });
    segment.style.flexGrow = String(share(millis));
    return segment;
  });
  const told = times.map(({ title, millis }, at) =>
    el("li", { "data-slot": String(at) }, el("span", { class: "legend-text" }, el("span", {}, title), el("span", { class: "group-value" }, `${lapse(millis)}${all > 0 ? `, ${percent(share(millis))}` : ""}`))),
  );
  const skew = differ ? " The clocks of its hosts differ, so that a part seems to be less than nothing." : "";
  return [
    el("p", { class: "meta" }, `${lapse(all)} from taking in to commit.${skew}`),
    el("div", { class: "time-bar", "aria-hidden": "true" }, ...segments),
    el("ul", { class: "legend", "aria-label": "Where the time went" }, ...told),
  ];
}

function hopTable({ places, stops }) {
  const rows = stops.filter((stop) => stop.hop !== "view").map((stop) => {
    const place = places[stop.place];
    const cells = [
      ["Hop", stop.title, "name"],
      ["Where", [place.title, place.key === "views" ? "" : place.name].filter(Boolean).join(" ")],
      ["When", stop.at === undefined ? "–" : moment(stop.at)],
      ["After", stop.gap === undefined ? "–" : lapse(stop.gap), "num"],
      ["What", stop.detail, "wide"],
      ["Trace", stop.trace ? traceNode(stop.trace) : "–"],
    ];
    return el("tr", { "data-hop": stop.hop, "data-level": stop.level }, ...cells.map(([label, value, name]) => cell(label, value, name)));
  });
  return plainTable("Hops of the event", ["Hop", "Where", "When", "After", "What", "Trace"], rows, "hops");
}

function windowsNode({ windows = [], not_counted: others = [] }) {
  const linkTo = (view) => el("a", { href: format({ view }) }, view);
  const counted = windows.slice(0, WINDOWS).map((hit) => {
    const doubt = doubtOf(hit);
    const explain = hit.expired ? "–" : el("a", { href: explainLink(hit.view, hit, hit.group) }, "explain");
    return el("tr", {}, cell("View", linkTo(hit.view), "name"), cell("Window", windowText(hit)), cell("Group", groupText(hit) || "–"), cell("Counted", doubt || "counted"), cell("Row", explain));
  });
  const not = others.map(({ view, message, why }) =>
    el("tr", {}, cell("View", linkTo(view), "name"), cell("Window", "–"), cell("Group", "–"), cell("Counted", `not counted: ${message ?? words(why)}`, "wide"), cell("Row", "–")),
  );
  const more = windows.length > WINDOWS ? [el("p", { class: "meta" }, `The first ${integer(WINDOWS)} of ${integer(windows.length)} windows.`)] : [];
  const table = plainTable("Windows of the event", ["View", "Window", "Group", "Counted", "Row"], [...counted, ...not], "event-windows");
  return el("section", { class: "panel", "aria-labelledby": "windows-title" }, el("h3", { id: "windows-title" }, "Its windows"), ...more, table);
}

function letterNode(letter) {
  const reasons = letter.reasons.map((reason) => el("li", {}, el("code", {}, reason.path || "(whole event)"), ` ${reason.message} `, el("span", { class: "quiet" }, `rule ${reason.rule}`)));
  const payload = el("pre", {}, letter.payload ?? `(not text, in base64)\n${letter.payload_base64}`);
  return el("section", { class: "panel", "aria-labelledby": "letter-title" }, el("h3", { id: "letter-title" }, `Dead letter #${letter.id}`), el("ul", { class: "reasons" }, ...reasons), payload);
}

/** What proves that it was received. */
function proofNode(event) {
  const committed = !["not_committed"].includes(event.outcome);
  const file = `receipt-${event.lineage_id}.json`;
  const link = committed
    ? el("a", { class: "button", href: `/api/v1/events/${event.lineage_id}/receipt`, download: file, "data-testid": "receipt" }, "Download its receipt")
    : "There is a receipt as soon as it is committed.";
  const check = `tributary-audit-verify --key audit.pub --head kept.txt ${file}`;
  return el(
    "section",
    { class: "panel", "aria-labelledby": "proof-title" },
    el("h3", { id: "proof-title" }, "Proof that it was received"),
    el("p", {}, "A receipt proves, without this aggregator, that the event was received at its time. It stays valid for ever. ", el("a", { href: "/?audit=" }, "How to check it")),
    el("p", {}, link),
    el("pre", {}, check),
  );
}
