// What a leaf of the audit says, in words. Pure.

import { integer } from "./format.js";

/** Kinds of leaves, as the API names them. */
export const KINDS = ["begin", "commit_group", "lane", "enrolment", "view", "schema", "replay", "discard", "setting", "configuration", "refusal", "restore", "drop", "retention", "key_change", "failed", "alarm"];

/** Kinds that somebody should look at. */
const GRAVE = new Set(["alarm", "key_change", "restore", "refusal", "drop", "failed"]);

/** How grave a kind is. */
export function levelOf(kind) {
  if (kind === "alarm") return "bad";
  return GRAVE.has(kind) ? "warn" : "quiet";
}

function count(number, word) {
  return `${integer(number)} ${word}${number === 1 ? "" : "s"}`;
}

function request({ method, path, from }) {
  return `${method} ${path}, from ${from}`;
}

const WORDS = {
  begin: ({ committed_before: before }) => `the audit begins${before > 0 ? `; the log held entries up to ${integer(before)} before it` : ""}`,
  commit_group: ({ entries }) => `${integer(entries.length)} log ${entries.length === 1 ? "entry" : "entries"} committed, position ${integer(entries[0]?.pos ?? 0)}${entries.length > 1 ? ` to ${integer(entries.at(-1).pos)}` : ""}`,
  lane: ({ lane, agent, stream, epoch }) => `lane ${integer(lane)} stands for ${agent}/${stream}/${epoch}`,
  enrolment: ({ role, name, from }) => `${role} ${name} was seen for the first time${from ? `, from ${from}` : ""}`,
  view: request,
  schema: request,
  setting: request,
  replay: ({ count: letters, lane, by, fix }) => `${count(letters, "dead letter")} of lane ${integer(lane)} replayed by ${by}${fix ? ", with a fix" : ""}`,
  discard: ({ count: letters, by, reason }) => `${count(letters, "dead letter")} given up by ${by}: ${reason}`,
  configuration: ({ changed }) => (changed?.length > 0 ? `changed: ${changed.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join(", ")}` : "the first start with a configuration"),
  refusal: ({ refused }) => refused.map(({ who, why, count: times }) => `${who}: ${why}, ${count(times, "time")}`).join("; "),
  drop: ({ dropped, count: letters, reason }) =>
    dropped ? dropped.map((one) => `lane ${integer(one.lane)}, seqs ${integer(one.from)} to ${integer(one.to)}: ${one.reason}`).join("; ") : `${count(letters, "dead letter")}: ${reason}`,
  retention: ({ deleted_up_to: upTo }) => `log entries up to ${integer(upTo)} were deleted`,
  key_change: ({ from, to, why }) => `heads are signed by ${to} instead of ${from}: ${why}`,
  alarm: ({ what }) => String(what),
};

/** One line; a detail of another shape than this page knows is shown as it is. */
export function wordsOf({ kind, detail }) {
  try {
    return WORDS[kind]?.(detail) ?? plain(detail);
  } catch {
    return plain(detail);
  }
}

function plain(detail) {
  return Object.entries(detail).map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`).join(", ");
}

/** All of a leaf's detail, for reading: texts that are JSON themselves are opened. */
export function detailText(detail) {
  const open = (_, value) => {
    if (typeof value !== "string" || !/^[{[]/.test(value)) return value;
    try {
      return JSON.parse(value);
    } catch {
      return value;
    }
  };
  return JSON.stringify(detail, open, 2);
}
