// Tables that are made once and not filled again, what stands in them, and tables beneath pictures.

import { el } from "./dom.js";
import { webAddress } from "./path.js";

/** A cell that becomes a line of a block on a phone. */
export function cell(label, value, className) {
  return el("td", { "data-label": label, "data-col": label.toLowerCase().replaceAll(" ", "-"), class: className ?? null, "data-empty": String(value === "–") }, value);
}

/** A table of rows that are made once. */
export function plainTable(caption, heads, rows, testid) {
  const numeric = new Set([...(rows[0]?.cells ?? [])].filter((one) => one.classList.contains("num")).map((one) => one.dataset.label));
  const head = el("tr", {}, ...heads.map((text) => el("th", { scope: "col", class: numeric.has(text) ? "num" : null }, text)));
  return el(
    "div",
    { class: "scroll stack", tabindex: "0", role: "region", "aria-label": `${caption}, as a table`, "data-testid": testid },
    el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, ...rows)),
  );
}

/** A table that says what the picture above it shows: open where there is room for both, unless it is long. */
export function asTable(table, { long = false } = {}) {
  const details = el("details", { class: "as-table" }, el("summary", {}, "The same as a table"), table);
  details.open = !long && matchMedia("(min-width: 641px)").matches;
  return details;
}

/** A trace id, as a link where a viewer is known. */
export function traceNode({ id, url }) {
  if (!webAddress(url)) return el("code", { class: "trace" }, id);
  return el("a", { class: "trace", href: url, target: "_blank", rel: "noopener" }, el("code", {}, id));
}
