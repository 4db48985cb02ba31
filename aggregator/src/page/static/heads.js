// Heads of the audit: read, their signature checked, and some of them kept by this browser, so that it notices a tree whose
// history has changed.

import { bytesOf, same } from "./merkle.js";

const SIGNED_BY = /^— (\S+) (\S+)$/;
const KEPT = "tributary.audit.heads";
/** Heads that are kept: the first one, and the newest. */
const MOST_KEPT = 8;

/** A head's text: {origin, size, at, root, text, signed: its part that is signed, signatures}; throws in words. */
export function parseHead(text) {
  const split = text.indexOf("\n\n");
  const [origin, size, root, ...more] = text.slice(0, split).split("\n");
  const [, at] = /^time (\d+)$/.exec(more.find((line) => line.startsWith("time ")) ?? "") ?? [];
  if (split < 0 || !/^\d+$/.test(size ?? "") || at === undefined) throw new Error("it is not a head of an audit");
  const signatures = text.slice(split + 2).split("\n").filter(Boolean).map((line) => {
    const [, name, base64] = SIGNED_BY.exec(line) ?? [];
    if (!name) throw new Error("its signature cannot be read");
    const bytes = bytesOf(base64);
    return { name, key: bytes.slice(0, 4), signature: bytes.slice(4) };
  });
  return { origin, size: Number(size), at: Number(at), root: bytesOf(root), text, signed: text.slice(0, split + 1), signatures };
}

/** A public key's line, `name+id+base64`: {name, id, key}. */
export function parseKey(line) {
  const [, name, id, base64] = /^(\S+?)\+([0-9a-f]{8})\+(\S+)$/.exec(line.trim()) ?? [];
  if (!name) throw new Error("the public key cannot be read");
  const bytes = bytesOf(base64);
  if (bytes.length !== 33 || bytes[0] !== 1) throw new Error("the public key is not of Ed25519");
  return { name, id, key: bytes.slice(1), line: line.trim() };
}

const hex = (bytes) => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** `right`, `wrong key`, `bad signature`, or `unknown` where this browser cannot tell. */
export async function checkSignature(head, key) {
  const found = head.signatures.find((one) => one.name === key.name && hex(one.key) === key.id);
  if (!found) return "wrong key";
  const { subtle } = globalThis.crypto ?? {};
  if (!subtle) return "unknown";
  try {
    const imported = await subtle.importKey("raw", key.key, "Ed25519", false, ["verify"]);
    const right = await subtle.verify("Ed25519", imported, found.signature, new TextEncoder().encode(head.signed));
    return right ? "right" : "bad signature";
  } catch {
    return "unknown";
  }
}

/** What a newer head says against one that was kept, without any proof: a finding's name, or nothing. */
export function contradiction(kept, now) {
  if (kept.origin !== now.origin) return "another log";
  if (kept.size > now.size) return "removed tail";
  if (kept.size === now.size && !same(kept.root, now.root)) return "forked tree";
  return undefined;
}

/** Which texts are kept when one comes: the first, and the newest. */
export function keeping(texts, text) {
  if (texts.includes(text)) return texts;
  const [first, ...others] = [...texts, text];
  return [first, ...others.slice(-(MOST_KEPT - 1))];
}

/** What this browser keeps of a log: {key: the line, heads: texts, the oldest first}. */
export function kept(origin) {
  try {
    const all = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    return { heads: [], ...all[origin] };
  } catch {
    // a browser may keep nothing, and what is there may be of another program
    return { heads: [] };
  }
}

/** Keeps a head that was found right. Whether it could. */
export function keep(head, key) {
  const { heads, key: first } = kept(head.origin);
  try {
    const all = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    localStorage.setItem(KEPT, JSON.stringify({ ...all, [head.origin]: { key: first ?? key.line, heads: keeping(heads, head.text) } }));
    return true;
  } catch {
    return false;
  }
}

/** Logs other than this one of which this address has kept heads before: their origins. */
export function othersKept(origin) {
  try {
    return Object.keys(JSON.parse(localStorage.getItem(KEPT) ?? "{}")).filter((one) => one !== origin);
  } catch {
    return [];
  }
}

/** Forgets what this browser keeps of all logs of this address. */
export function forget() {
  try {
    localStorage.removeItem(KEPT);
  } catch {
    // then there is nothing
  }
}
