// One chart on the page: a canvas, its cursor, and what assistive technology is told of it.

import { Cursor } from "./cursor.js";
import { el, setAttribute } from "./dom.js";
import { redraw, unwatch, watch } from "./frames.js";
import { plot } from "./plot.js";
import { onThemeChange, theme } from "./theme.js";

export class Chart {
  /** `chosen(from, to)` hears of a time that was chosen by dragging. */
  constructor({ chosen } = {}) {
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.frame = el("div", { class: "chart", role: "img", tabindex: "0" }, this.canvas);
    this.node = el("div", { class: "chart-place" }, this.frame);
    this.cursor = new Cursor(this.frame, { area: () => this.area, figure: () => this.drawn, chosen });
    watch(this, this.frame);
    this.resizes = new ResizeObserver(([{ contentRect }]) => {
      this.size = contentRect;
      redraw(this);
    });
    this.resizes.observe(this.frame);
    this.forget = onThemeChange(() => redraw(this));
  }

  /** Draws a figure with the next frame in which the chart is in view. */
  show(figure, label) {
    this.figure = figure;
    setAttribute(this.frame, "aria-label", `${label}. Arrow keys read the values; the table below has them all.`);
    redraw(this);
  }

  draw() {
    const { width, height } = this.size ?? { width: 0, height: 0 };
    const { figure } = this;
    if (!figure || width < 1) return;
    const { series } = theme();
    for (const line of figure.lines) line.color = series[line.slot];
    if (figure.band) figure.band.color = series[figure.band.slot];
    this.drawn = figure;
    this.area = plot(this.canvas, width, height, figure);
    this.cursor.refresh();
  }

  remove() {
    unwatch(this, this.frame);
    this.resizes.disconnect();
    this.forget();
    this.node.remove();
  }
}
