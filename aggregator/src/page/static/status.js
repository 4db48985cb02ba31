// What is to be said of a view as a whole: whether it is back-filling, waits for a stream, or has left something out.

import { el, setText } from "./dom.js";
import { integer, percent } from "./format.js";

/** How far a view, or what replaces it, has come with the log, 0 to 1; undefined when it follows it. */
export function progressOf(view) {
  if (view.backfill) return Math.min(1, Math.max(0, view.backfill.share));
  return view.live === false ? 0 : undefined;
}

/** "about 3 min to go" */
function rest({ backfill }) {
  const seconds = backfill?.estimated_rest_s;
  if (seconds === undefined || seconds === null) return "";
  const [size, unit] = [[3600, "h"], [60, "min"], [1, "s"]].find(([step]) => seconds >= step) ?? [1, "s"];
  return `, about ${Math.max(1, Math.round(seconds / size))} ${unit} to go`;
}

/** Streams, or views, that a view waits for. */
export function waitsFor(view) {
  const waiting = view.waiting_for ?? [];
  return Array.isArray(waiting) ? waiting : [waiting];
}

/** Lines to be told, the most urgent first: [{level, text, progress?}]. */
export function remarksOf(view) {
  const remarks = [];
  const waiting = waitsFor(view);
  if (waiting.length > 0) remarks.push({ level: "warn", text: `Waits for ${waiting.join(", ")}: no event of it has arrived yet` });
  const progress = progressOf(view);
  if (progress !== undefined) {
    const old = view.serves ? "; until then the view is what it was" : "";
    remarks.push({ level: "warn", text: `${view.serves ? "The new definition is" : "It is"} reading the log, ${percent(progress)} done${rest(view)}${old}`, progress });
  }
  const counts = [
    ["overflowed", "events went to the overflow group: a window has more groups than max_groups"],
    ["missed_entries", "log entries were deleted before the view was made and are not counted"],
    ["too_late", "events came later than the retention and are not counted"],
    ["without_time", "events had no usable time and are not counted"],
    ["arithmetic", "values overflowed or divided by zero and became NULL"],
  ];
  for (const [name, words] of counts) if (view[name] > 0) remarks.push({ level: "info", text: `${integer(view[name])} ${words}` });
  return remarks;
}

/** A list of remarks, filled in place. */
export class Remarks {
  constructor() {
    this.node = el("ul", { class: "remarks" });
  }

  show(remarks) {
    while (this.node.children.length > remarks.length) this.node.lastElementChild.remove();
    remarks.forEach((remark, at) => {
      const item = this.node.children[at] ?? this.node.appendChild(el("li", {}, el("span")));
      item.dataset.level = remark.level;
      setText(item.firstElementChild, remark.text);
      let bar = item.querySelector("progress");
      if (remark.progress === undefined) bar?.remove();
      else {
        bar ??= item.appendChild(el("progress", { max: "1", "aria-label": "Share of the log that the view has read" }));
        bar.value = remark.progress;
      }
    });
    this.node.hidden = remarks.length === 0;
  }
}
