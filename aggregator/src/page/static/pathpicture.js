// An event's path as a picture. Wide: a column for each place, time downwards, a box for each stop. Narrow: a rail for each
// place, with the words beside. It only shows what the table beneath tells, so it is hidden from screen readers.

import { el } from "./dom.js";
import { lapse, moment } from "./format.js";
import { PLACES } from "./path.js";
import { onWidth, svg, textNode } from "./svg.js";

/** From this width on, there is room for boxes. */
const WIDE = 720;
const HEAD = 52;
const GUTTER = 104;
const BOX = 46;
/** Between two boxes: at least, and how much more for each power of ten of milliseconds, up to a day. */
const PITCH = 30;
const STRETCH = 5;
const RAIL = 17;
const ROW = 62;

export class PathPicture {
  constructor() {
    this.node = el("div", { class: "picture path-picture", "aria-hidden": "true", "data-testid": "path-picture" });
    onWidth(this.node, (width) => this.#draw(width));
  }

  show(path) {
    this.path = path;
    if (this.width) this.#draw(this.width);
  }

  #draw(width) {
    this.width = width;
    if (!this.path) return;
    this.node.replaceChildren(width >= WIDE ? wide(this.path, width) : narrow(this.path, width));
  }
}

/** Longer waits are longer, but none is out of sight. */
function stretch(gap) {
  return gap > 0 ? STRETCH * Math.min(8, Math.log10(1 + gap)) : 0;
}

function wide({ places, stops, legs }, width) {
  const column = (width - GUTTER) / PLACES.length;
  const box = Math.min(250, column - 18);
  const centre = (place) => GUTTER + column * (place + 0.5);
  const gapTo = new Map(legs.map((leg) => [leg.to, leg.gap]));
  let y = HEAD + 14;
  const tops = stops.map((stop, at) => {
    // views stand beside what led to them
    if (at > 0) y += BOX + (stop.hop === "view" && stops[at - 1].hop === "view" ? 10 : PITCH + stretch(gapTo.get(at)));
    return y;
  });
  const height = y + BOX + 12;
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, focusable: "false" }, arrowHeads());
  places.forEach((place, at) => picture.append(...head(place, centre(at), column, height)));
  const corners = stops.map((stop, at) => ({ x: centre(stop.place) - box / 2, y: tops[at], centre: centre(stop.place), box }));
  stops.forEach((stop, at) => {
    if (stop.lost) picture.append(...deadEnd(corners[at].x + corners[at].box, tops[at] + BOX / 2, centre(stop.place + 1) - 14));
  });
  for (const leg of legs) picture.append(...wideLeg(leg, corners[leg.from], corners[leg.to], stops[leg.to]));
  stops.forEach((stop, at) => {
    if (stop.at !== undefined) picture.append(textNode(moment(stop.at), { x: 0, y: tops[at] + BOX / 2 + 4, width: GUTTER - 8, size: 12, class: "muted" }));
    picture.append(boxOf(stop, corners[at]));
  });
  return picture;
}

