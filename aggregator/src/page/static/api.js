// The two ways data arrives: one GET at the start, and one Server-Sent Events stream after that. One stream
// for the whole page, because a browser opens only six connections to a host.

/** Requests at the same time: the live stream needs one of a browser's six connections, and a person another. */
const REQUESTS = 3;

/** What the server refused: its words, and what else it said (`line`, `column`, `hint` …). */
export class ApiError extends Error {
  constructor(status, detail, path) {
    super(detail?.message ?? `${path} answered ${status}`);
    this.status = status;
    this.detail = detail ?? {};
  }
}

let running = 0;
const queue = [];

async function turn() {
  if (running >= REQUESTS) await new Promise((resolve) => queue.push(resolve));
  else running += 1;
}

function done() {
  const next = queue.shift();
  if (next) next();
  else running -= 1;
}

async function call(method, path, body) {
  await turn();
  try {
    const headers = { accept: "application/json" };
    if (body !== undefined) headers["content-type"] = "application/json";
    const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) }).catch(() => {
      throw new Error("the aggregator cannot be reached");
    });
    const text = await response.text();
    const answer = response.headers.get("content-type")?.includes("json") ? JSON.parse(text) : undefined;
    if (!response.ok) throw new ApiError(response.status, answer?.error, path);
    return answer;
  } finally {
    done();
  }
}

/** A JSON resource; throws an `ApiError` with the server's own words. */
export function get(path) {
  return call("GET", path);
}

export function post(path, body) {
  return call("POST", path, body);
}

export function put(path, body) {
  return call("PUT", path, body);
}

export function remove(path) {
  return call("DELETE", path);
}

/** First wait before a new try, and the longest, in milliseconds. */
const FIRST_RETRY = 500;
const LONGEST_RETRY = 10_000;
/** The server sends something every second; this long without a word, the connection is taken for dead. */
const SILENCE = 15_000;

/** Between a change of what is looked at and asking for that, in milliseconds: scrolling changes it all the time. */
const SETTLE = 400;

/**
 * Follows `/api/v1/live` for ever, with back-off and full jitter, over one connection. `handlers` maps event names to
 * functions of the parsed data; `onState` hears `connecting`, `live` and `lost`, `onLook` the views that are followed from now
 * on and were not before: what changed in them until now was not told.
 */
export class Live {
  constructor(handlers, onState, onLook) {
    Object.assign(this, { handlers, onState, onLook });
    this.followed = new Set();
    this.retry = FIRST_RETRY;
    this.views = "";
    onState("connecting");
    this.#open();
  }

  /** Rows of these views only. What comes meanwhile is not missed: the old connection goes when the new one is there. */
  look(names) {
    const views = [...names].sort().join(",");
    if (views === this.views) return;
    this.views = views;
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.#open(), SETTLE);
  }

  #heard() {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.#again(), SILENCE);
  }

  #again() {
    clearTimeout(this.silence);
    clearTimeout(this.reopening);
    this.source.close();
    this.newer?.close();
    this.newer = undefined;
    this.followed.clear();
    this.onState("lost");
    this.reopening = setTimeout(() => this.#open(), this.retry * (0.5 + Math.random() / 2));
    this.retry = Math.min(this.retry * 2, LONGEST_RETRY);
  }

  #open() {
    clearTimeout(this.reopening);
    this.newer?.close();
    const names = this.views.split(",").filter(Boolean);
    const source = new EventSource(`/api/v1/live?views=${encodeURIComponent(this.views)}`);
    this.newer = source;
    this.source ??= source;
    source.onopen = () => {
      if (this.newer !== source) return;
      this.newer = undefined;
      if (this.source !== source) this.source.close();
      this.source = source;
      this.retry = FIRST_RETRY;
      this.#heard();
      this.onState("live");
      const added = names.filter((name) => !this.followed.has(name));
      this.followed = new Set(names);
      if (added.length > 0) this.onLook(added);
    };
    source.onerror = () => {
      if (source === this.source || source === this.newer) this.#again();
    };
    for (const [name, handler] of Object.entries(this.handlers)) {
      source.addEventListener(name, (event) => {
        this.#heard();
        handler(JSON.parse(event.data));
      });
    }
    this.#heard();
  }
}

/**
 * Reads a resource again when its fingerprint has changed since the last read that worked. One read at a time:
 * what changes meanwhile is caught by the next call.
 */
export class Refresher {
  constructor(read) {
    this.read = read;
    this.busy = false;
    this.seen = undefined;
  }

  async offer(fingerprint) {
    if (this.busy || fingerprint === this.seen) return;
    this.busy = true;
    try {
      await this.read();
      this.seen = fingerprint;
    } finally {
      this.busy = false;
    }
  }
}
