// An event's path, from what the API says to what is drawn and told: stops at places, in order. Pure.

import { integer, lapse, span } from "./format.js";

/** Where a stop is: columns of the picture. */
export const PLACES = ["agent", "gateway", "aggregator", "views"];
const TITLES = { agent: "Edge agent", gateway: "Gateway", aggregator: "Aggregator", views: "Views" };

/** Views that the picture shows; the table of windows has all. */
const VIEWS_DRAWN = 8;

/** Each hop: its place, its title, and whether time passed since the stop before it. */
const HOPS = {
  collected: { place: "agent", title: "Taken in" },
  spooled: { place: "agent", title: "Spooled" },
  sent: { place: "agent", title: "Sent" },
  received: { place: "gateway", title: "Received" },
  admitted: { place: "gateway", title: "Judged" },
  committed: { place: "aggregator", title: "Committed" },
  dead_letter: { place: "aggregator", title: "Dead letter" },
  replayed: { place: "aggregator", title: "Replayed" },
  discarded: { place: "aggregator", title: "Given up" },
  applied: { place: "aggregator", title: "Applied" },
};

const INPUTS = { http: "HTTP request", host: "host metrics", file: "file", tail: "file" };

const DEAD = new Set(["dead_letter", "discarded", "dead_letter_expired"]);

/** What became of the event, in a sentence, and how good that is. */
export function verdictOf(event) {
  const counted = (event.windows ?? []).filter((hit) => hit.counted !== null);
  const views = new Set(counted.map((hit) => hit.view)).size;
  const many = (count, word) => `${integer(count)} ${word}${count === 1 ? "" : "s"}`;
  switch (event.outcome) {
    case "valid": {
      const how = replayOf(event) ? "It was a dead letter, was replayed, and is valid now" : "It is valid";
      if (isPending(event)) return { level: "warn", text: `${how}; the views have not come to it yet.` };
      if (counted.length === 0 && event.not_counted?.length > 0) return { level: "quiet", text: `${how}; no view counts it.` };
      if (counted.length > 0) return { level: "good", text: `${how} and counts in ${many(counted.length, "window")} of ${many(views, "view")}.` };
      return { level: "good", text: `${how}; it is in no window of any view.` };
    }
    case "dead_letter":
      return { level: "bad", text: "Its schema rejected it: it is a dead letter, and no view counts it." };
    case "discarded":
      return { level: "warn", text: "Its schema rejected it, and the dead letter was given up. It stays counted as dead." };
    case "dead_letter_expired":
      return { level: "warn", text: "Its schema rejected it, and its dead letter is no longer kept. It stays counted as dead." };
    case "dropped":
      return { level: "bad", text: `It was dropped: ${words(event.dropped?.reason)}, seqs ${integer(event.dropped?.from)} to ${integer(event.dropped?.to)}. The ledger says so.` };
    case "not_committed":
      return { level: "warn", text: "It is not committed: its agent still holds it, or it was never produced." };
    case "expired":
      return { level: "quiet", text: "It was committed and is counted; the event itself is no longer kept." };
    default:
      return { level: "quiet", text: `${words(event.outcome)}.` };
  }
}

/** Whether something is still to come, so that it is worth looking again. */
export function isPending(event) {
  return event.outcome === "not_committed" || (event.hops ?? []).some((hop) => hop.hop === "applied" && hop.applied === false);
}

/** {places: [{key, title, name}], stops, legs}; a leg goes from one stop to another, by their numbers. */
export function pathOf(event) {
  const stops = [...applicationStop(event), ...(event.hops ?? []).map((hop) => stopOf(hop, event))];
  const legs = [];
  for (let at = 1; at < stops.length; at += 1) {
    const [before, stop] = [stops[at - 1], stops[at]];
    if (stop.at !== undefined && before.at !== undefined) stop.gap = stop.at - before.at;
    legs.push({ from: at - 1, to: at, gap: stop.gap, kind: stop.late ? "later" : "way" });
  }
  const last = stops.length - 1;
  if (last >= 0) for (const one of viewStops(event)) {
    legs.push({ from: last, to: stops.length, kind: one.counted ? "way" : "later" });
    stops.push(one);
  }
  return { places: placesOf(event), stops, legs };
}