function arrowHeads() {
  const one = (kind) =>
    svg("marker", { id: `head-${kind}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { d: "M0 0 8 4 0 8z", class: `head ${kind}` }));
  return svg("defs", {}, ...["way", "later"].map(one));
}

function head({ key, title, name }, x, column, height) {
  return [
    svg("line", { x1: x, x2: x, y1: HEAD, y2: height, class: "lifeline" }),
    textNode(title, { x, y: 18, width: column - 12, size: 12, class: "muted", "text-anchor": "middle" }),
    textNode(name, { x, y: 38, width: column - 12, size: 14, bold: true, class: "ink", "text-anchor": "middle", "data-place": key }),
  ];
}

function boxOf(stop, { x, y, box }) {
  const node = svg(
    "g",
    { class: "stop", "data-level": stop.level, "data-hop": stop.hop },
    svg("title", {}, `${stop.title}: ${stop.detail}`),
    svg("rect", { x, y, width: box, height: BOX, rx: 8 }),
    textNode(stop.title, { x: x + 12, y: y + 19, width: box - (stop.trace?.url ? 64 : 24), size: 13, bold: true, class: "ink" }),
    textNode(stop.detail, { x: x + 12, y: y + 36, width: box - 24, size: 12, class: "muted" }),
  );
  if (stop.trace?.url) node.append(traceLink(stop.trace, x + box - 12, y + 19));
  return node;
}

/** For the mouse; the table has the same link for everybody. */
function traceLink({ url }, x, y) {
  return svg("a", { href: url, target: "_blank", rel: "noopener", tabindex: "-1" }, svg("text", { x, y, "font-size": 12, "text-anchor": "end", class: "link" }, "trace ↗"));
}

/** The way that led nowhere. */
function deadEnd(from, y, to) {
  const cross = `M${to - 5} ${y - 5}l10 10m0 -10l-10 10`;
  return [svg("path", { d: `M${from} ${y}H${to}`, class: "leg lost" }), svg("path", { d: cross, class: "cross" })];
}

function wideLeg({ kind, gap }, from, to, stop) {
  const label = (x, y, anchor) => (gap === undefined ? [] : [svg("text", { x, y, "font-size": 12, "text-anchor": anchor, class: "gap" }, lapse(gap))]);
  const end = to.y - 2;
  if (from.centre === to.centre) {
    const line = svg("path", { d: `M${from.centre} ${from.y + BOX}V${end}`, class: `leg ${kind}`, "marker-end": `url(#head-${kind})` });
    return [line, ...label(from.centre + 8, (from.y + BOX + end) / 2 + 4, "start")];
  }
  if (stop.hop === "view") return [viewLeg(kind, from, to)];
  const rightwards = to.centre > from.centre;
  const start = rightwards ? from.x + from.box : from.x;
  const middle = from.y + BOX / 2;
  const line = svg("path", { d: `M${start} ${middle}H${to.centre}V${end}`, class: `leg ${kind}`, "marker-end": `url(#head-${kind})` });
  return [line, ...label(to.centre + 8, (middle + end) / 2 + 6, "start")];
}

/** From beside the stop that led to them down to each view's box. */
function viewLeg(kind, from, to) {
  const trunk = (from.x + from.box + to.x) / 2;
  return svg("path", { d: `M${from.x + from.box} ${from.y + BOX / 2}H${trunk}V${to.y + BOX / 2}H${to.x - 2}`, class: `leg ${kind}`, "marker-end": `url(#head-${kind})` });
}

function narrow({ places, stops, legs }, width) {
  const x = (place) => 10 + RAIL * place;
  const words = x(PLACES.length - 1) + 18;
  const y = (at) => 24 + ROW * at;
  const height = y(stops.length - 1) + 40;
  const picture = svg("svg", { width, height, viewBox: `0 0 ${width} ${height}`, focusable: "false" });
  places.forEach((_, at) => picture.append(svg("line", { x1: x(at), x2: x(at), y1: 6, y2: height - 6, class: "lifeline" })));
  for (const { from, to, kind } of legs) {
    const [a, b] = [stops[from], stops[to]];
    const bend = y(to) - ROW * 0.3;
    picture.append(svg("path", { d: `M${x(a.place)} ${y(from)}V${bend}H${x(b.place)}V${y(to)}`, class: `leg ${kind}` }));
  }
  stops.forEach((stop, at) => {
    if (stop.lost) picture.append(...deadEnd(x(stop.place), y(at), x(stop.place + 1)));
  });
  stops.forEach((stop, at) => picture.append(narrowStop(stop, { x: x(stop.place), y: y(at), words, width, place: places[stop.place] })));
  return picture;
}

function narrowStop(stop, { x, y, words, width, place }) {
  const where = stop.hop === "view" ? "view" : [place.title, place.name].filter(Boolean).join(" ");
  const when = [stop.at === undefined ? "" : moment(stop.at), stop.gap === undefined ? "" : `${stop.gap < 0 ? "" : "+ "}${lapse(stop.gap)}`].filter(Boolean).join("  ");
  const room = width - words - 4;
  const node = svg(
    "g",
    { class: "stop", "data-level": stop.level, "data-hop": stop.hop },
    svg("circle", { cx: x, cy: y, r: 6 }),
    textNode(`${stop.title} · ${where}`, { x: words, y: y - 6, width: room - (stop.trace?.url ? 50 : 0), size: 13, bold: true, class: "ink" }),
    textNode(stop.detail, { x: words, y: y + 10, width: room, size: 12, class: "muted" }),
    textNode(when, { x: words, y: y + 26, width: room, size: 12, class: "muted" }),
  );
  if (stop.trace?.url) node.append(traceLink(stop.trace, width - 2, y - 6));
  return node;
}
