// The modules of events, rows, the graph and the audit that decide without a browser. Run by the test
// `the_pages_modules_decide_as_they_should`, with the directory of the modules in PAGE.

import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { test } from "node:test";

const from = (name) => import(`${process.env.PAGE}/${name}`);
const { detailText, levelOf, wordsOf } = await from("acts.js");
const { alike } = await from("auditcheck.js");
const { eventLink, explainLink, format, parse, sectionOf } = await from("address.js");
const { lapse } = await from("format.js");
const { checkSignature, contradiction, keeping, parseHead, parseKey } = await from("heads.js");
const { continues, leafHash, nodeHash, proves } = await from("merkle.js");
const { isPending, pathOf, timesOf, uncounted, verdictOf } = await from("path.js");
const { sha256 } = await from("sha256.js");

const at = (millis) => new Date(Date.UTC(2026, 0, 1, 12) + millis).toISOString();

/** An event whose batch was sent a second time, that was a dead letter, and was replayed half a minute later. */
function event(more = {}) {
  return {
    lineage_id: "00000000-0002-8000-8000-00000000022e",
    agent: "a-1",
    stream: "orders",
    epoch: 7,
    seq: 558,
    lane: 2,
    outcome: "valid",
    trace_id: "b".repeat(32),
    hops: [
      { hop: "collected", at: at(0), origin: "file", input: "file", file: "/var/log/app", offset: 1234 },
      { hop: "spooled", at: at(4) },
      { hop: "sent", at: at(10), attempt: 1, address: "10.0.0.1:8602", outcome: "lost" },
      { hop: "sent", at: at(2010) },
      { hop: "received", at: at(2005), gateway: "g-1" },
      { hop: "admitted", at: at(2011), gateway: "g-1", schema: { id: 2, version: 3 }, valid: 196, dead: 4 },
      { hop: "committed", at: at(2014), position: 6, from: 401, to: 600, trace_url: "http://viewer/trace/b" },
      { hop: "dead_letter", at: at(2014), id: 12, schema: { id: 2, version: 3 } },
      { hop: "replayed", at: at(32_014), by: "eva", position: 9, fix: { sql: "x" } },
      { hop: "applied", applied: true, position: 9 },
    ],
    dead_letter: { id: 12, reasons: [{ path: "/amount", rule: "type", message: "is no number" }] },
    windows: [
      { view: "hop", window_start: at(0), window_end: at(300_000), group: {} },
      { view: "hop", window_start: at(60_000), window_end: at(360_000), group: {}, counted: false, why: "too_late" },
      { view: "tumble", window_start: at(0), window_end: at(60_000), group: { shop: null } },
    ],
    ...more,
  };
}

test("sections have addresses, and an address without one is that of the views", () => {
  assert.deepEqual([eventLink("a/s/1/2"), sectionOf(parse("?event=a%2Fs%2F1%2F2"))], ["/?event=a%2Fs%2F1%2F2", "event"]);
  for (const search of ["?event=", "?graph=", "?audit="]) {
    assert.equal(`?${search.slice(1, -1)}=`, format(parse(search)).slice(1));
    assert.equal(sectionOf(parse(search)), search.slice(1, -1));
  }
  assert.deepEqual([sectionOf(parse("")), sectionOf(parse("?view=v")), sectionOf(parse("?explain=x"))], ["views", "views", "views"]);
  const place = parse(explainLink("v", { window_start: at(0) }, { shop: "a&b", none: null }).slice(1));
  assert.deepEqual([place.view, place.explain, [...place.where], sectionOf(place)], ["v", at(0), [["shop", "a&b"], ["none", ""]], "explain"]);
});

test("a path goes from stop to stop, and a lost try is a branch", () => {
  const { places, stops, legs } = pathOf(event());
  assert.deepEqual(places.map(({ name }) => name), ["a-1", "g-1", "", "orders"]);
  assert.deepEqual(stops.map(({ title, place, gap }) => [title, place, gap]), [
    ["Taken in", 0, undefined],
    ["Spooled", 0, 4],
    ["Sent, try 1", 0, 6],
    ["Sent", 0, 2006],
    ["Received", 1, -5],
    ["Judged", 1, 6],
    ["Committed", 2, 3],
    ["Dead letter", 2, 0],
    ["Replayed", 2, 30_000],
    ["Applied", 2, undefined],
    ["hop", 3, undefined],
    ["tumble", 3, undefined],
  ]);
  assert.deepEqual(legs.map(({ from: start, to, kind }) => [start, to, kind]), [
    [0, 1, "way"], [1, 2, "lost"], [1, 3, "way"], [3, 4, "way"], [4, 5, "way"], [5, 6, "way"], [6, 7, "way"], [7, 8, "later"], [8, 9, "way"], [9, 10, "way"], [9, 11, "way"],
  ]);
  assert.deepEqual([stops[0].detail, stops[2].detail, stops[5].detail], ["/var/log/app, offset 1,234", "lost, to 10.0.0.1:8602", "rejected by schema version 3; its batch: 196 valid, 4 dead"]);
  assert.deepEqual([stops[6].trace, stops[7].trace], [{ id: "b".repeat(32), url: "http://viewer/trace/b" }, undefined]);
});