function placesOf(event) {
  const gateways = [...new Set((event.hops ?? []).map((hop) => hop.gateway).filter(Boolean))];
  const names = { agent: event.agent, gateway: gateways.join(", "), aggregator: "", views: event.stream };
  return PLACES.map((key) => ({ key, title: TITLES[key], name: names[key] || "" }));
}

function stopOf(hop, event) {
  const { place, title } = HOPS[hop.hop] ?? { place: "aggregator", title: words(hop.hop) };
  const lost = isLost(hop);
  const tries = hop.hop === "sent" && (lost || hop.attempt > 1);
  return {
    hop: hop.hop,
    place: PLACES.indexOf(place),
    title: tries ? `${title}, try ${integer(hop.attempt ?? 1)}` : title,
    detail: detailOf(hop, event),
    at: hop.at === undefined || hop.at === null ? undefined : Date.parse(hop.at),
    level: levelOf(hop, lost),
    lost,
    late: hop.hop === "replayed" || hop.hop === "discarded",
    trace: traceOf(hop, event),
  };
}

/** The application's span that sent the event. */
function applicationStop({ application_trace: app }) {
  if (!app) return [];
  const trace = { id: app.trace_id, url: webAddress(app.trace_url) };
  return [{ hop: "application", place: 0, title: "Application", detail: `span ${app.span_id} of its trace`, level: "way", trace }];
}

/** Sent in vain: the session ended, or the gateway refused it. */
function isLost({ hop, outcome }) {
  return hop === "sent" && outcome !== undefined && outcome !== null && outcome !== "committed";
}

function levelOf({ hop, applied }, lost) {
  if (lost || hop === "dead_letter") return "bad";
  if (hop === "discarded" || applied === false) return "warn";
  return hop === "replayed" ? "good" : "way";
}

/** A hop's own trace, or that of the batch for what the batch did. */
function traceOf(hop, event) {
  const id = hop.trace_id ?? (["sent", "received", "admitted", "committed"].includes(hop.hop) ? event.trace_id : undefined);
  return id ? { id, url: webAddress(hop.trace_url ?? (id === event.trace_id ? event.trace_url : undefined)) } : undefined;
}

/** Only what a browser opens as a page: never a script. */
export function webAddress(text) {
  return /^https?:\/\//i.test(text ?? "") ? text : undefined;
}

function detailOf(hop, event) {
  switch (hop.hop) {
    case "collected":
      return inputOf(hop);
    case "spooled":
      return "on the agent's disk, with its seq";
    case "sent":
      return isLost(hop) ? lostText(hop) : "in a batch";
    case "received":
      return `by ${hop.gateway}`;
    case "admitted":
      return `${judgement(event)}${hop.schema ? ` by schema version ${hop.schema.version}` : ""}; its batch: ${integer(hop.valid)} valid, ${integer(hop.dead)} dead`;
    case "committed":
      return `position ${integer(hop.position)}, seqs ${integer(hop.from)} to ${integer(hop.to)}`;
    case "dead_letter":
      return reasonOf(event, hop);
    case "replayed":
      return `by ${hop.by}${hop.fix ? ", with a fix" : ""}${versionOf(hop)}, position ${integer(hop.position)}`;
    case "discarded":
      return `by ${hop.by}: ${hop.reason}`;
    case "applied":
      return hop.applied ? `the views have read up to position ${integer(hop.position)}` : `not yet: the views are at position ${integer(hop.position)}`;
    default:
      return "";
  }
}

/** "lost after 6 s, to 10.0.0.1:8602: the session ended" */
function lostText({ outcome, at, ended_at: ended, address, reason }) {
  const after = at && ended ? ` after ${lapse(Date.parse(ended) - Date.parse(at))}` : "";
  return `${words(outcome)}${after}${address ? `, to ${address}` : ""}${reason ? `: ${reason}` : ""}`;
}

function judgement({ outcome, dead_letter: letter }) {
  if (outcome === "dropped") return "reported as dropped";
  return letter || DEAD.has(outcome) ? "rejected" : "valid";
}

