// What is beside a chart: which line is which group, and how far the bars of the newest window reach.

import { el, setAttribute, setText } from "./dom.js";
import { measure } from "./format.js";

/** The lines of a chart by name, with their newest value. With `choose(line)` each is a button. */
export class Legend {
  constructor(choose) {
    this.choose = choose;
    this.node = el("ul", { class: "legend", "aria-label": "Groups drawn" });
    this.items = new Map();
  }

  show(lines) {
    const keep = new Set(lines.map((line) => line.key));
    for (const [key, item] of this.items) {
      if (keep.has(key)) continue;
      item.remove();
      this.items.delete(key);
    }
    for (const line of lines) {
      let item = this.items.get(line.key);
      if (!item) {
        item = this.#item();
        this.items.set(line.key, item);
      }
      const [name, value] = item.firstElementChild.children;
      setText(name, line.name);
      setText(value, line.value ?? "");
      setAttribute(item, "data-slot", String(line.slot));
      if (this.choose) {
        item.firstElementChild.onclick = () => this.choose(line);
        setAttribute(item.firstElementChild, "title", `Only ${line.name}`);
      }
    }
    // an item moves only when the order is another one
    lines.forEach((line, at) => {
      const item = this.items.get(line.key);
      if (this.node.children[at] !== item) this.node.insertBefore(item, this.node.children[at] ?? null);
    });
  }

  #item() {
    const inside = [el("span", { class: "group-name" }), el("span", { class: "group-value" })];
    const inner = this.choose ? el("button", { type: "button" }, ...inside) : el("span", { class: "legend-text" }, ...inside);
    return el("li", {}, inner);
  }
}

/** The newest value of a line. */
export function newestValue(line) {
  const point = line.points.findLast((one) => one.value !== null);
  return point ? measure(point.value) : "–";
}

/** The largest groups as bars. With `choose(bar)` each name is a button. */
export class Bars {
  constructor(choose) {
    this.choose = choose;
    this.node = el("ol", { class: "top-bars" });
  }

  show(bars, label) {
    setAttribute(this.node, "aria-label", label);
    const most = Math.max(...bars.map((bar) => Math.abs(bar.value)), 0) || 1;
    while (this.node.children.length > bars.length) this.node.lastElementChild.remove();
    bars.forEach((bar, at) => {
      const item = this.node.children[at] ?? this.node.appendChild(this.#item());
      const [name, track, value] = item.children;
      setText(name, bar.name);
      setAttribute(name, "title", bar.name);
      if (this.choose) name.onclick = () => this.choose(bar);
      track.firstElementChild.style.width = `${((Math.abs(bar.value) / most) * 100).toFixed(2)}%`;
      setText(value, measure(bar.value));
      setAttribute(item, "data-state", bar.end === 0 ? "running" : bar.state);
    });
  }

  #item() {
    const name = this.choose ? el("button", { type: "button", class: "link group-name" }) : el("span", { class: "group-name" });
    return el("li", {}, name, el("span", { class: "track", "aria-hidden": "true" }, el("span", {})), el("span", { class: "num" }));
  }
}
