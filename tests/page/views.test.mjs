// The modules of the section of views that decide without a browser. Run by the test `the_pages_modules_decide_as_they_should`,
// with the directory of the modules in PAGE.

import assert from "node:assert/strict";
import { test } from "node:test";

const from = (name) => import(`${process.env.PAGE}/${name}`);
const { duration, format, parse, rangeOf } = await from("address.js");
const { sorted, tableColumns } = await from("datatable.js");
const { offsetOf, tokenAt } = await from("editor.js");
const { Slots, barFigure, chartsOf, lineFigure } = await from("figures.js");
const { percentilesOf, windowKind } = await from("kinds.js");
const { Rows } = await from("rows.js");
const { timeTicks, valueRange, valueTicks } = await from("scale.js");
const { progressOf, remarksOf } = await from("status.js");

const MINUTE = 60_000;
const at = (minute) => new Date(minute * MINUTE).toISOString();
const VIEW = {
  name: "v",
  stream: "s",
  sql: "SELECT window_start, window_end, site, count(*) AS n FROM TUMBLE(s, ts, INTERVAL '1 minute') GROUP BY 1, 2, 3",
  keys: ["window_start", "window_end", "site"],
  columns: [["window_start", "timestamp"], ["window_end", "timestamp"], ["site", "text"], ["n", "integer"]].map(([name, type]) => ({ name, type })),
};

function row(minute, site, n, more = {}) {
  return { window_start: at(minute), window_end: at(minute + (more.size ?? 1)), site, n, revision: 1, final: false, completeness: 1, ...more };
}

function rowsOf(...all) {
  const rows = new Rows(VIEW, 100);
  for (const one of all) rows.put(one);
  return rows;
}

const figureOf = (rows, more = {}) =>
  lineFigure({ view: VIEW, rows, since: -Infinity, measure: "n", range: {}, now: 100 * MINUTE, slots: new Slots(), ...more });

test("an address says what was chosen, and nothing that it does not know", () => {
  const place = parse("?view=v&last=90m&column=n&column=site&where.site=a%26b&where.view=x&from=nonsense&evil=1");
  assert.deepEqual([place.view, place.last, place.columns, [...place.where]], ["v", "90m", ["n", "site"], [["site", "a&b"], ["view", "x"]]]);
  assert.deepEqual(parse(format(place).slice(1)), place);
  assert.equal(parse("?last=soon").last, undefined);
  assert.deepEqual([duration("6h"), duration("0s"), duration("h")], [6 * 60 * MINUTE, undefined, undefined]);
  assert.deepEqual(rangeOf({ last: "15m" }, 20 * MINUTE), { from: 5 * MINUTE });
});

test("a row is taken by its revision, and one that changes after it was complete is amended", () => {
  const rows = rowsOf(row(1, "a", 3, { revision: 3, completeness: 0.5 }), row(1, "a", 2, { revision: 2 }));
  const [point] = rows.points();
  assert.equal(point.row.n, 3);
  rows.put(row(1, "a", 4, { revision: 4 }));
  assert.equal([...rows.points()][0].amended, false);
  rows.put(row(1, "a", 5, { revision: 5 }));
  assert.equal([...rows.points()][0].amended, true);
  assert.equal(rows.size, 1);
  const read = rowsOf(
    row(1, "late", 1, { revision: 2, changed_at: at(9) }),
    row(1, "once", 1, { changed_at: at(9) }),
    row(1, "on time", 1, { revision: 2, changed_at: at(2) }),
  );
  assert.deepEqual([...read.points()].map((point) => point.amended), [true, false, false]);
});

test("a null key, a text that says null, and the overflow row are three groups", () => {
  const rows = rowsOf(row(1, null, 1), row(1, "null", 2), row(1, null, 3, { overflow: true }));
  assert.deepEqual([...rows.groups.values()].map((group) => group.name), ["(null)", "null", "(all other groups)"]);
  rows.remove(row(1, null, 1));
  assert.equal(rows.size, 2);
});

test("old windows are forgotten as wholes, and what the server no longer names is left out", () => {
  const rows = rowsOf();
  for (let minute = 0; minute < 100; minute += 1) for (const site of ["a", "b"]) rows.put(row(minute, site, 1));
  assert.ok(rows.size <= 125);
  const groups = [...rows.groups.values()];
  assert.equal(groups[0].points[0].start, groups[1].points[0].start);
  const { version } = rows;
  rows.put(row(200, "late", 1));
  rows.keepOnly([row(99, "a", 1)], -Infinity, version);
  assert.deepEqual([...rows.points()].map(({ start }) => start / MINUTE), [99, 200]);
});

test("windows in any order end up in order", () => {
  const rows = rowsOf();
  for (let step = 0; step < 50; step += 1) rows.put(row((step * 37) % 50, "a", step));
  const starts = [...rows.points()].map(({ start }) => start / MINUTE);
  assert.deepEqual(starts, [...Array(50).keys()]);
});

test("a gap is where no group has a window", () => {
  const rows = rowsOf(row(1, "a", 1), row(2, "b", 1), row(3, "a", 1), row(7, "a", 1));
  const { figure } = figureOf(rows);
  assert.deepEqual(figure.gaps, [{ start: 4 * MINUTE, end: 7 * MINUTE }]);
  assert.deepEqual(figureOf(rows, { since: 5 * MINUTE }).figure.gaps, []);
});

