// A field for SQL that shows where a mistake is: the text lies over a copy of itself, in which the wrong word is marked.

import { el, setAttribute } from "./dom.js";

/** Where a line and a column (both from 1, in characters) are in a text, in units of JavaScript's strings. */
export function offsetOf(text, line, column) {
  const lines = text.split("\n");
  const at = Math.min(Math.max(1, line), lines.length) - 1;
  const before = lines.slice(0, at).reduce((sum, one) => sum + one.length + 1, 0);
  const characters = [...lines[at]].slice(0, Math.max(0, column - 1));
  return before + characters.join("").length;
}

/** The word, number, text or sign that begins at a place: [start, end]. At a blank, the place itself. */
export function tokenAt(text, start) {
  const [token = ""] = /^(?:[\p{L}\p{N}_$.]+|'(?:[^']|'')*'?|"(?:[^"]|"")*"?|[<>=!]+|[^\s])/u.exec(text.slice(start)) ?? [];
  return [start, start + token.length];
}

export class SqlEditor {
  constructor({ id, describedBy, onInput }) {
    this.field = el("textarea", {
      id,
      class: "sql",
      rows: "8",
      spellcheck: "false",
      autocapitalize: "off",
      autocomplete: "off",
      wrap: "soft",
      "data-testid": "sql",
      "aria-describedby": describedBy,
    });
    this.copy = el("pre", { class: "sql-copy", "aria-hidden": "true" });
    this.node = el("div", { class: "sql-editor" }, this.copy, this.field);
    this.field.addEventListener("input", () => {
      this.clear();
      onInput();
    });
    this.clear();
  }

  get value() {
    return this.field.value;
  }

  set value(text) {
    this.field.value = text;
    this.clear();
  }

  clear() {
    // the line break at the end keeps the last, empty line as high as the others
    this.copy.replaceChildren(`${this.field.value}\n`);
    setAttribute(this.field, "aria-invalid", "false");
  }

  /** Marks what stands at a line and column, and goes there. */
  mark(line, column) {
    const text = this.field.value;
    const [start, end] = tokenAt(text, offsetOf(text, line, column));
    const wrong = el("mark", { class: "wrong", "data-testid": "sql-wrong" }, text.slice(start, end) || " ");
    this.copy.replaceChildren(text.slice(0, start), wrong, `${text.slice(end)}\n`);
    setAttribute(this.field, "aria-invalid", "true");
    this.field.focus();
    this.field.setSelectionRange(start, end);
  }
}
