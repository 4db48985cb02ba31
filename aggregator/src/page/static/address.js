// What the address bar says: which section, which view, which time, which groups, which columns. Whoever opens the same
// address sees the same, so everything that a reader chooses lives here and nowhere else.

/** Units of `last`, in milliseconds. */
const UNITS = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const WHERE = "where.";
const TEXTS = ["view", "find", "last", "show", "measure", "sort", "rows", "stream", "field", "before"];
/** Sections with a page of their own. What they show is their value; without one, what they begin with. */
const SECTIONS = ["event", "explain", "graph", "audit"];
const TIMES = ["from", "to"];
const FLAGS = ["edit", "new", "overflow"];

/** "90m" in milliseconds; undefined when it is no duration. */
export function duration(text) {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(text ?? "") ?? [];
  return unit && Number(count) > 0 ? Number(count) * UNITS[unit] : undefined;
}

/** The place that a query string names. Unknown and malformed parts are left out. */
export function parse(search) {
  const query = new URLSearchParams(search);
  const place = { columns: query.getAll("column"), where: new Map() };
  for (const name of TEXTS) if (query.get(name)) place[name] = query.get(name);
  for (const name of SECTIONS) if (query.has(name)) place[name] = query.get(name);
  for (const name of FLAGS) if (query.has(name)) place[name] = true;
  for (const name of TIMES) {
    const at = Date.parse(query.get(name) ?? "");
    if (Number.isFinite(at)) place[name] = at;
  }
  for (const [name, value] of query) if (name.startsWith(WHERE)) place.where.set(name.slice(WHERE.length), value);
  if (duration(place.last) === undefined) delete place.last;
  return place;
}

/** The query string of a place; `parse` reads it back. */
export function format(place) {
  const query = new URLSearchParams();
  for (const name of TEXTS) if (place[name]) query.set(name, place[name]);
  for (const name of SECTIONS) if (place[name] !== undefined) query.set(name, place[name]);
  for (const name of FLAGS) if (place[name]) query.set(name, "1");
  for (const name of TIMES) if (place[name] !== undefined) query.set(name, new Date(place[name]).toISOString());
  for (const name of place.columns ?? []) query.append("column", name);
  for (const [name, value] of place.where ?? []) query.set(WHERE + name, value);
  const text = query.toString();
  return text ? `/?${text}` : "/";
}

/** Which section a place is of: `event`, `explain`, `graph`, `audit`, or `views`. */
export function sectionOf(place) {
  const [section] = SECTIONS.filter((name) => place[name] !== undefined && (name !== "explain" || place.view));
  return section ?? "views";
}

/** The address of an event's path, by its lineage id or as agent/stream/epoch/seq. */
export function eventLink(id) {
  return format({ event: id });
}

/**
 * The address of what a view's row is made of: `group` are its keys, of which one that is null is no text. A window without
 * a start is that of a view without windows.
 */
export function explainLink(view, { window_start: start, overflow }, group) {
  if (overflow) return format({ view, explain: start ?? "", overflow: true });
  const text = (value) => (value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));
  const where = new Map(Object.entries(group ?? {}).map(([name, value]) => [name, text(value)]));
  return format({ view, explain: start ?? "", where });
}

/** The time that a place asks for, `now` being the server's: {from?, to?}, in milliseconds. */
export function rangeOf(place, now) {
  const length = duration(place.last);
  if (length !== undefined) return { from: now - length };
  return { from: place.from, to: place.to };
}

/** A place with only what holds for every view: the time. */
export function timeOnly({ last, from, to }) {
  return { last, from, to, columns: [], where: new Map() };
}

/** The present place, and who hears when it changes. */
export class Address {
  constructor() {
    this.listeners = [];
    this.place = parse(location.search);
    addEventListener("popstate", () => this.#arrive(false));
    document.addEventListener("click", (event) => this.#follow(event));
  }

  /** `listener(place, before, travelled)`: `travelled` when a link or the back button led here. */
  listen(listener) {
    this.listeners.push(listener);
  }

  /** Changes some parts. A new entry in the history only for what a reader would want to go back to. */
  change(parts, { remember = false } = {}) {
    const address = format({ ...this.place, ...parts });
    if (address === location.pathname + location.search) return;
    if (remember) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    this.#arrive(false);
  }

  /** Goes to another place altogether. */
  go(place) {
    history.pushState(null, "", format(place));
    this.#arrive(true);
  }

  #arrive(travelled) {
    const before = this.place;
    this.place = parse(location.search);
    for (const listener of this.listeners) listener(this.place, before, travelled);
  }

  /** Links within the page load nothing anew. */
  #follow(event) {
    const link = event.target.closest?.("a[href]");
    if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    // a link in a picture has no text as its `href`
    const url = new URL(link.getAttribute("href"), location.href);
    if (url.origin !== location.origin || url.pathname !== "/" || link.hasAttribute("target") || link.hasAttribute("download")) return;
    if (url.search === location.search && url.hash) return;
    event.preventDefault();
    history.pushState(null, "", url.pathname + url.search + url.hash);
    this.#arrive(true);
    if (url.hash) document.getElementById(url.hash.slice(1))?.scrollIntoView();
  }
}
