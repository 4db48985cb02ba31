// A small line without axes.

import { redraw, watch } from "./frames.js";
import { linear } from "./scale.js";
import { onThemeChange, theme } from "./theme.js";

export class Spark {
  constructor(node) {
    this.node = node;
    this.canvas = document.createElement("canvas");
    this.values = [];
    node.append(this.canvas);
    watch(this, node);
    new ResizeObserver(([{ contentRect }]) => {
      this.size = contentRect;
      redraw(this);
    }).observe(node);
    onThemeChange(() => redraw(this));
  }

  show(values) {
    this.values = values;
    redraw(this);
  }

  draw() {
    const { width, height } = this.size ?? { width: 0, height: 0 };
    if (width < 1 || this.values.length < 2) return;
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const x = linear(0, this.values.length - 1, 0, width);
    const y = linear(0, Math.max(1, ...this.values), height - 1, 3);
    pen.beginPath();
    this.values.forEach((value, at) => pen.lineTo(x(at), y(value)));
    pen.strokeStyle = theme().accent;
    pen.lineWidth = 1.5;
    pen.stroke();
    pen.lineTo(width, height);
    pen.lineTo(0, height);
    pen.fillStyle = theme()["accent-soft"];
    pen.fill();
  }
}