test("windows that overlap have a gap where one of their steps is missing", () => {
  const view = { ...VIEW, sql: VIEW.sql.replace("TUMBLE(s, ts, INTERVAL '1 minute'", "HOP(s, ts, INTERVAL '1 minute', INTERVAL '5 minutes'") };
  const rows = rowsOf(...[1, 2, 3, 6].map((minute) => row(minute, "a", 1, { size: 5 })));
  const { figure } = figureOf(rows, { view });
  assert.deepEqual([windowKind(view), figure.hop, figure.gaps], ["hop", MINUTE, [{ start: 4 * MINUTE, end: 6 * MINUTE }]]);
});

test("of many groups the largest are drawn, and each keeps its colour", () => {
  const rows = rowsOf();
  for (let group = 0; group < 30; group += 1) rows.put(row(1, `g${group}`, group));
  const slots = new Slots();
  const first = figureOf(rows, { slots });
  assert.deepEqual([first.groups, first.figure.lines.length, first.figure.lines[0].name], [30, 8, "g22"]);
  const slot = first.figure.lines.find((line) => line.name === "g25").slot;
  rows.put(row(2, "g0", 1000));
  const next = figureOf(rows, { slots }).figure.lines;
  assert.equal(next.find((line) => line.name === "g25").slot, slot);
  assert.equal(new Set(next.map((line) => line.slot)).size, 8);
});

test("bars are of the newest window that is complete", () => {
  const rows = rowsOf(row(1, "a", 5), row(1, "b", 9), row(2, "a", 1, { completeness: 0 }));
  const { bars, window } = barFigure({ rows, measure: "n", range: {} });
  assert.deepEqual(bars.map((bar) => [bar.name, bar.value]), [["b", 9], ["a", 5]]);
  assert.equal(window.start, MINUTE);
});

test("percentiles are read out of the SQL as it stands", () => {
  const sql = `SELECT window_start, -- approx_percentile(x, 0.1) AS no
    approx_percentile(round(coalesce(ms, 0), 2), 0.95) FILTER (WHERE ok) AS P95, approx_median(ms) AS "The Middle",
    approx_percentile(ms, 0.5) AS again, 'approx_percentile(ms, 0.3) AS text' AS t, APPROX_PERCENTILE(ms, 0.05) low
    FROM TUMBLE(s, ts, INTERVAL '1 minute')`;
  const names = ["P95", "The Middle", "again", "low", "t"];
  const view = { ...VIEW, sql, columns: names.map((name) => ({ name, type: "number" })), keys: ["window_start"] };
  assert.deepEqual(percentilesOf(view).map(({ name, share }) => [name, share]), [["low", 0.05], ["The Middle", 0.5], ["P95", 0.95]]);
  assert.deepEqual(chartsOf(view), ["bands", "lines", "top"]);
  assert.deepEqual(chartsOf({ ...VIEW, sql: "SELECT site, count(*) AS n FROM s GROUP BY site" }), ["top"]);
});

test("a table sorts numbers as numbers, nulls last, and rows that are alike by window", () => {
  const rows = rowsOf(row(1, "a", 10), row(2, "a", 9), row(3, "a", null), row(4, "a", 10));
  const order = (sort) => sorted([...rows.points()], tableColumns(VIEW), sort).map(({ start }) => start / MINUTE);
  assert.deepEqual([order(undefined), order("n"), order("-n")], [[4, 3, 2, 1], [2, 4, 1, 3], [3, 4, 1, 2]]);
});

test("a mistake is found by line and character, also behind characters of two units", () => {
  const text = "SELECT '😀ü', cuont(*)\nFROM x";
  const start = offsetOf(text, 1, 14);
  assert.deepEqual(text.slice(...tokenAt(text, start)), "cuont");
  assert.deepEqual(tokenAt(text, offsetOf(text, 2, 99)), [text.length, text.length]);
  assert.equal(text.slice(...tokenAt(text, offsetOf(text, 2, 6))), "x");
});

test("axes are round and hold what they must", () => {
  assert.deepEqual(valueTicks(0, 1, 4), [0, 0.5, 1]);
  assert.deepEqual(valueTicks(0, 0.3, 3), [0, 0.1, 0.2, 0.3]);
  assert.deepEqual([valueRange(5, 100), valueRange(95, 100), valueRange(Infinity, -Infinity), valueRange(0, 0)], [[0, 100], [95, 100], [0, 1], [0, 1]]);
  for (const [low, high] of [[0, 7], [19.2, 23.9], [-3, 1e9], [1e-7, 2e-7]]) {
    const ticks = valueTicks(low, high, 5);
    assert.ok(ticks[0] <= low && ticks.at(-1) >= high && ticks.length < 14, `${low} to ${high}: ${ticks}`);
  }
  const { ticks, step } = timeTicks(0, 60 * MINUTE, 6);
  assert.deepEqual([step, ticks.length], [10 * MINUTE, 7]);
});

test("a view tells how far it is, and what it waits for", () => {
  assert.equal(progressOf({ live: true, position: 3 }), undefined);
  assert.equal(progressOf({ live: false, backfill: { position: 43, target: 100, share: 0.43 } }), 0.43);
  const [filling] = remarksOf({ live: true, serves: {}, backfill: { share: 0.5, estimated_rest_s: 130 } });
  assert.equal(filling.text, "The new definition is reading the log, 50 % done, about 2 min to go; until then the view is what it was");
  assert.deepEqual(remarksOf({ live: true, waiting_for: ["orders"] })[0].level, "warn");
  assert.deepEqual(remarksOf({ live: true, position: 9, overflowed: 0 }), []);
});
