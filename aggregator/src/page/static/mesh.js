// The graph of what there is, as it is drawn: nodes that are alike in everything become one, and what lies before and behind a
// node. Pure.

import { integer } from "./format.js";

/** From left to right, when nothing else says so. */
const RANKS = { agent: 0, gateway: 1, schema: 1, stream: 2, view: 3 };
/** So many nodes of a kind that hang together with the same others stay apart. */
const ALIKE = 6;

export const KINDS = ["agent", "gateway", "schema", "stream", "view"];

/** "agents", "1 agent" */
export function countOf(kind, count) {
  return `${integer(count)} ${kind}${count === 1 ? "" : "s"}`;
}

/** {nodes, edges} as drawn; a bundle is {id, kind, name, members}. `apart`: ids that stay by themselves. */
export function drawn({ nodes, edges }, apart = new Set()) {
  const beside = new Map(nodes.map(({ id }) => [id, []]));
  for (const { from, to, kind } of edges) {
    beside.get(from)?.push(`> ${kind} ${to}`);
    beside.get(to)?.push(`< ${kind} ${from}`);
  }
  const alike = new Map();
  for (const node of nodes) {
    const key = apart.has(node.id) ? node.id : JSON.stringify([node.kind, beside.get(node.id).sort()]);
    if (alike.has(key)) alike.get(key).push(node);
    else alike.set(key, [node]);
  }
  const bundleOf = new Map();
  const shown = [];
  for (const members of alike.values()) {
    if (members.length <= ALIKE) {
      shown.push(...members);
      continue;
    }
    const [{ kind, id }] = members;
    const bundle = { id: `bundle:${id}`, kind, name: countOf(kind, members.length), members };
    members.forEach((member) => bundleOf.set(member.id, bundle.id));
    shown.push(bundle);
  }
  const order = new Map(nodes.map(({ id }, at) => [id, at]));
  shown.sort((a, b) => order.get((a.members ?? [a])[0].id) - order.get((b.members ?? [b])[0].id));
  const lines = new Map();
  for (const edge of edges) {
    const [from, to] = [bundleOf.get(edge.from) ?? edge.from, bundleOf.get(edge.to) ?? edge.to];
    lines.set(JSON.stringify([from, to, edge.kind]), { ...edge, from, to });
  }
  return { nodes: shown.map((node) => ({ ...node, rank: RANKS[node.kind] ?? 0 })), edges: throughGateways([...lines.values()]) };
}

/** What an agent produces is not drawn beside the way that it takes over a gateway. */
function throughGateways(edges) {
  const passes = edges.filter(({ kind }) => kind === "passes_through");
  const next = new Map();
  for (const { from, to } of passes) next.set(from, [...(next.get(from) ?? []), to]);
  const reached = ({ from, to }) => (next.get(from) ?? []).some((gateway) => (next.get(gateway) ?? []).includes(to));
  return edges.filter((edge) => edge.kind !== "produces" || !reached(edge));
}

/** Ids of all that lies behind a node, or before it. A gateway passes on what is not its own: who goes by it ends there. */
export function reach(edges, id, behind) {
  const [here, there] = behind ? ["from", "to"] : ["to", "from"];
  const beside = new Map();
  for (const edge of edges) {
    if (beside.has(edge[here])) beside.get(edge[here]).push(edge[there]);
    else beside.set(edge[here], [edge[there]]);
  }
  const found = new Set();
  const waiting = [id];
  for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
    for (const next of beside.get(one) ?? []) {
      if (found.has(next) || next === id) continue;
      found.add(next);
      if (!next.startsWith("gateway:")) waiting.push(next);
    }
  }
  return found;
}

/** Where an arrow key leads from a cell of the layout: an id, or nothing. */
export function step(columns, cell, key) {
  const nodes = (cells) => cells.filter(({ id }) => id !== undefined);
  const nearest = (cells) => nodes(cells).sort((a, b) => Math.abs(a.y - cell.y) - Math.abs(b.y - cell.y))[0]?.id;
  if (key === "ArrowUp" || key === "ArrowDown") {
    const column = nodes(columns[cell.column]);
    return column[column.indexOf(cell) + (key === "ArrowUp" ? -1 : 1)]?.id;
  }
  const side = key === "ArrowRight" ? "after" : "before";
  const direct = ends(cell, side);
  if (direct.length > 0) return nearest(direct);
  const way = key === "ArrowRight" ? 1 : -1;
  for (let column = cell.column + way; column >= 0 && column < columns.length; column += way) {
    const id = nearest(columns[column]);
    if (id !== undefined) return id;
  }
  return undefined;
}

/** The nodes that lines from a cell end at. */
function ends(cell, side) {
  return cell[side].flatMap((next) => (next.id === undefined ? ends(next, side) : [next]));
}

/** Ids of what breaks when a stream's field goes, and of what is concerned at all. */
export function touched(impact) {
  const broken = new Set(impact.views.filter((view) => view.breaks).map((view) => `view:${view.view}`));
  if (impact.schema?.breaks || impact.rules.length > 0) broken.add(`schema:${impact.schema.subject}`);
  const concerned = new Set([`stream:${impact.stream}`, ...impact.agents.map(({ agent }) => `agent:${agent}`), ...broken]);
  return { broken, concerned };
}

/** What would break, in a sentence, and how bad that is. */
export function impactText({ stream, field, breaks, schema, rules, views }) {
  if (field === null || field === undefined) return { level: "quiet", text: `${countOf("view", views.length)} over ${stream}.` };
  if (!breaks) return { level: "good", text: `Nothing here would break without ${field}.` };
  const broken = views.filter((view) => view.breaks).length;
  const parts = [];
  if (schema?.breaks) parts.push("every event would be a dead letter, because its schema requires it");
  if (rules.length > 0) parts.push(`${countOf("rule", rules.length)} of the schema would have to go`);
  if (broken > 0) parts.push(`${countOf("view", broken)} would change`);
  return { level: "bad", text: `Without ${field}, ${parts.join("; ")}.` };
}
