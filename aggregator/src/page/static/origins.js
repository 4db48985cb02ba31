// What a row is made of, from what the API says page by page to what is drawn and told: agents, gateways and schema versions,
// with counts that add up to the row's own. Pure.

import { integer } from "./format.js";

/** Columns of the picture, from left to right; the row itself is the last. */
export const STAGES = ["Agents", "Gateways", "Schema versions", "The row"];
/** Nodes of one column: the largest; what is left is one more. */
const MOST_NODES = 8;

/** All pages so far as one answer; the first one begins it. */
export function joined(before, page) {
  if (!before) return page;
  const lanes = new Map(before.lanes.map((lane) => [lane.lane, lane]));
  for (const lane of page.lanes) {
    const known = lanes.get(lane.lane);
    lanes.set(lane.lane, known ? { ...known, first_seq: Math.min(known.first_seq, lane.first_seq), last_seq: Math.max(known.last_seq, lane.last_seq), events: known.events + lane.events, ranges: [...known.ranges, ...lane.ranges] } : lane);
  }
  const sums = (name, key) => {
    const all = new Map();
    for (const part of [...before[name], ...page[name]]) {
      const known = all.get(part[key]);
      all.set(part[key], known ? { ...known, events: known.events + part.events } : part);
    }
    return [...all.values()];
  };
  return {
    ...page,
    explained: before.explained + page.explained,
    lanes: [...lanes.values()],
    agents: sums("agents", "agent"),
    gateways: sums("gateways", "gateway"),
    schemas: sums("schemas", "version"),
  };
}

const sum = (parts) => parts.reduce((all, { events }) => all + events, 0);

/** Whether all counts add up: {level, text, complete}. */
export function balanceOf(answer) {
  const { events, explained, complete } = answer;
  const gone = answer.not_kept?.events ?? 0;
  const parts = [answer.lanes, answer.agents, answer.gateways, answer.schemas].map(sum);
  const alike = parts.every((count) => count === explained) && answer.lanes.every((lane) => sum(lane.ranges) === lane.events);
  if (!complete) return { level: alike ? "warn" : "bad", text: `${integer(explained)} of ${integer(events)} events are found so far.` };
  const right = alike && explained + gone === events;
  const lost = gone > 0 ? ` + ${integer(gone)} no longer kept` : "";
  const left = `${integer(explained)} found${lost}`;
  return right
    ? { level: "good", text: `${left} = ${integer(events)}, the row's own count.` }
    : { level: "bad", text: `${left} are not ${integer(events)}, the row's own count. This must not be: please report it.` };
}

const REPLAYS = "Replays of dead letters";
const NO_SCHEMA = "no schema";

export function versionText({ schema }) {
  return schema ? `version ${schema.version}` : NO_SCHEMA;
}

/** The columns' nodes and what flows between them: {stages: [[{name, events}]], flows: [{from: [stage, name], to, events}], all}. */
export function flowOf(answer) {
  const ranges = answer.lanes.flatMap((lane) => lane.ranges.map((range) => [range.events, lane.agent, range.replayed ? REPLAYS : (range.gateway ?? "unknown"), versionText(range)]));
  const stages = [1, 2, 3].map((stage) => nodesOf(ranges, stage));
  const shown = stages.map((nodes) => new Set(nodes.map(({ name }) => name)));
  const flows = new Map();
  const add = (from, to, events) => {
    const key = JSON.stringify([from, to]);
    const known = flows.get(key);
    if (known) known.events += events;
    else flows.set(key, { from, to, events });
  };
  for (const [events, ...names] of ranges) {
    const [agent, gateway, schema] = names.map((name, stage) => [stage, shown[stage].has(name) ? name : others(stages[stage])]);
    add(agent, gateway, events);
    add(gateway, schema, events);
    add(schema, [3, "row"], events);
  }
  const found = sum(answer.lanes);
  const rest = answer.complete ? (answer.not_kept?.events ?? 0) : Math.max(0, answer.events - found);
  const name = answer.complete ? "No longer kept" : "Not read yet";
  if (rest > 0) {
    // beside the agents: nobody can say which ones
    stages[0] = [...stages[0], { name, events: rest, missing: true }];
    add([0, name], [3, "row"], rest);
  }
  const all = found + rest;
  return { stages: [...stages, [{ name: "row", events: all }]], flows: [...flows.values()], all };
}

function nodesOf(ranges, stage) {
  const events = new Map();
  for (const range of ranges) events.set(range[stage], (events.get(range[stage]) ?? 0) + range[0]);
  const nodes = [...events].map(([name, count]) => ({ name, events: count })).sort((a, b) => b.events - a.events || a.name.localeCompare(b.name, undefined, { numeric: true }));
  const rest = nodes.slice(MOST_NODES);
  if (rest.length < 2) return nodes;
  return [...nodes.slice(0, MOST_NODES), { name: `${integer(rest.length)} others`, events: sum(rest), others: true }];
}

function others(nodes) {
  return nodes.find((node) => node.others)?.name;
}

/** Pixels: between two nodes of a column, of the thinnest one, for the words beside one, and of all events together. */
const SPACE = 12;
const THIN = 2;
const WORDS = 34;
const BODY = 200;

/** Where nodes and flows are drawn: nodes get `y` and `size`, flows `y` at both ends and `size`; and the height of all. */
export function placed({ stages, flows, all }) {
  const unit = BODY / Math.max(1, all);
  const sizeOf = ({ events }) => Math.max(THIN, events * unit);
  const heightOf = (list) => list.reduce((sum, node) => sum + Math.max(WORDS, sizeOf(node)), 0) + SPACE * (list.length - 1);
  const height = Math.max(...stages.map(heightOf));
  const nodes = new Map();
  stages.forEach((list, stage) => {
    let top = (height - heightOf(list)) / 2;
    for (const node of list) {
      const size = sizeOf(node);
      const room = Math.max(WORDS, size);
      const y = top + (room - size) / 2;
      nodes.set(JSON.stringify([stage, node.name]), { ...node, stage, y, size, left: y, right: y });
      top += room + SPACE;
    }
  });
  const of = (end) => nodes.get(JSON.stringify(end));
  // in the order of the nodes that they come from and go to, so that flows of one node do not cross
  const ordered = [...flows].sort((a, b) => of(a.from).y - of(b.from).y || of(a.to).y - of(b.to).y);
  const drawn = ordered.map((flow) => {
    const size = Math.max(1, flow.events * unit);
    const [from, to] = [of(flow.from), of(flow.to)];
    const one = { ...flow, size, start: from.right, end: to.left, stages: [from.stage, to.stage], missing: from.missing };
    from.right += size;
    to.left += size;
    return one;
  });
  return { nodes: [...nodes.values()], flows: drawn, height };
}
