// What a row is made of as a picture. Wide: what flows from the agents to the row, as thick as it is many. Narrow: a bar for
// each column. It only shows what the tables beneath tell, so it is hidden from screen readers.

import { el } from "./dom.js";
import { integer, percent } from "./format.js";
import { STAGES, flowOf, placed } from "./origins.js";
import { onWidth, svg, textNode } from "./svg.js";

const WIDE = 720;
const HEAD = 30;
const NODE = 12;
const SLOTS = 8;

export class OriginsPicture {
  constructor() {
    this.node = el("div", { class: "picture origins-picture", "aria-hidden": "true", "data-testid": "origins-picture" });
    onWidth(this.node, (width) => this.#draw(width));
  }

  show(answer) {
    this.flow = flowOf(answer);
    if (this.width) this.#draw(this.width);
  }

  #draw(width) {
    this.width = width;
    if (!this.flow) return;
    this.node.replaceChildren(width >= WIDE ? wide(this.flow, width) : narrow(this.flow));
  }
}

function wide(flow, width) {
  const column = width / STAGES.length;
  const label = column - NODE - 20;
  const x = (stage) => 2 + stage * column;
  const { nodes, flows, height } = placed(flow);
  const picture = svg("svg", { width, height: height + HEAD + 6, viewBox: `0 0 ${width} ${height + HEAD + 6}`, focusable: "false" });
  STAGES.forEach((title, stage) => picture.append(textNode(title, { x: x(stage), y: 14, width: column - 10, size: 12, class: "muted" })));
  const slots = new Map(flow.stages[0].map(({ name }, at) => [name, at % SLOTS]));
  for (const one of flows) {
    const [from, to] = [x(one.stages[0]) + NODE, x(one.stages[1])];
    const middle = (from + to) / 2;
    const [a, b] = [HEAD + one.start + one.size / 2, HEAD + one.end + one.size / 2];
    const slot = one.from[0] === 0 && !one.missing ? slots.get(one.from[1]) : undefined;
    const node = svg("path", { d: `M${from} ${a}C${middle} ${a} ${middle} ${b} ${to} ${b}`, "stroke-width": one.size, class: one.missing ? "flow missing" : "flow", "data-slot": slot });
    node.append(svg("title", {}, eventsText(one.events)));
    picture.append(node);
  }
  for (const node of nodes) picture.append(nodeOf(node, x(node.stage), label, slots));
  return picture;
}

function eventsText(count) {
  return `${integer(count)} ${count === 1 ? "event" : "events"}`;
}

function nodeOf({ name, stage, events, y, size, missing }, x, width, slots) {
  const last = stage === STAGES.length - 1;
  const title = last ? eventsText(events) : name;
  const middle = HEAD + y + size / 2;
  return svg(
    "g",
    { class: "origin", "data-stage": stage },
    svg("rect", { x, y: HEAD + y, width: NODE, height: size, rx: 2, class: missing ? "missing" : null, "data-slot": stage === 0 && !missing ? slots.get(name) : null }),
    textNode(title, { x: x + NODE + 7, y: middle - 1, width, size: 13, bold: true, class: "ink halo" }),
    textNode(last ? "in this row" : eventsText(events), { x: x + NODE + 7, y: middle + 14, width, size: 12, class: "muted halo" }),
  );
}

function narrow({ stages, all }) {
  const bars = stages.slice(0, -1).map((nodes, stage) => {
    const segments = nodes.map(({ events, missing }, at) => {
      const segment = el("span", missing ? { class: "missing" } : { "data-slot": String(at % SLOTS) });
      segment.style.flexGrow = String(events / Math.max(1, all));
      return segment;
    });
    const told = nodes.map(({ name, events, missing }, at) => {
      const value = el("span", { class: "group-value" }, `${integer(events)}, ${percent(events / Math.max(1, all))}`);
      return el("li", { "data-slot": missing ? null : String(at % SLOTS) }, el("span", { class: "legend-text" }, el("span", {}, name), value));
    });
    return el("div", {}, el("p", { class: "meta" }, STAGES[stage]), el("div", { class: "time-bar" }, ...segments), el("ul", { class: "legend" }, ...told));
  });
  return el("div", {}, ...bars);
}