function inputOf(hop) {
  const { file, offset } = hop;
  // a request where it is known, else all that was written to the spool together
  const together = hop.request ?? hop.together;
  if (file) return `${file}${Number.isInteger(offset) ? `, offset ${integer(offset)}` : ""}`;
  const input = INPUTS[hop.input ?? hop.origin] ?? inputText(hop.input ?? hop.origin);
  return `from ${input}${together ? `, seqs ${integer(together.from)} to ${integer(together.to)} together` : ""}`;
}

function inputText(origin) {
  return typeof origin === "object" && origin !== null ? JSON.stringify(origin) : words(origin);
}

function versionOf({ schema }) {
  return schema ? `, schema version ${schema.version}` : "";
}

function reasonOf({ dead_letter: letter }, hop) {
  const [first] = letter?.reasons ?? [];
  return first ? `#${hop.id}: ${first.path || "whole event"} ${first.message}` : `#${hop.id}`;
}

function replayOf(event) {
  return (event.hops ?? []).some((hop) => hop.hop === "replayed");
}

/** "spool_full" as people say it. */
export function words(text) {
  return String(text ?? "unknown").replaceAll("_", " ");
}

/** One stop a view: its windows together, or why it does not count the event. */
function viewStops(event) {
  const place = PLACES.indexOf("views");
  const byView = new Map();
  for (const hit of event.windows ?? []) byView.set(hit.view, [...(byView.get(hit.view) ?? []), hit]);
  const stops = [...byView].map(([view, hits]) => ({ hop: "view", view, place, title: view, detail: hitsText(hits), level: "good", counted: true }));
  for (const { view, why, message } of event.not_counted ?? []) {
    stops.push({ hop: "view", view, place, title: view, detail: `not counted: ${message ?? words(why)}`, level: "quiet", counted: false });
  }
  const rest = stops.length - VIEWS_DRAWN;
  if (rest < 2) return stops;
  const more = { hop: "view", place, title: `${integer(rest)} more views`, detail: "in the table of its windows", level: "quiet", counted: true };
  return [...stops.slice(0, VIEWS_DRAWN), more];
}

function hitsText(hits) {
  const [first] = hits;
  const last = hits.at(-1);
  if (hits.length === 1) return [windowText(first), groupText(first), doubtOf(first)].filter(Boolean).join(", ");
  const time = first.window_start ? `, ${span(Date.parse(first.window_start), Date.parse(last.window_end))}` : "";
  return `${integer(hits.length)} windows${time}`;
}

/** "12:03 – 12:04", or what stands for the window of a view without any. */
export function windowText({ window_start: start, window_end: end }) {
  return start ? span(Date.parse(start), Date.parse(end)) : "running";
}

/** "shop north, day 3" */
export function groupText({ group, overflow }) {
  if (overflow) return "all other groups";
  return Object.entries(group ?? {}).map(([name, value]) => `${name} ${valueText(value)}`).join(", ");
}

function valueText(value) {
  if (value === null || value === undefined) return "(null)";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** What is to be said of a window that counts the event; nothing when it simply does. */
export function doubtOf(hit) {
  if (hit.counted === null) return "whether it counts cannot be told any more";
  return hit.expired ? "counted; the window is no longer kept" : "";
}

/** Where the time from taking in to commit went: [{title, millis}], and the sum. Clocks of hosts may differ. */
export function timesOf(event) {
  const at = {};
  for (const hop of event.hops ?? []) if (hop.at && !isLost(hop)) at[hop.hop] = Date.parse(hop.at);
  const parts = [
    ["Held by the agent", "collected", "sent"],
    ["On the way to the gateway", "sent", "received"],
    ["Judged by the gateway", "received", "admitted"],
    ["To the commit", "admitted", "committed"],
  ];
  const known = parts.filter(([, from, to]) => at[from] !== undefined && at[to] !== undefined);
  const times = known.map(([title, from, to]) => ({ title, millis: at[to] - at[from] }));
  return { times, all: times.reduce((sum, { millis }) => sum + Math.max(0, millis), 0), differ: times.some(({ millis }) => millis < 0) };
}
