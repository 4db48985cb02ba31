// Draws one chart of time on a canvas: axes, lines that break at gaps, percentile bands, sessions, and a strip below that
// says how settled each window is. It knows nothing of views; `figure` says all there is to draw.

import { isGap } from "./series.js";
import { linear, timeLabel, timeTicks, valueLabel, valueRange, valueTicks } from "./scale.js";
import { theme } from "./theme.js";

const TOP = 10;
const RIGHT = 10;
/** Room for the words of the time axis, and for the strip above them. */
const BOTTOM = 24;
const STRIP = 7;
/** Pixels between ticks, and for one mark each: fewer points than these are drawn as dots as well. */
const TICK_WIDTH = 95;
const TICK_HEIGHT = 44;
const DOT_WIDTH = 14;

/** Makes the canvas as large as its place, in the screen's own pixels. */
function prepare(canvas, width, height) {
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

/**
 * Draws `figure`: {time: [from, to], values: [min, max], kind, hop, lines, band, windows, gaps}, and answers where:
 * {left, right, top, bottom, x(time), time(x)}.
 */
export function plot(canvas, width, height, figure) {
  const pen = prepare(canvas, width, height);
  const colors = theme();
  pen.font = colors.font;
  const bottom = height - BOTTOM - STRIP;
  const [low, high] = valueRange(...figure.values);
  const marks = valueTicks(low, high, Math.max(2, Math.round((bottom - TOP) / TICK_HEIGHT)));
  const labels = marks.map(valueLabel);
  const left = Math.ceil(Math.max(...labels.map((label) => pen.measureText(label).width))) + 14;
  const right = Math.max(left + 20, width - RIGHT);
  const [from, to] = figure.time;
  const area = { left, right, top: TOP, bottom, x: linear(from, to, left, right), time: linear(left, right, from, to) };
  area.y = linear(marks[0], marks.at(-1), bottom, TOP);

  drawGaps(pen, area, figure, colors);
  drawAxes(pen, area, figure, marks, labels, colors);
  pen.save();
  pen.beginPath();
  // a dot at the edge is whole
  pen.rect(left - 5, 0, right - left + 10, height);
  pen.clip();
  if (figure.band) drawBand(pen, area, figure, colors);
  for (const line of figure.lines) {
    if (figure.kind === "session") drawSessions(pen, area, line, colors);
    else drawLine(pen, area, line, figure.hop, colors);
  }
  drawStrip(pen, area, figure, colors);
  pen.restore();
  return area;
}

function drawAxes(pen, area, { time: [from, to] }, marks, labels, colors) {
  pen.lineWidth = 1;
  pen.fillStyle = colors.muted;
  pen.textBaseline = "middle";
  pen.textAlign = "right";
  marks.forEach((mark, at) => {
    const y = Math.round(area.y(mark)) + 0.5;
    pen.strokeStyle = mark === 0 ? colors.line : colors.grid;
    stroke(pen, area.left, y, area.right, y);
    pen.fillText(labels[at], area.left - 8, y);
  });
  const { ticks, step } = timeTicks(from, to, Math.max(2, Math.floor((area.right - area.left) / TICK_WIDTH)));
  pen.textBaseline = "top";
  for (const tick of ticks) {
    const x = Math.round(area.x(tick)) + 0.5;
    const label = timeLabel(tick, step);
    const half = pen.measureText(label).width / 2;
    pen.strokeStyle = colors.grid;
    stroke(pen, x, area.top, x, area.bottom);
    pen.textAlign = x - half < 0 ? "left" : x + half > area.right + RIGHT ? "right" : "center";
    pen.fillText(label, x, area.bottom + STRIP + 8);
  }
}

function stroke(pen, x1, y1, x2, y2) {
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
}

/** Where no window is: slanted lines, which no data looks like. */
function drawGaps(pen, area, { gaps }, colors) {
  pen.strokeStyle = colors.hatch;
  pen.lineWidth = 1;
  for (const { start, end } of gaps) {
    const [x1, x2] = [Math.max(area.left, area.x(start)), Math.min(area.right, area.x(end))];
    if (x2 - x1 < 3) continue;
    pen.save();
    pen.beginPath();
    pen.rect(x1, area.top, x2 - x1, area.bottom - area.top);
    pen.clip();
    pen.beginPath();
    const height = area.bottom - area.top;
    for (let x = x1 - height; x < x2; x += 9) {
      pen.moveTo(x, area.bottom);
      pen.lineTo(x + height, area.top);
    }
    pen.stroke();
    pen.restore();
  }
}

/** Parts of a line: without gap or missing value, and of one kind (settled, or still open). */
export function* parts(points, hop, valueOf) {
  let part;
  for (let at = 0; at < points.length; at += 1) {
    const point = points[at];
    const before = points[at - 1];
    if (valueOf(point) === null || (before && isGap(before, point, hop))) {
      if (part) yield part;
      part = undefined;
      if (valueOf(point) === null) continue;
    }
    const open = point.state === "open";
    if (part && part.open !== open) {
      // the way into an open window is as uncertain as the window
      if (open) {
        yield part;
        part = { open, points: [part.points.at(-1)] };
      } else {
        part.points.push(point);
        yield part;
        part = { open, points: [] };
      }
    }
    part ??= { open, points: [] };
    part.points.push(point);
  }
  if (part) yield part;
}

function drawLine(pen, area, { points, color }, hop, colors) {
  const near = points.filter(({ start, end }) => area.x(end) >= area.left && area.x(start) <= area.right);
  // a line goes on beyond the edge to the next point there
  const first = points.indexOf(near[0]);
  if (first > 0) near.unshift(points[first - 1]);
  const valueOf = (point) => point.value;
  const lonely = new Set();
  pen.strokeStyle = color;
  pen.lineWidth = 2;
  pen.lineJoin = "round";
  for (const part of parts(near, hop, valueOf)) {
    if (part.points.length === 1) lonely.add(part.points[0]);
    pen.setLineDash(part.open ? [4, 4] : []);
    pen.beginPath();
    part.points.forEach((point, at) => pen[at === 0 ? "moveTo" : "lineTo"](area.x(point.start), area.y(point.value)));
    pen.stroke();
  }
  pen.setLineDash([]);
  const dots = near.length * DOT_WIDTH < area.right - area.left;
  for (const point of near) {
    if (point.value === null) continue;
    if (point.amended) diamond(pen, area.x(point.start), area.y(point.value), 5, color, colors.card);
    else if (point.state === "open") dot(pen, area.x(point.start), area.y(point.value), color, colors.card);
    else if (dots || lonely.has(point)) dot(pen, area.x(point.start), area.y(point.value), color, color);
  }
}

function dot(pen, x, y, color, fill) {
  pen.beginPath();
  pen.arc(x, y, 3, 0, 2 * Math.PI);
  pen.fillStyle = fill;
  pen.strokeStyle = color;
  pen.lineWidth = 1.5;
  pen.fill();
  pen.stroke();
}

function diamond(pen, x, y, size, color, edge) {
  pen.beginPath();
  pen.moveTo(x, y - size);
  pen.lineTo(x + size, y);
  pen.lineTo(x, y + size);
  pen.lineTo(x - size, y);
  pen.closePath();
  pen.fillStyle = color;
  pen.strokeStyle = edge;
  pen.lineWidth = 1.5;
  pen.fill();
  pen.stroke();
}

/** A session is as long as it is: a bar from its first event to its last. */
function drawSessions(pen, area, { points, color }, colors) {
  pen.lineCap = "round";
  for (const point of points) {
    if (point.value === null) continue;
    const [x1, y] = [area.x(point.start), area.y(point.value)];
    pen.strokeStyle = color;
    pen.lineWidth = 4;
    pen.setLineDash(point.state === "open" ? [2, 6] : []);
    stroke(pen, x1, y, Math.max(x1 + 1, area.x(point.end)), y);
    if (point.amended) diamond(pen, x1, y, 5, color, colors.card);
  }
  pen.setLineDash([]);
  pen.lineCap = "butt";
}

/** Percentiles of one group: pairs from outside in, each over the one before, and the middle one as a line. */
function drawBand(pen, area, { band, hop }, colors) {
  const count = band.columns.length;
  pen.fillStyle = band.color;
  for (let low = 0; low < count - 1 - low; low += 1) {
    const high = count - 1 - low;
    const whole = (point) => (point.values[low] === null || point.values[high] === null ? null : 0);
    for (const { points, open } of parts(band.points, hop, whole)) {
      pen.globalAlpha = open ? 0.1 : 0.2;
      pen.beginPath();
      points.forEach((point, at) => pen[at === 0 ? "moveTo" : "lineTo"](area.x(point.start), area.y(point.values[low])));
      for (const point of [...points].reverse()) pen.lineTo(area.x(point.start), area.y(point.values[high]));
      if (points.length === 1) {
        const x = area.x(points[0].start);
        pen.rect(x - 2, area.y(points[0].values[high]), 4, area.y(points[0].values[low]) - area.y(points[0].values[high]));
      }
      pen.fill();
    }
  }
  pen.globalAlpha = 1;
  // an even number of percentiles has no middle: then the edges themselves are drawn
  const lines = count % 2 === 1 ? [(count - 1) / 2] : [...Array(count).keys()];
  for (const at of lines) {
    const points = band.points.map((point) => ({ ...point, value: point.values[at] }));
    drawLine(pen, area, { points, color: band.color }, hop, colors);
  }
}

/** Below the chart, a window each: settled for good, complete for now, or still open; a diamond where it was amended. */
function drawStrip(pen, area, { windows, hop }, colors) {
  const top = area.bottom + 3;
  let drawn = -Infinity;
  for (const { start, end, state } of windows) {
    const x1 = Math.max(area.x(start), drawn);
    // of windows that overlap, each has the part up to the next one
    const x2 = area.x(hop === undefined ? end : start + hop);
    if (x2 - x1 < 0.5) continue;
    drawn = x2;
    const gap = x2 - x1 > 4 ? 1 : 0;
    pen.fillStyle = state === "final" ? colors.final : state === "complete" ? colors.line : colors.accent;
    if (state !== "open") pen.fillRect(x1, top, x2 - x1 - gap, 4);
    else for (let x = x1; x < x2 - gap; x += 4) pen.fillRect(x, top, Math.min(2, x2 - gap - x), 4);
  }
  for (const { start, end, amended } of windows) {
    if (amended) diamond(pen, (area.x(start) + area.x(hop === undefined ? end : start + hop)) / 2, top + 2, 5, colors.warn, colors.card);
  }
}
