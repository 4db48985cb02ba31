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
const { crossings, layered } = await from("layers.js");
const { drawn, impactText, reach, step, touched } = await from("mesh.js");
const { balanceOf, flowOf, joined, placed } = await from("origins.js");
const { continues, leafHash, nodeHash, proves } = await from("merkle.js");
const { doubtOf, isPending, pathOf, timesOf, verdictOf } = await from("path.js");
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
      { hop: "sent", at: at(10), attempt: 1, address: "10.0.0.1:8602", outcome: "lost", ended_at: at(2000), reason: "the session ended" },
      { hop: "sent", at: at(2010), attempt: 2 },
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
      { view: "hop", window_start: at(60_000), window_end: at(360_000), group: {}, counted: true },
      { view: "tumble", window_start: at(0), window_end: at(60_000), group: { shop: null } },
    ],
    not_counted: [{ view: "north", why: "filtered", message: "the view's WHERE is not true for it" }],
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

test("a path goes from stop to stop, and a lost try is one that led nowhere", () => {
  const { places, stops, legs } = pathOf(event());
  assert.deepEqual(places.map(({ name }) => name), ["a-1", "g-1", "", "orders"]);
  assert.deepEqual(stops.map(({ title, place, gap }) => [title, place, gap]), [
    ["Taken in", 0, undefined],
    ["Spooled", 0, 4],
    ["Sent, try 1", 0, 6],
    ["Sent, try 2", 0, 2000],
    ["Received", 1, -5],
    ["Judged", 1, 6],
    ["Committed", 2, 3],
    ["Dead letter", 2, 0],
    ["Replayed", 2, 30_000],
    ["Applied", 2, undefined],
    ["hop", 3, undefined],
    ["tumble", 3, undefined],
    ["north", 3, undefined],
  ]);
  assert.deepEqual(stops.filter(({ lost }) => lost).map(({ title, level }) => [title, level]), [["Sent, try 1", "bad"]]);
  assert.deepEqual(legs.map(({ from: start, to, kind }) => [start, to, kind]), [
    [0, 1, "way"], [1, 2, "way"], [2, 3, "way"], [3, 4, "way"], [4, 5, "way"], [5, 6, "way"], [6, 7, "way"], [7, 8, "later"], [8, 9, "way"], [9, 10, "way"], [9, 11, "way"], [9, 12, "later"],
  ]);
  assert.deepEqual([stops[0].detail, stops[2].detail, stops[5].detail], ["/var/log/app, offset 1,234", "lost after 1.99 s, to 10.0.0.1:8602: the session ended", "rejected by schema version 3; its batch: 196 valid, 4 dead"]);
  assert.deepEqual([stops[6].trace, stops[7].trace], [{ id: "b".repeat(32), url: "http://viewer/trace/b" }, undefined]);
});

test("what became of an event is said, and how good that is", () => {
  const of = (more) => verdictOf(event(more));
  assert.equal(of().text, "It was a dead letter, was replayed, and is valid now and counts in 3 windows of 2 views.");
  assert.equal(of({ hops: event().hops.slice(0, 7) }).text, "It is valid and counts in 3 windows of 2 views.");
  assert.deepEqual(of({ outcome: "dropped", dropped: { from: 1, to: 9, reason: "spool_full" } }), { level: "bad", text: "It was dropped: spool full, seqs 1 to 9. The ledger says so." });
  assert.equal(of({ outcome: "something_new" }).text, "something new.");
  assert.deepEqual([isPending(event()), isPending(event({ outcome: "not_committed" })), isPending({ hops: [{ hop: "applied", applied: false }] })], [false, true, true]);
  assert.deepEqual(of({ windows: [] }), { level: "quiet", text: "It was a dead letter, was replayed, and is valid now; no view counts it." });
  assert.deepEqual([{}, { counted: true, expired: true }, { counted: null }].map(doubtOf), ["", "counted; the window is no longer kept", "whether it counts cannot be told any more"]);
  assert.equal(pathOf(event()).stops.at(-1).detail, "not counted: the view's WHERE is not true for it");
  assert.deepEqual(pathOf({ outcome: "expired", hops: [] }).stops, []);
});

