// What hangs together: agents, gateways, schemas, streams and views as a graph; one of them in full; and what would break if
// a field of a stream went.

import { format } from "./address.js";
import { get } from "./api.js";
import { el, setAttribute, setText, timeNode } from "./dom.js";
import { integer } from "./format.js";
import { GraphPicture } from "./graphpicture.js";
import { impactNodes } from "./impact.js";
import { KINDS, countOf, drawn, reach, touched } from "./mesh.js";
import { words } from "./path.js";
import { asTable, cell, plainTable } from "./plaintable.js";
import { Latest, later } from "./sections.js";

/** Between two looks at the graph, in milliseconds. */
const AGAIN = 10_000;
const TIMES = new Set(["first_seen", "last_seen", "changed_at", "created_at"]);
/** Nodes that are named in one line, and edges in the table: the API has all of them. */
const NAMED = 100;
const EDGES = 1000;
/** What is told of a node elsewhere, or in another form. */
const APART = new Set(["id", "kind", "name", "fields", "sql", "columns", "configuration", "versions", "rules"]);

export class Graph {
  constructor(address, node) {
    this.address = address;
    this.node = node;
    this.latest = new Latest();
    this.impacts = new Latest();
    this.apart = new Set();
    this.stays = true;
    this.title = el("h2", { id: "graph-title", tabindex: "-1" }, "What hangs together");
    this.notice = el("p", { class: "notice", role: "status", hidden: "" });
    this.counts = el("p", { class: "lead", "data-testid": "graph-counts" });
    this.picture = new GraphPicture(({ members }) => this.#open(members));
    this.list = el("div");
    this.detail = el("section", { class: "panel", "aria-labelledby": "node-title", hidden: "", "data-testid": "node" });
    this.panel = el("section", { class: "panel", "aria-label": "Graph", hidden: "" }, this.picture.node, this.list);
    node.setAttribute("aria-labelledby", "graph-title");
    node.append(this.title, this.counts, this.notice, this.panel, this.detail);
  }

  show(place) {
    const before = this.place;
    this.place = place;
    if (!this.here) this.#read();
    this.here = true;
    if (this.graph && (before?.graph !== place.graph || before?.field !== place.field)) {
      this.impact = undefined;
      this.#render();
      this.#readImpact();
      if (before?.graph !== place.graph && place.graph) this.detail.scrollIntoView({ block: "nearest" });
    }
  }

  leave() {
    this.here = false;
    this.place = undefined;
    this.impact = undefined;
    this.later?.();
    this.latest.forget();
    this.impacts.forget();
  }

  /** Whoever goes from node to node stays in the picture. */
  focus() {
    if (!this.node.contains(document.activeElement)) this.title.focus();
  }

  #read() {
    this.later?.();
    this.later = later(AGAIN, () => this.#read());
    if (!this.graph) this.#tell("Reading …");
    this.latest.ask(
      () => get("/api/v1/graph"),
      (graph) => this.#take(graph),
      (error) => this.#tell(error.status ? error.message : `Cannot be read at present: ${error.message}.${this.graph ? " What is shown may be old." : ""}`, "warn"),
    );
  }

  #take(graph) {
    this.#tell("");
    const fingerprint = JSON.stringify([graph.nodes.map(({ id, connected }) => [id, connected]), graph.edges.map(({ from, to, kind }) => [from, to, kind])]);
    const same = fingerprint === this.fingerprint;
    this.graph = graph;
    this.fingerprint = fingerprint;
    // counts change all the time, and whoever reads is left in peace
    if (same && !this.panel.hidden) return;
    this.#render();
    if (!this.impact) this.#readImpact();
  }

