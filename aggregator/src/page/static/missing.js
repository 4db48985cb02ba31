// Which agents have not reported past the end of windows that are still open.

import { el } from "./dom.js";
import { integer, span } from "./format.js";

/** Windows that are told, the newest first. */
const TOLD = 20;

export class WhoIsMissing {
  constructor() {
    this.list = el("ul");
    this.node = el("details", { class: "missing", hidden: "" }, el("summary", {}, "Agents that have not reported yet"), this.list);
  }

  /** `windows`: {window_start, window_end, expected, reported, missing: [names]}. */
  show(windows) {
    const open = windows.filter(({ expected, reported }) => reported < expected).slice(0, TOLD);
    this.node.hidden = open.length === 0;
    const told = JSON.stringify(open);
    if (told === this.told) return;
    this.told = told;
    this.list.replaceChildren(...open.map(line));
  }
}

function line({ window_start: start, window_end: end, expected, reported, missing = [] }) {
  const more = expected - reported - missing.length;
  const names = missing.join(", ") + (more > 0 ? ` and ${integer(more)} more` : "");
  return el("li", {}, `${span(Date.parse(start), Date.parse(end))}: ${integer(reported)} of ${integer(expected)} agents; missing ${names}`);
}