test("what became of an event is said, and how good that is", () => {
  const of = (more) => verdictOf(event(more));
  assert.equal(of().text, "It was a dead letter, was replayed, and is valid now and counts in 2 windows of 2 views.");
  assert.equal(of({ hops: event().hops.slice(0, 7) }).text, "It is valid and counts in 2 windows of 2 views.");
  assert.deepEqual(of({ outcome: "dropped", dropped: { from: 1, to: 9, reason: "spool_full" } }), { level: "bad", text: "It was dropped: spool full, seqs 1 to 9. The ledger says so." });
  assert.equal(of({ outcome: "something_new" }).text, "something new.");
  assert.deepEqual([isPending(event()), isPending(event({ outcome: "not_committed" })), isPending({ hops: [{ hop: "applied", applied: false }] })], [false, true, true]);
  assert.deepEqual(event().windows.map(uncounted), ["", "not counted: it came after the view's retention", ""]);
  assert.deepEqual(pathOf({ outcome: "expired", hops: [] }).stops, []);
});

test("of many views the first are drawn, and a link is one that opens a page", () => {
  const windows = Array.from({ length: 20 }, (_, view) => ({ view: `v${view}`, window_start: at(0), window_end: at(1000), group: {} }));
  const { stops } = pathOf(event({ windows, hops: [{ hop: "committed", at: at(0), trace_id: "x", trace_url: "javascript:alert(1)" }] }));
  assert.deepEqual([stops.length, stops.at(-1).title], [10, "12 more views"]);
  assert.deepEqual(stops[0].trace, { id: "x", url: undefined });
});

test("where the time went adds up, also when clocks differ", () => {
  const { times, all, differ } = timesOf(event());
  assert.deepEqual(times.map(({ millis }) => millis), [2010, -5, 6, 3]);
  assert.deepEqual([all, differ], [2019, true]);
  assert.deepEqual([0, 999, 1250, 65_000, 3_600_000, 90_061_000, -3].map(lapse), ["0 ms", "999 ms", "1.25 s", "1 min 5 s", "1 h", "1 d 1 h", "−3 ms"]);
});

test("a leaf is told in words, and one of another shape as it is", () => {
  assert.equal(wordsOf({ kind: "commit_group", detail: { entries: [{ pos: 4 }, { pos: 5 }] } }), "2 log entries committed, position 4 to 5");
  assert.equal(wordsOf({ kind: "refusal", detail: { refused: [{ who: "10.0.0.9", why: "no certificate", count: 3 }] } }), "10.0.0.9: no certificate, 3 times");
  assert.equal(wordsOf({ kind: "commit_group", detail: { other: 1 } }), "other 1");
  assert.equal(wordsOf({ kind: "new_kind", detail: { a: [1] } }), "a [1]");
  assert.deepEqual([levelOf("alarm"), levelOf("restore"), levelOf("view")], ["bad", "warn", "quiet"]);
  assert.equal(detailText({ body: '{"sql":"SELECT"}', not: "{" }), '{\n  "body": {\n    "sql": "SELECT"\n  },\n  "not": "{"\n}');
});

test("SHA-256 is that of everybody else", () => {
  for (const length of [0, 1, 55, 56, 63, 64, 65, 119, 120, 5000]) {
    const bytes = Uint8Array.from({ length }, (_, index) => (index * 31 + length) % 256);
    assert.deepEqual(Buffer.from(sha256(bytes)).toString("hex"), createHash("sha256").update(bytes).digest("hex"), `${length} bytes`);
  }
});

const LEAVES = Array.from({ length: 33 }, (_, index) => Uint8Array.of(index, 1, 2));

/** RFC 9162, section 2.1, as it is written there. */
function split(count) {
  let half = 1;
  while (half * 2 < count) half *= 2;
  return half;
}

function rootOf(leaves) {
  if (leaves.length === 1) return leafHash(leaves[0]);
  const half = split(leaves.length);
  return nodeHash(rootOf(leaves.slice(0, half)), rootOf(leaves.slice(half)));
}

function inclusion(index, leaves) {
  if (leaves.length === 1) return [];
  const half = split(leaves.length);
  return index < half ? [...inclusion(index, leaves.slice(0, half)), rootOf(leaves.slice(half))] : [...inclusion(index - half, leaves.slice(half)), rootOf(leaves.slice(0, half))];
}

function consistency(older, leaves, whole = true) {
  if (older === leaves.length) return whole ? [] : [rootOf(leaves)];
  const half = split(leaves.length);
  return older <= half ? [...consistency(older, leaves.slice(0, half), whole), rootOf(leaves.slice(half))] : [...consistency(older - half, leaves.slice(half), false), rootOf(leaves.slice(0, half))];
}

