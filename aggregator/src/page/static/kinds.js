// What a view's definition says about how to draw it. The API names columns and keys; the kind of window and the
// columns that are percentiles stand in the SQL only.

const BOUNDS = new Set(["window_start", "window_end"]);
/** A column of type `any` may hold numbers: only the data can tell. */
const NUMERIC = new Set(["integer", "number", "any"]);

/** Columns by which a row is told from others of its window. */
export function keysOf(view) {
  return view.columns.filter((column) => view.keys.includes(column.name) && !BOUNDS.has(column.name));
}

/** Columns that can be drawn. */
export function measuresOf(view) {
  return view.columns.filter((column) => NUMERIC.has(column.type) && !view.keys.includes(column.name));
}

/** All columns but the window's bounds. */
export function shownOf(view) {
  return view.columns.filter((column) => !BOUNDS.has(column.name));
}

/** `tumble`, `hop`, `session`, or `none` for a running row a group. */
export function windowKind(view) {
  const [, word] = /\bfrom\s+(tumble|hop|session)\s*\(/i.exec(bare(view.sql)) ?? [];
  return word ? word.toLowerCase() : "none";
}

/** Comments and the inside of quotes, blanked: what is left keeps its place. */
function bare(sql) {
  return sql.replace(/--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'/g, (part) => " ".repeat(part.length));
}

/** Columns that are percentiles, lowest first: [{name, share}], each share once. */
export function percentilesOf(view) {
  const text = bare(view.sql);
  const found = new Map();
  for (const { index, 0: call, 1: word } of text.matchAll(/\bapprox_(percentile|median)\s*\(/gi)) {
    const open = index + call.length;
    const close = closing(text, open);
    if (close === undefined) continue;
    const share = word.toLowerCase() === "median" ? 0.5 : Number(lastArgument(text.slice(open, close)));
    const name = nameBehind(text.slice(close + 1));
    if (!(share >= 0 && share <= 1) || !view.columns.some((column) => column.name === name)) continue;
    if (!found.has(share)) found.set(share, name);
  }
  return [...found].sort(([a], [b]) => a - b).map(([share, name]) => ({ share, name }));
}

/** Where the parenthesis that was opened just before `at` is closed. */
function closing(text, at) {
  let depth = 1;
  for (let place = at; place < text.length; place += 1) {
    if (text[place] === "(") depth += 1;
    if (text[place] === ")") depth -= 1;
    if (depth === 0) return place;
  }
  return undefined;
}

function lastArgument(inside) {
  let depth = 0;
  for (let place = inside.length - 1; place >= 0; place -= 1) {
    if (inside[place] === ")") depth += 1;
    if (inside[place] === "(") depth -= 1;
    if (inside[place] === "," && depth === 0) return inside.slice(place + 1).trim();
  }
  return undefined;
}

/** The name that a column is given: `AS p99`, `AS "P 99"`, `p99`; a FILTER may stand before it. */
function nameBehind(rest) {
  let text = rest.trimStart();
  const filter = /^filter\s*\(/i.exec(text);
  if (filter) text = text.slice((closing(text, filter[0].length) ?? text.length) + 1).trimStart();
  const [, quoted, word] = /^(?:as\s+)?(?:"((?:[^"]|"")+)"|([a-z_][\w$]*))/i.exec(text) ?? [];
  return quoted ? quoted.replaceAll('""', '"') : word;
}

/** What tells the definition that a view serves from others: rows of one are not rows of another. */
export function servedBy(view) {
  return JSON.stringify([view.created_at, view.serves?.sql ?? view.sql, view.columns?.map((column) => column.name)]);
}
