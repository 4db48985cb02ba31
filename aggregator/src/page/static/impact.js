// What would break if a field of a stream went.

import { format } from "./address.js";
import { el } from "./dom.js";
import { impactText } from "./mesh.js";
import { cell, plainTable } from "./plaintable.js";

export function impactNodes(impact) {
  if (impact.error) return [el("p", { class: "notice", role: "status" }, impact.error)];
  const { level, text } = impactText(impact);
  const parts = [
    el("h4", { id: "impact-title" }, `Without ${impact.field}`),
    el("p", { class: "verdict", "data-level": level, role: "status", "data-testid": "impact" }, text),
  ];
  if (!impact.known) parts.push(el("p", { class: "meta" }, `No schema names ${impact.field}, and nothing reads it: is it written as in the events?`));
  const rows = [...schemaRows(impact), ...impact.rules.map(ruleRow), ...impact.views.flatMap(viewRows)];
  if (rows.length > 0) parts.push(plainTable(`Without ${impact.field}`, ["What", "Where", "Reads", "So"], rows, "impact-rows"));
  parts.push(el("p", { class: "meta" }, "Ad-hoc queries, and whoever reads a view from outside, are not known here."));
  return parts;
}

function row(level, what, where, reads, says) {
  return el("tr", { "data-level": level }, cell("What", what, "name"), cell("Where", where || "–"), cell("Reads", reads ? el("code", {}, reads) : "–"), cell("So", says));
}

function schemaRows({ schema }) {
  if (!schema) return [];
  return [row(schema.breaks ? "bad" : "quiet", `schema ${schema.subject}`, `version ${schema.version}`, "", schema.says)];
}

function ruleRow(rule) {
  return row("bad", `rule ${rule.name}`, "", rule.sql, rule.says);
}

function viewRows(view) {
  const name = el("span", {}, "view ", el("a", { href: format({ graph: `view:${view.view}` }) }, view.view));
  const clauses = view.clauses.map((clause) => row("bad", name.cloneNode(true), clause.clause.toUpperCase(), clause.reads.join(", "), clause.says));
  const columns = view.columns.map((column) => row("bad", name.cloneNode(true), `column ${column.column}`, column.sql, "changes"));
  const rows = [...clauses, ...columns];
  return rows.length > 0 ? rows : [row("good", name, view.reads ? `over ${view.reads}` : "", "", view.says)];
}
