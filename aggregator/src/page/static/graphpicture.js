// The graph as a picture that is walked by keyboard: each node is a link, arrow keys lead along the lines.

import { format } from "./address.js";
import { el } from "./dom.js";
import { layered } from "./layers.js";
import { step } from "./mesh.js";
import { onWidth, svg, textNode } from "./svg.js";

const BOX = 44;
const SPACE = 14;
/** What a line takes of a column that it only passes. */
const PASSING = 14;
/** A column is so wide at least: a narrow picture is scrolled sidewards. */
const COLUMN = 178;
const GAP = 46;
const ARROWS = new Set(["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight"]);

export class GraphPicture {
  /** `open(bundle)` hears that a bundle is to be opened. */
  constructor(open) {
    this.open = open;
    this.node = el("div", { class: "picture graph-picture scroll", role: "region", "aria-label": "Graph, walked with the arrow keys", tabindex: "0", "data-testid": "graph-picture" });
    this.node.addEventListener("keydown", (event) => this.#key(event));
    onWidth(this.node, (width) => this.#draw(width));
  }

  /** `graph` as `drawn` gives it; `marks` says of each id how it looks: {level?, faint?, selected?}. */
  show(graph, marks) {
    this.graph = graph;
    this.marks = marks;
    if (this.width) this.#draw(this.width);
  }

  #draw(width) {
    this.width = width;
    if (!this.graph) return;
    const focused = this.node.contains(document.activeElement) ? document.activeElement.dataset.id : undefined;
    this.layout = layered(this.graph.nodes, this.graph.edges);
    const { columns, lines } = this.layout;
    const column = Math.max(COLUMN, width / Math.max(1, columns.length));
    const box = Math.min(230, column - GAP);
    const height = place(columns, column);
    const all = column * columns.length;
    const picture = svg("svg", { width: all, height, viewBox: `0 0 ${all} ${height}`, focusable: "false" });
    for (const line of lines) picture.append(this.#line(line, box));
    const nodes = new Map(this.graph.nodes.map((node) => [node.id, node]));
    this.cells = new Map();
    for (const cell of columns.flat()) {
      if (cell.id === undefined) continue;
      this.cells.set(cell.id, { ...cell, node: picture.appendChild(this.#box(nodes.get(cell.id), cell, box)) });
    }
    this.node.replaceChildren(picture);
    this.#rove(focused);
    if (focused !== undefined) this.cells.get(focused)?.node.focus();
    this.#bringIntoView(column);
  }

  /** The node that was just chosen, where the picture is wider than its place. */
  #bringIntoView(column) {
    const selected = this.graph.nodes.find(({ id }) => this.#mark(id).selected)?.id;
    if (selected === this.brought) return;
    this.brought = selected;
    const cell = this.cells.get(selected);
    if (cell) this.node.scrollLeft = cell.x - (this.width - column) / 2;
  }

  #mark(id) {
    return this.marks.get(id) ?? {};
  }

  #line({ edge, cells }, box) {
    const points = cells.flatMap(({ id, x, y }) => (id === undefined ? [[x, y], [x + box, y]] : [[x, y], [x + box, y]]));
    const way = points.slice(1, -1);
    let path = `M${way[0].join(" ")}`;
    for (let at = 1; at < way.length; at += 1) {
      const [[x, y], [nextX, nextY]] = [way[at - 1], way[at]];
      const middle = (x + nextX) / 2;
      path += `C${middle} ${y} ${middle} ${nextY} ${nextX} ${nextY}`;
    }
    const faint = this.#mark(edge.from).faint || this.#mark(edge.to).faint;
    return svg("path", { d: path, class: `edge ${edge.kind}${faint ? " faint" : ""}` });
  }

  #box(node, { x, y }, width) {
    const { level, faint, selected } = this.#mark(node.id);
    const attributes = { class: `node${faint ? " faint" : ""}`, "data-kind": node.kind, "data-id": node.id, "data-level": level, "aria-current": selected ? "true" : null, tabindex: "-1" };
    const above = node.members ? "open" : level === "bad" ? `${node.kind}, would break` : node.connected === false ? `${node.kind}, away` : node.kind;
    const link = svg(
      "a",
      { ...attributes, href: node.members ? "#content" : format({ graph: node.id }) },
      svg("rect", { x, y: y - BOX / 2, width, height: BOX, rx: 8 }),
      textNode(above, { x: x + 12, y: y - 5, width: width - 24, size: 11, class: "muted" }),
      " ",
      textNode(node.name, { x: x + 12, y: y + 12, width: width - 24, size: 13, bold: true, class: "ink" }),
    );
    if (node.members) {
      link.addEventListener("click", (event) => {
        event.preventDefault();
        this.open(node);
      });
    }
    return link;
  }

  /** One node is reached by Tab: the one that had the focus, the selected one, or the first. */
  #rove(wanted) {
    const selected = this.graph.nodes.find(({ id }) => this.#mark(id).selected)?.id;
    const id = [wanted, selected, this.graph.nodes[0]?.id].find((one) => this.cells.has(one));
    for (const [own, { node }] of this.cells) node.setAttribute("tabindex", own === id ? "0" : "-1");
  }

  #key(event) {
    const cell = this.cells?.get(event.target.dataset?.id);
    if (!cell || !ARROWS.has(event.key)) return;
    event.preventDefault();
    const own = this.layout.columns[cell.column].find(({ id }) => id === cell.id);
    const id = step(this.layout.columns, own, event.key);
    if (id === undefined) return;
    this.#rove(id);
    this.cells.get(id).node.focus();
  }
}

/** Gives each cell its place; answers the height of all. */
function place(columns, width) {
  const room = ({ id }) => (id === undefined ? PASSING : BOX + SPACE);
  const heights = columns.map((cells) => cells.reduce((sum, cell) => sum + room(cell), 0));
  const height = Math.max(BOX + SPACE, ...heights);
  columns.forEach((cells, column) => {
    let top = (height - heights[column]) / 2;
    for (const cell of cells) {
      Object.assign(cell, { x: 4 + column * width, y: top + room(cell) / 2 });
      top += room(cell);
    }
  });
  return height + 8;
}