const edited = (bytes) => Uint8Array.from(bytes, (byte, index) => (index === 7 ? byte ^ 1 : byte));

test("a leaf is proved to be in the tree, and nothing else is", () => {
  for (let size = 1; size <= LEAVES.length; size += 1) {
    const leaves = LEAVES.slice(0, size);
    const root = rootOf(leaves);
    for (let index = 0; index < size; index += 1) {
      const right = { index, size, leaf: leaves[index], proof: inclusion(index, leaves), root };
      assert.ok(proves(right), `leaf ${index} of ${size}`);
      assert.ok(!proves({ ...right, leaf: Uint8Array.of(99) }) && !proves({ ...right, root: edited(root) }));
      assert.ok(!proves({ ...right, proof: [...right.proof, root] }) && !proves({ ...right, index: index + size }));
      right.proof.forEach((hash, place) => {
        assert.ok(!proves({ ...right, proof: right.proof.with(place, edited(hash)) }));
        assert.ok(!proves({ ...right, proof: right.proof.toSpliced(place, 1) }));
      });
    }
  }
});

test("a tree is proved to continue an older one, and a forked one is not", () => {
  for (let to = 1; to <= LEAVES.length; to += 1) {
    const leaves = LEAVES.slice(0, to);
    for (let older = 1; older <= to; older += 1) {
      const proof = consistency(older, leaves);
      const roots = [rootOf(leaves.slice(0, older)), rootOf(leaves)];
      assert.ok(continues({ from: older, to, proof, roots }), `${older} to ${to}`);
      assert.ok(!continues({ from: older, to, proof, roots: [edited(roots[0]), roots[1]] }));
      assert.ok(!continues({ from: older, to, proof, roots: [roots[0], edited(roots[1])] }));
      assert.ok(!continues({ from: to + 1, to, proof, roots }));
      proof.forEach((hash, place) => assert.ok(!continues({ from: older, to, proof: proof.with(place, edited(hash)), roots })));
    }
  }
});

/** A head as the aggregator signs it. */
function signed(size, { privateKey, id }, origin = "tributary.audit/1") {
  const text = `${origin}\n${size}\n${Buffer.from(rootOf(LEAVES.slice(0, size))).toString("base64")}\ntime 1795307193029\n`;
  const signature = Buffer.concat([Buffer.from(id, "hex"), sign(null, Buffer.from(text), privateKey)]);
  return `${text}\n— ${origin} ${signature.toString("base64")}\n`;
}

function pair(id) {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  return { id, privateKey, key: parseKey(`tributary.audit/1+${id}+${Buffer.concat([Buffer.of(1), raw]).toString("base64")}\n`) };
}

test("a head that was edited, or signed by another key, is found", async () => {
  const [ours, theirs] = [pair("a012c201"), pair("00000001")];
  const text = signed(20, ours);
  const head = parseHead(text);
  assert.deepEqual([head.origin, head.size, head.at, await checkSignature(head, ours.key)], ["tributary.audit/1", 20, 1795307193029, "right"]);
  assert.equal(await checkSignature(parseHead(text.replace("\n20\n", "\n21\n")), ours.key), "bad signature");
  assert.equal(await checkSignature(head, theirs.key), "wrong key");
  assert.equal(await checkSignature(parseHead(signed(20, { ...theirs, id: ours.id })), ours.key), "bad signature");
  for (const wrong of ["", "x\n1\nAA==\n\n", "a\nb\nAA==\ntime 1\n\n"]) assert.throws(() => parseHead(wrong), /not a head/);
  assert.throws(() => parseKey("nothing"), /cannot be read/);
});

test("a head that was kept shows a removed tail, a fork, and another log", () => {
  const ours = pair("a012c201");
  const head = (size, origin) => parseHead(signed(size, ours, origin));
  const forked = parseHead(signed(9, ours).replace(/\n9\n.{8}/, "\n9\nAAAAAAAA"));
  assert.deepEqual(
    [contradiction(head(9), head(12)), contradiction(head(12), head(9)), contradiction(head(9), forked), contradiction(head(9), head(9)), contradiction(head(9), head(12, "other"))],
    [undefined, "removed tail", "forked tree", undefined, "another log"],
  );
  let texts = [];
  for (let size = 1; size <= 20; size += 1) texts = keeping(texts, `head ${size}`);
  assert.deepEqual(texts, ["head 1", "head 14", "head 15", "head 16", "head 17", "head 18", "head 19", "head 20"]);
  assert.deepEqual(keeping(texts, "head 20"), texts);
});

test("what is shown is compared with what the leaf says", () => {
  assert.ok(alike({ a: 1, b: [{ c: null }] }, { b: [{ c: null }], a: 1 }));
  for (const other of [{ a: 1 }, { a: 1, b: [{ c: 0 }] }, { a: 1, b: { 0: { c: null } } }, null, [1]]) assert.ok(!alike({ a: 1, b: [{ c: null }] }, other), JSON.stringify(other));
});