  #readImpact() {
    const [kind, name] = split(this.place.graph);
    this.impacts.forget();
    if (kind !== "stream" || !this.place.field) return;
    const query = new URLSearchParams({ stream: name, field: this.place.field });
    this.impacts.ask(
      () => get(`/api/v1/impact?${query}`),
      (impact) => {
        this.impact = impact;
        this.#render();
      },
      (error) => {
        this.impact = { error: error.message };
        this.#render();
      },
    );
  }

  #open(members) {
    for (const { id } of members) this.apart.add(id);
    this.#render();
  }

  #render() {
    const { graph } = this;
    const chosen = graph.nodes.find(({ id }) => id === this.place.graph);
    const some = graph.nodes.length > 0;
    this.panel.hidden = !some;
    const told = KINDS.map((kind) => [kind, graph.nodes.filter((node) => node.kind === kind).length]).filter(([, count]) => count > 0);
    setText(this.counts, some ? `${told.map(([kind, count]) => countOf(kind, count)).join(", ")}. Lines lead the way that events go.` : "Nothing is there yet. Agents, streams and views appear here as soon as they are known.");
    const apart = chosen ? new Set([...this.apart, chosen.id]) : this.apart;
    const shown = drawn(graph, apart);
    this.picture.show(shown, this.#marks(shown, chosen));
    if (!this.list.firstElementChild || this.listed !== this.fingerprint) {
      this.list.replaceChildren(asTable(edgeTable(graph), { long: true }));
      this.listed = this.fingerprint;
    }
    this.detail.hidden = !chosen && !this.place.graph;
    if (chosen) this.detail.replaceChildren(...this.#nodeNodes(chosen));
    else if (this.place.graph) this.detail.replaceChildren(el("h3", { id: "node-title" }, this.place.graph), el("p", {}, "There is nothing of this name (any more)."));
  }

  /** How each node looks: what is not before or behind the chosen one, or not concerned by a field, steps back. */
  #marks(shown, chosen) {
    const marks = new Map(shown.nodes.map((node) => [node.id, node.connected === false ? { level: "warn" } : {}]));
    if (!chosen) return marks;
    let keep = new Set([chosen.id, ...reach(this.graph.edges, chosen.id, true), ...reach(this.graph.edges, chosen.id, false)]);
    let broken = new Set();
    if (this.impact?.views) ({ broken, concerned: keep } = touched(this.impact));
    for (const node of shown.nodes) {
      const ids = node.members ? node.members.map(({ id }) => id) : [node.id];
      const level = ids.some((id) => broken.has(id)) ? "bad" : marks.get(node.id).level;
      marks.set(node.id, { level, faint: !ids.some((id) => keep.has(id)), selected: node.id === chosen.id });
    }
    return marks;
  }

  #nodeNodes(node) {
    const facts = factsOf(node).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
    const parts = [el("h3", { id: "node-title" }, `${node.kind} ${node.name}`), linkOf(node), el("dl", { class: "facts" }, ...facts)];
    for (const [title, behind] of [["Leads to it", false], ["It leads to", true]]) parts.push(this.#beside(node, title, behind));
    if (node.sql) parts.push(el("pre", {}, node.sql));
    if (node.configuration) parts.push(el("details", {}, el("summary", {}, "Its configuration"), el("pre", {}, JSON.stringify(node.configuration, null, 2))));
    if (node.fields?.length > 0) parts.push(...this.#fields(node));
    if (this.impact) parts.push(...impactNodes(this.impact));
    return parts;
  }

  #beside({ id }, title, behind) {
    const ids = reach(this.graph.edges, id, behind);
    const found = this.graph.nodes.filter((node) => ids.has(node.id));
    if (found.length === 0) return "";
    const groups = KINDS.map((kind) => [kind, found.filter((node) => node.kind === kind)]).filter(([, nodes]) => nodes.length > 0);
    const lists = groups.map(([kind, nodes]) => el("li", {}, `${countOf(kind, nodes.length)}: `, ...linked(nodes)));
    return el("div", {}, el("h4", {}, title), el("ul", { class: "beside-list" }, ...lists));
  }

  #fields(node) {
    const ofStream = node.kind === "stream" ? node.name : node.stream;
    const rows = node.fields.map((field) => {
      const about = [field.required ? "required" : "", field.key ? "key" : "", field.event_time ? "event time" : ""].filter(Boolean).join(", ");
      const current = this.place.field === field.name && node.kind === "stream";
      const link = ofStream ? el("a", { href: format({ graph: `stream:${ofStream}`, field: field.name }), "aria-current": current ? "true" : null, "data-field": field.name }, "what would break without it") : "–";
      return el("tr", {}, cell("Field", field.name, "name"), cell("Type", field.type ?? "–"), cell("About", about || "–"), cell("Impact", link));
    });
    return [el("h4", {}, "Fields"), plainTable(`Fields of ${node.name}`, ["Field", "Type", "About", "Impact"], rows, "fields")];
  }

  #tell(text, level = "info") {
    setText(this.notice, text);
    setAttribute(this.notice, "data-level", level);
    this.notice.hidden = text === "";
  }
}

/** "stream:orders" as kind and name; names may have colons. */
function split(id) {
  const at = (id ?? "").indexOf(":");
  return at < 0 ? ["", ""] : [id.slice(0, at), id.slice(at + 1)];
}

/** Where a node has a page of its own. */
function linkOf({ kind, name }) {
  if (kind === "view") return el("p", {}, el("a", { href: format({ view: name }) }, "Its rows"));
  return kind === "stream" ? el("p", {}, el("a", { href: format({ event: "", stream: name }) }, "Find an event of it")) : "";
}

function linked(nodes) {
  const links = nodes.slice(0, NAMED).flatMap(({ id, name }, at) => [at > 0 ? ", " : "", el("a", { href: format({ graph: id }) }, name)]);
  return nodes.length > NAMED ? [...links, ` and ${integer(nodes.length - NAMED)} more`] : links;
}

/** What is known of a node, as [name, text or element]. */
function factsOf(node) {
  const facts = Object.entries(node).filter(([name, value]) => !APART.has(name) && value !== null && value !== undefined && value !== "");
  const told = facts.map(([name, value]) => [words(name), TIMES.has(name) ? timeNode(value) : factText(value)]);
  if (node.versions?.length > 0) told.push(["versions", node.versions.map(({ version, state }) => `${version}${state && state !== "active" ? ` (${state})` : ""}`).join(", ")]);
  if (node.rules?.length > 0) told.push(["rules", node.rules.map(({ name, sql }) => `${name}: ${sql}`).join("; ")]);
  if (Array.isArray(node.columns)) told.push(["columns", node.columns.map((column) => column.name ?? column).join(", ")]);
  return told;
}

function factText(value) {
  if (typeof value === "number") return integer(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "object") return String(value);
  return Number.isInteger(value.version) ? `version ${value.version}` : JSON.stringify(value);
}

function edgeTable({ nodes, edges }) {
  const names = new Map(nodes.map((node) => [node.id, node]));
  const link = (id) => el("span", {}, `${names.get(id)?.kind ?? ""} `, el("a", { href: format({ graph: id }) }, names.get(id)?.name ?? id));
  const rows = edges.slice(0, EDGES).map((edge) => {
    const events = edge.events === undefined ? "–" : integer(edge.events);
    return el("tr", {}, cell("From", link(edge.from), "name"), cell("What", words(edge.kind)), cell("To", link(edge.to)), cell("Events", events, "num"));
  });
  return plainTable("What hangs together", ["From", "What", "To", "Events"], rows, "graph-edges");
}
