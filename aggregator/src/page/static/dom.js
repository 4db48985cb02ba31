// The few helpers that build and update the page. Data only ever enters through textContent and attributes.

import { absolute, relative } from "./format.js";

/** An element with attributes and children (nodes or texts). */
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Changes a text only when it differs: selections and screen readers are left in peace. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** A relative time that keeps itself current (see `startClock`); the absolute one is in its title. */
export function timeNode(rfc3339) {
  const node = el("time");
  setTime(node, rfc3339);
  return node;
}

function setTime(node, rfc3339) {
  if (node.dateTime === rfc3339) return;
  node.dateTime = rfc3339;
  node.title = absolute(Date.parse(rfc3339));
  setText(node, relative(Date.parse(rfc3339)));
}

/** Refreshes every relative time on the page, once a second. */
export function startClock() {
  setInterval(() => {
    for (const node of document.querySelectorAll("time[datetime]")) {
      setText(node, relative(Date.parse(node.dateTime)));
    }
  }, 1000);
}

/**
 * A table whose rows are keyed: an update touches only the cells that changed, and never moves the others.
 * `columns`: {key, label, numeric?, className?, text(item)} or {…, time(item)} or {…, state(item)} beside text;
 * with {…, press(item)} the text is on a button.
 */
export class KeyedTable {
  constructor({ caption, columns, rowKey, rowAttribute, stack = false }) {
    this.columns = columns;
    this.rowKey = rowKey;
    this.rowAttribute = rowAttribute;
    this.rows = new Map();
    this.body = el("tbody");
    const heads = columns.map((column) =>
      el("th", { scope: "col", "data-col": column.key, class: column.numeric ? "num" : null }, column.label),
    );
    this.node = el(
      "div",
      { class: stack ? "scroll stack" : "scroll", tabindex: "0", role: "region", "aria-label": `${caption}, as a table` },
      el("table", {}, el("caption", {}, caption), el("thead", {}, el("tr", {}, ...heads)), this.body),
    );
  }

  /** Shows exactly these items, in this order. */
  update(items) {
    const keep = new Set();
    let place = this.body.firstChild;
    for (const item of items) {
      const key = this.rowKey(item);
      keep.add(key);
      let row = this.rows.get(key);
      if (!row) {
        row = this.#newRow(key);
        this.rows.set(key, row);
      }
      this.columns.forEach((column, at) => fillCell(row.cells[at], column, item));
      if (row === place) place = place.nextSibling;
      else this.body.insertBefore(row, place);
    }
    for (const [key, row] of this.rows) {
      if (!keep.has(key)) {
        row.remove();
        this.rows.delete(key);
      }
    }
  }

  #newRow(key) {
    const row = el("tr", { [this.rowAttribute]: key });
    for (const column of this.columns) {
      const classes = [column.numeric ? "num" : "", column.className ?? ""].join(" ").trim();
      row.append(el("td", { "data-label": column.label, "data-col": column.key, class: classes || null }));
    }
    return row;
  }
}

function fillCell(cell, column, item) {
  if (column.time) {
    const at = column.time(item);
    if (!at) {
      setText(cell, "never");
    } else if (cell.firstElementChild?.tagName === "TIME") {
      setTime(cell.firstElementChild, at);
    } else {
      cell.replaceChildren(timeNode(at));
    }
    return;
  }
  const text = column.text(item);
  if (column.press) {
    if (!cell.firstElementChild) cell.append(el("button", { type: "button", class: "link" }));
    setText(cell.firstElementChild, text);
    cell.firstElementChild.onclick = () => column.press(item);
    return;
  }
  setText(cell, text);
  setAttribute(cell, "data-empty", String(text === "–"));
  if (column.title) setAttribute(cell, "title", column.title(item));
  if (column.state) {
    cell.classList.add("pill");
    setAttribute(cell, "data-state", column.state(item));
  }
}

/** Swaps a panel between its content and what to do when there is none. */
export function showOr(panel, content, hasContent, emptyState) {
  const wanted = hasContent ? content : emptyState;
  if (panel.firstElementChild !== wanted) panel.replaceChildren(wanted);
}

/** What to do when there is nothing to show: a sentence and a command line. */
export function emptyState(sentence, command) {
  const node = el("div", { class: "panel-empty" }, el("p", {}, sentence));
  if (command) node.append(el("pre", {}, command));
  return node;
}

/** A control with its words in front. */
export function labelled(text, control, className = "field") {
  return el("label", { class: className }, el("span", {}, text), control);
}

export function button(text, press, attributes = {}) {
  const node = el("button", { type: "button", ...attributes }, text);
  node.addEventListener("click", press);
  return node;
}
