// What this browser can check of the audit by itself: the head's signature, that the tree continues the heads that it has
// kept, and that the acts that are shown are its leaves. Each finding says what was checked and what came out.

import { get } from "./api.js";
import { integer, moment } from "./format.js";
import { checkSignature, contradiction, keep, kept, othersKept, parseHead, parseKey } from "./heads.js";
import { bytesOf, continues, proves } from "./merkle.js";

const WRONG = {
  "removed tail": "removed tail: this browser has kept a head of more leaves than there are now",
  "forked tree": "forked tree: the tree is not the one that this browser has kept a head of",
  "wrong key": "wrong key: the newest head is not signed by the key that the aggregator shows",
  "bad signature": "bad signature: the newest head was edited",
};

const good = (text) => ({ level: "good", text });
const unsure = (text) => ({ level: "warn", text });
const bad = (text) => ({ level: "bad", text });

async function keyOf() {
  const response = await fetch("/api/v1/audit/key");
  if (!response.ok) throw new Error(`the public key cannot be read: the aggregator answered ${response.status}`);
  return parseKey(await response.text());
}

/** {head, key}: the newest head, and the key that the aggregator shows. */
export async function readHead() {
  const [{ head: text }, key] = await Promise.all([get("/api/v1/audit/head"), keyOf()]);
  return { head: parseHead(text), key };
}

/** Checks a head; `told(finding)` hears of each one as it is found. Whether nothing is wrong. */
export async function checkHead({ head, key }, told) {
  const findings = [];
  const tell = (finding) => {
    findings.push(finding);
    told(finding);
  };
  const signature = await checkSignature(head, key);
  if (signature === "right") tell(good(`The head of ${integer(head.size)} leaves is signed by key ${key.id}.`));
  else if (signature === "unknown") tell(unsure("The signature is not checked: browsers do that only for pages over HTTPS or from this machine, and older ones not at all."));
  else tell(bad(`${WRONG[signature]}.`));
  await checkKept(head, key, tell);
  const right = findings.every(({ level }) => level !== "bad");
  if (right && !keep(head, key)) tell(unsure("This browser keeps no heads (its storage is full or switched off), so that it notices nothing the next time."));
  return right;
}

async function checkKept(head, key, tell) {
  const { heads, key: first } = kept(head.origin);
  const others = othersKept(head.origin);
  if (others.length > 0) tell(unsure(`another log: from this address, this browser has kept heads of ${others.join(", ")} as well. Was the aggregator set up anew?`));
  if (first && first !== key.line) tell(unsure("The key is not the one that this browser saw first. A key_change act must say why."));
  if (heads.length === 0) {
    tell(good("This browser keeps this head from now on, and will compare the next ones with it."));
    return;
  }
  for (const text of heads) {
    const finding = await checkOne(parseHead(text), head);
    if (finding) {
      tell(bad(finding));
      return;
    }
  }
  const since = moment(parseHead(heads[0]).at);
  const which = heads.length === 1 ? "the head that this browser has kept" : `all ${integer(heads.length)} heads that this browser has kept`;
  tell(good(`The tree continues ${which} since ${since}: nothing was edited or taken away.`));
}

/** What is wrong between a kept head and the newest; nothing when the tree continues it. */
async function checkOne(old, now) {
  const name = contradiction(old, now);
  if (name) return `${WRONG[name]} (${integer(old.size)} leaves, signed at ${moment(old.at)}).`;
  if (old.size === now.size) return undefined;
  const { proof } = await get(`/api/v1/audit/consistency?from=${old.size}&to=${now.size}`);
  const proved = continues({ from: old.size, to: now.size, proof: proof.map(bytesOf), roots: [old.root, now.root] });
  return proved ? undefined : `${WRONG["forked tree"]} (${integer(old.size)} leaves, signed at ${moment(old.at)}).`;
}

/** Checks that a leaf is in the tree of a head, and is what is shown: nothing, or what is wrong. */
export async function checkLeaf(shown, head) {
  const { leaf: text, proof } = await get(`/api/v1/audit/inclusion?leaf=${shown.leaf}&size=${head.size}`);
  const leaf = bytesOf(text);
  if (!proves({ index: shown.leaf, size: head.size, leaf, proof: proof.map(bytesOf), root: head.root })) return "tampered leaf";
  const view = new DataView(leaf.buffer);
  const [index, at] = [Number(view.getBigUint64(2)), Number(view.getBigInt64(10))];
  if (index !== shown.leaf) return "moved leaf";
  if (at !== Date.parse(shown.at)) return "shown with another time than its leaf has";
  if (shown.kind !== "commit_group" && !alike(JSON.parse(new TextDecoder().decode(leaf.slice(18))), shown.detail)) return "shown with another content than its leaf has";
  return undefined;
}

/** Whether two JSON values are the same, in whatever order their fields stand. */
export function alike(a, b) {
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return a === b;
  const [left, right] = [Object.keys(a), Object.keys(b)];
  return Array.isArray(a) === Array.isArray(b) && left.length === right.length && left.every((name) => Object.hasOwn(b, name) && alike(a[name], b[name]));
}