test("of many views the first are drawn, and a link is one that opens a page", () => {
  const windows = Array.from({ length: 20 }, (_, view) => ({ view: `v${view}`, window_start: at(0), window_end: at(1000), group: {} }));
  const { stops } = pathOf(event({ windows, not_counted: [], hops: [{ hop: "committed", at: at(0), trace_id: "x", trace_url: "javascript:alert(1)" }] }));
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

/** A page of what explains a row: [agent, gateway, version, events] for each range. */
function page(ranges, more = {}) {
  const lanes = new Map();
  const sums = { agents: new Map(), gateways: new Map(), schemas: new Map() };
  ranges.forEach(([agent, gateway, version, events], at) => {
    const lane = lanes.get(agent) ?? { lane: agent, agent, stream: "s", epoch: 1, first_seq: 1, last_seq: 1, events: 0, ranges: [] };
    lane.events += events;
    lane.last_seq += events;
    lane.ranges.push({ first_seq: at, last_seq: at + events, events, position: at, gateway, schema: { id: 1, version }, replayed: gateway === null });
    lanes.set(agent, lane);
    for (const [name, key] of [["agents", agent], ["gateways", gateway], ["schemas", version]]) sums[name].set(key, (sums[name].get(key) ?? 0) + events);
  });
  const explained = ranges.reduce((sum, [, , , events]) => sum + events, 0);
  return {
    view: "v", stream: "s", groups: 1, events: explained, explained, complete: true, next: null, not_kept: null,
    lanes: [...lanes.values()],
    agents: [...sums.agents].map(([agent, events]) => ({ agent, events })),
    gateways: [...sums.gateways].map(([gateway, events]) => ({ gateway, events })),
    schemas: [...sums.schemas].map(([version, events]) => ({ id: 1, version, events })),
    ...more,
  };
}

test("the counts of a row add up over its pages, and it is said when they do not", () => {
  const first = page([["a", "g-1", 1, 5], ["b", "g-2", 1, 3]], { events: 20, complete: false, next: "x" });
  assert.deepEqual(balanceOf(first), { level: "warn", text: "8 of 20 events are found so far." });
  const all = joined(first, page([["a", "g-1", 2, 7], ["c", null, 2, 1]], { events: 20, not_kept: { events: 4, why: "…" } }));
  assert.deepEqual([all.explained, all.lanes.map(({ agent, events, ranges }) => [agent, events, ranges.length])], [16, [["a", 12, 2], ["b", 3, 1], ["c", 1, 1]]]);
  assert.deepEqual([all.gateways, all.schemas.map(({ version, events }) => [version, events])], [[{ gateway: "g-1", events: 12 }, { gateway: "g-2", events: 3 }, { gateway: null, events: 1 }], [[1, 8], [2, 8]]]);
  assert.deepEqual(balanceOf(all), { level: "good", text: "16 found + 4 no longer kept = 20, the row's own count." });
  assert.equal(balanceOf({ ...all, events: 21 }).level, "bad");
  assert.equal(balanceOf({ ...all, gateways: all.gateways.slice(1) }).level, "bad");
});

test("what flows into a row is as much at every stage, and few enough nodes are drawn", () => {
  const many = Array.from({ length: 30 }, (_, agent) => [`agent-${agent}`, agent % 2 ? "g-1" : null, 1 + (agent % 3), agent + 1]);
  const flow = flowOf(page(many, { events: 500, not_kept: { events: 35, why: "…" } }));
  assert.equal(flow.all, 500);
  assert.deepEqual(flow.stages.map((nodes) => nodes.length), [10, 2, 3, 1]);
  assert.deepEqual(flow.stages[0].slice(-2).map(({ name, events }) => [name, events]), [["22 others", 253], ["No longer kept", 35]]);
  for (const stage of [1, 2]) assert.equal(flow.stages[stage].reduce((sum, { events }) => sum + events, 0), 465);
  assert.equal(flow.flows.filter(({ to }) => to[0] === 3).reduce((sum, { events }) => sum + events, 0), 500);
  const { nodes, flows, height } = placed(flow);
  for (const { y, size } of nodes) assert.ok(y >= 0 && y + size <= height + 0.01);
  assert.ok(flows.every(({ start, end, size }) => start >= 0 && end >= 0 && size > 0));
  assert.equal(flowOf(page([["a", "g", 1, 5]], { events: 9, complete: false })).stages[0][1].name, "Not read yet");
});

const idsOf = (columns) => columns.map((cells) => cells.filter(({ id }) => id).map(({ id }) => id));
const edgesOf = (...pairs) => pairs.map((pair) => ({ from: pair[0], to: pair[1] }));
const nodesOf = (text) => [...text].map((id) => ({ id }));

test("a graph leads from left to right, and its lines do not cross when they need not", () => {
  const { columns, lines } = layered(nodesOf("abcxyz"), edgesOf("az", "by", "cx", "ax"));
  assert.deepEqual([idsOf(columns).map((ids) => ids.length), crossings(columns)], [[3, 3], 0]);
  assert.equal(lines.length, 4);
  const long = layered(nodesOf("abcd"), edgesOf("ab", "bc", "cd", "ad"));
  assert.deepEqual([idsOf(long.columns), long.lines[3].cells.map(({ column, id }) => id ?? column)], [[["a"], ["b"], ["c"], ["d"]], ["a", 1, 2, "d"]]);
});

test("a circle, a loop and an end that is not there break no layout", () => {
  const { columns, lines } = layered(nodesOf("abc"), edgesOf("ab", "bc", "ca", "aa", "ax"));
  assert.deepEqual([idsOf(columns), lines.length], [[["a"], ["b"], ["c"]], 3]);
  assert.deepEqual(layered([], []).columns, [[]]);
  const big = Array.from({ length: 400 }, (_, id) => ({ id: `${id}` }));
  const edges = big.flatMap(({ id }) => [{ from: id, to: `${(Number(id) * 7) % 400}` }, { from: id, to: `${(Number(id) * 13 + 1) % 400}` }]);
  const started = performance.now();
  assert.equal(idsOf(layered(big, edges).columns).flat().length, 400);
  assert.ok(performance.now() - started < 5000);
});

/** 20 agents alike and one that is not, a gateway, two streams, three views. */
function mesh() {
  const nodes = [];
  const edges = [];
  const node = (kind, name) => nodes.push({ id: `${kind}:${name}`, kind, name });
  const edge = (from, to, kind) => edges.push({ from, to, kind });
  for (let agent = 0; agent < 20; agent += 1) {
    node("agent", `a${agent}`);
    edge(`agent:a${agent}`, "gateway:g", "passes_through");
    edge(`agent:a${agent}`, "stream:s", "produces");
  }
  for (const [kind, name] of [["agent", "other"], ["gateway", "g"], ["schema", "s-value"], ["stream", "s"], ["stream", "t"], ["view", "v"], ["view", "w"], ["view", "t_v"]]) node(kind, name);
  edge("agent:other", "stream:t", "produces");
  edge("agent:other", "gateway:g", "passes_through");
  edge("gateway:g", "stream:s", "passes_through");
  edge("schema:s-value", "stream:s", "validates");
  edge("stream:s", "view:v", "reads");
  edge("view:v", "view:w", "reads");
  edge("stream:t", "view:t_v", "reads");
  return { nodes, edges };
}

test("what is alike is drawn once until it is opened, and no line twice", () => {
  const shown = drawn(mesh());
  assert.deepEqual(shown.nodes.map(({ name }) => name), ["20 agents", "other", "g", "s-value", "s", "t", "v", "w", "t_v"]);
  assert.deepEqual(shown.edges.map(({ from: start, to, kind }) => `${start} ${kind} ${to}`).slice(0, 2), ["bundle:agent:a0 passes_through gateway:g", "agent:other produces stream:t"]);
  assert.equal(drawn(mesh(), new Set(mesh().nodes.map(({ id }) => id))).nodes.length, 28);
  const { columns } = layered(shown.nodes, shown.edges);
  assert.deepEqual(idsOf(columns).map((ids) => ids.length), [2, 2, 2, 2, 1]);
});

test("what lies before and behind a node goes by no gateway that is not its own", () => {
  const { edges } = mesh();
  const names = (id, behind) => [...reach(edges, id, behind)].sort().filter((one) => !/:a\d+$/.test(one));
  assert.deepEqual([names("stream:s", false), reach(edges, "stream:s", false).size], [["gateway:g", "schema:s-value"], 22]);
  assert.deepEqual(names("stream:s", true), ["view:v", "view:w"]);
  assert.deepEqual(names("agent:other", true), ["gateway:g", "stream:t", "view:t_v"]);
  assert.equal(reach(edges, "gateway:g", false).size, 21);
});

test("arrow keys lead along the lines, and up and down a column", () => {
  const shown = drawn(mesh());
  const { columns } = layered(shown.nodes, shown.edges);
  const at = (id) => columns.flat().find((cell) => cell.id === id);
  columns.flat().forEach((cell) => Object.assign(cell, { y: cell.row }));
  assert.equal(step(columns, at("stream:s"), "ArrowRight"), "view:v");
  assert.equal(step(columns, at("view:w"), "ArrowLeft"), "view:v");
  assert.equal(step(columns, at("view:w"), "ArrowRight"), undefined);
  const [first, second] = columns[0].map(({ id }) => id);
  assert.deepEqual([step(columns, at(first), "ArrowDown"), step(columns, at(second), "ArrowUp"), step(columns, at(first), "ArrowUp")], [second, first, undefined]);
  // its line passes a column without a node there
  const passing = layered(nodesOf("abcd"), edgesOf("ab", "bc", "dc")).columns;
  passing.flat().forEach((cell) => Object.assign(cell, { y: cell.row }));
  assert.equal(step(passing, passing.flat().find(({ id }) => id === "d"), "ArrowRight"), "c");
});

test("what would break is said, and marked", () => {
  const impact = {
    stream: "s", field: "amount", known: true, breaks: true,
    schema: { subject: "s-value", version: 2, breaks: true, says: "required" },
    rules: [],
    views: [{ view: "v", breaks: true, clauses: [], columns: [] }, { view: "w", breaks: false, clauses: [], columns: [] }],
    agents: [{ agent: "a0" }],
  };
  assert.deepEqual(impactText(impact), { level: "bad", text: "Without amount, every event would be a dead letter, because its schema requires it; 1 view would change." });
  const { broken, concerned } = touched(impact);
  assert.deepEqual([[...broken].sort(), [...concerned].sort()], [["schema:s-value", "view:v"], ["agent:a0", "schema:s-value", "stream:s", "view:v"]]);
  assert.equal(impactText({ ...impact, breaks: false }).level, "good");
});
