// Which groups of a view are looked at: a field for each key, with the values that are known.

import { button, el, labelled } from "./dom.js";
import { keysOf } from "./kinds.js";
import { keyText } from "./rows.js";

/** Values that a field offers: more than this nobody reads through. */
const OFFERED = 200;

export class GroupFilter {
  /** `groups()`: what is there to be offered; `chosen(where)` hears the choice. */
  constructor(view, { groups, chosen }) {
    this.chosen = chosen;
    this.groups = groups;
    this.fields = keysOf(view).map(({ name }, at) => this.#field(name, `group-values-${at}`));
    this.all = button("All groups", () => chosen(new Map()), { "data-testid": "all-groups" });
    this.node = el("div", { class: "group-filter", role: "group", "aria-label": "Groups" }, ...this.fields.map(({ node }) => node), this.all);
    this.node.hidden = this.fields.length === 0;
  }

  #field(name, id) {
    const list = el("datalist", { id });
    const input = el("input", { type: "text", list: id, placeholder: "any", autocomplete: "off", spellcheck: "false", "data-testid": `where-${name}` });
    input.addEventListener("focus", () => this.#offer(name, list));
    input.addEventListener("change", () => this.#take());
    return { name, input, node: el("span", {}, labelled(name, input), list) };
  }

  /** The values of a key in what is held, made when somebody is about to choose. */
  #offer(name, list) {
    const values = new Set();
    for (const group of this.groups()) {
      if (!group.overflow) values.add(keyText(group.values[name]));
      if (values.size >= OFFERED) break;
    }
    const collator = new Intl.Collator(undefined, { numeric: true });
    list.replaceChildren(...[...values].sort(collator.compare).map((value) => el("option", { value })));
  }

  #take() {
    const where = new Map();
    for (const { name, input } of this.fields) if (input.value) where.set(name, input.value);
    this.chosen(where);
  }

  show(where) {
    for (const { name, input } of this.fields) if (document.activeElement !== input) input.value = where.get(name) ?? "";
    this.all.hidden = where.size === 0;
  }
}
