// Reading a chart: a line that follows the pointer or the arrow keys, with the values of its window beside it; and
// choosing a time by dragging.

import { el, setText } from "./dom.js";
import { measure, span } from "./format.js";

/** A drag of fewer pixels than this is a click. */
const DRAG = 6;
/** Between two announcements, in milliseconds: holding an arrow key down is not read out step by step. */
const SAY_AFTER = 250;

const STATES = { open: "open, still taking events", complete: "complete", final: "final" };

export class Cursor {
  /** `frame`: the chart's node; `area()` and `figure()`: what was drawn last; `chosen(from, to)` hears of a drag. */
  constructor(frame, { area, figure, chosen }) {
    Object.assign(this, { frame, area, figure, chosen });
    this.rule = el("div", { class: "cursor-rule", hidden: "" });
    this.tip = el("div", { class: "cursor-tip", hidden: "", "aria-hidden": "true" });
    this.chosenSpan = el("div", { class: "cursor-span", hidden: "" });
    this.said = el("p", { class: "hidden-text", role: "status" });
    frame.append(this.rule, this.chosenSpan, this.tip);
    frame.after(this.said);
    frame.addEventListener("pointermove", (event) => this.#move(event));
    frame.addEventListener("pointerleave", () => this.hide());
    frame.addEventListener("pointerdown", (event) => this.#press(event));
    frame.addEventListener("pointerup", (event) => this.#release(event));
    frame.addEventListener("pointercancel", () => this.#drop());
    frame.addEventListener("keydown", (event) => this.#key(event));
    frame.addEventListener("blur", () => this.hide());
  }

  hide() {
    this.at = undefined;
    this.rule.hidden = true;
    this.tip.hidden = true;
  }

  /** What was drawn has changed under the cursor. */
  refresh() {
    if (this.at !== undefined) this.#show(this.at, false);
  }

  #move(event) {
    const area = this.area();
    if (!area) return;
    const x = event.offsetX;
    if (this.pressed !== undefined) {
      const [low, high] = [Math.min(x, this.pressed), Math.max(x, this.pressed)];
      this.chosenSpan.hidden = high - low < DRAG;
      this.chosenSpan.style.left = `${Math.max(low, area.left)}px`;
      this.chosenSpan.style.width = `${Math.max(0, Math.min(high, area.right) - Math.max(low, area.left))}px`;
    }
    const { windows } = this.figure();
    if (windows.length === 0) return;
    this.#show(nearest(windows, area.time(x)), false);
  }

  #press(event) {
    if (event.button !== 0 || event.pointerType === "touch" || !this.chosen) return;
    this.pressed = event.offsetX;
    this.frame.setPointerCapture(event.pointerId);
  }

  #release(event) {
    if (this.pressed === undefined) return;
    const [low, high] = [Math.min(event.offsetX, this.pressed), Math.max(event.offsetX, this.pressed)];
    this.#drop();
    const area = this.area();
    if (high - low >= DRAG && area) this.chosen(area.time(Math.max(low, area.left)), area.time(Math.min(high, area.right)));
  }

  #drop() {
    this.pressed = undefined;
    this.chosenSpan.hidden = true;
  }

  #key(event) {
    const { windows } = this.figure() ?? { windows: [] };
    if (windows.length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = windows.length - 1;
    const at = this.at === undefined ? -1 : windows.findIndex((one) => one.start === this.at);
    const page = Math.max(1, Math.round(windows.length / 10));
    const next = {
      ArrowLeft: at < 0 ? last : at - 1,
      ArrowRight: at < 0 ? last : at + 1,
      PageUp: at < 0 ? last : at - page,
      PageDown: at < 0 ? last : at + page,
      Home: 0,
      End: last,
    }[event.key];
    if (event.key === "Escape") this.hide();
    if (next === undefined) return;
    event.preventDefault();
    this.#show(windows[Math.min(last, Math.max(0, next))].start, true);
  }

  /** Stands at the window that starts at this time. */
  #show(start, aloud) {
    const [area, figure] = [this.area(), this.figure()];
    const window = figure?.windows.find((one) => one.start === start);
    if (!area || !window) {
      this.hide();
      return;
    }
    this.at = start;
    const x = Math.min(area.right, Math.max(area.left, area.x(start)));
    this.rule.hidden = false;
    this.rule.style.transform = `translateX(${Math.round(x)}px)`;
    this.rule.style.top = `${area.top}px`;
    this.rule.style.height = `${area.bottom - area.top}px`;
    const values = valuesAt(figure, start);
    const when = span(window.start, window.end);
    const state = `${STATES[window.state]}${window.amended ? ", amended by late data" : ""}`;
    this.tip.replaceChildren(
      el("strong", {}, when),
      el("span", { class: "quiet" }, state),
      ...values.map(({ name, value, slot }) =>
        el("span", { class: "cursor-value", "data-slot": slot }, el("span", {}, name), el("b", {}, value))),
    );
    this.tip.hidden = false;
    this.#placeTip(x, area);
    if (aloud) this.#say(`${when}, ${state}. ${values.map(({ name, value }) => `${name}: ${value}`).join("; ")}`);
  }

  /** Beside the line, on the side that has the room. */
  #placeTip(x, area) {
    const beyond = x > (area.left + area.right) / 2;
    this.tip.style.left = beyond ? "auto" : `${Math.round(x) + 10}px`;
    this.tip.style.right = beyond ? `${Math.round(this.frame.clientWidth - x) + 10}px` : "auto";
  }

  #say(text) {
    clearTimeout(this.saying);
    this.saying = setTimeout(() => setText(this.said, text), SAY_AFTER);
  }
}

/** What each line is at a window, the largest first; a line that has nothing there is left out. */
function valuesAt({ lines, band }, start) {
  if (band) {
    const point = band.points.find((one) => one.start === start);
    const value = (at) => (point.values[at] === null ? "–" : measure(point.values[at]));
    return point ? band.columns.map(({ name }, at) => ({ name, value: value(at), slot: band.slot })).reverse() : [];
  }
  const found = [];
  for (const { name, points, slot } of lines) {
    const point = points.find((one) => one.start === start);
    if (point && point.value !== null) found.push({ name, number: point.value, value: measure(point.value), slot });
  }
  return found.sort((a, b) => b.number - a.number);
}

/** The start of the window that is nearest to a time. */
function nearest(windows, time) {
  let best = windows[0];
  for (const window of windows) if (Math.abs(window.start - time) < Math.abs(best.start - time)) best = window;
  return best.start;
}
