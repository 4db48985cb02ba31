// The two ways data arrives: one GET at the start, and one Server-Sent Events stream after that. One stream
// for the whole page, because a browser opens only six connections to a host.

/** GET of a JSON resource; throws with the server's own words. */
export async function get(path) {
  const response = await fetch(path, { headers: { accept: "application/json" } });
  const body = await response.json();
  if (!response.ok) throw new Error(body?.error?.message ?? `${path} answered ${response.status}`);
  return body;
}

/** POST of a JSON body; throws with the server's own words. */
export async function post(path, body) {
  const headers = { accept: "application/json", "content-type": "application/json" };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer?.error?.message ?? `${path} answered ${response.status}`);
  return answer;
}

/** First wait before a new try, and the longest, in milliseconds. */
const FIRST_RETRY = 500;
const LONGEST_RETRY = 10_000;
/** The server sends something every second; this long without a word, the connection is taken for dead. */
const SILENCE = 15_000;

/**
 * Follows `/api/v1/live` for ever, with back-off and full jitter. `handlers` maps event names to functions of the
 * parsed data; `onState` hears `connecting`, `live` and `lost`.
 */
export function follow(handlers, onState) {
  let retry = FIRST_RETRY;
  let source;
  let silence;

  function heard() {
    clearTimeout(silence);
    silence = setTimeout(again, SILENCE);
  }

  function again() {
    clearTimeout(silence);
    source.close();
    onState("lost");
    setTimeout(open, retry * (0.5 + Math.random() / 2));
    retry = Math.min(retry * 2, LONGEST_RETRY);
  }

  function open() {
    source = new EventSource("/api/v1/live");
    heard();
    source.onopen = () => {
      retry = FIRST_RETRY;
      onState("live");
    };
    source.onerror = again;
    for (const [name, handler] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => {
        heard();
        handler(JSON.parse(event.data));
      });
    }
  }

  onState("connecting");
  open();
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
