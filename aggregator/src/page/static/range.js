// Which time is looked at: a preset up to now, or from one time to another.

import { byId, el, labelled, setText } from "./dom.js";

const PRESETS = [
  ["15m", "Last 15 minutes"],
  ["1h", "Last hour"],
  ["6h", "Last 6 hours"],
  ["24h", "Last 24 hours"],
  ["7d", "Last 7 days"],
  ["30d", "Last 30 days"],
];
const CUSTOM = "custom";

export class RangeControl {
  /** `id` is that of its parts; `all` stands for no choice of time. */
  constructor(address, { node = byId("range"), id = "range", all = "Newest windows" } = {}) {
    this.address = address;
    this.node = node;
    this.preset = el("select", { id: `${id}-last`, "data-testid": id });
    const presets = [["", all], ...PRESETS];
    this.preset.append(...presets.map(([value, label]) => el("option", { value }, label)), el("option", { value: CUSTOM }, "From … to …"));
    this.from = el("input", { type: "datetime-local", step: "1", "data-testid": `${id}-from` });
    this.to = el("input", { type: "datetime-local", step: "1", "data-testid": `${id}-to` });
    this.problem = el("p", { class: "field-error", id: `${id}-problem`, role: "alert" });
    this.bounds = el("span", { class: "range-bounds" }, labelled("From", this.from), labelled("To", this.to));
    this.node.append(labelled("Time", this.preset), this.bounds, this.problem);
    this.preset.addEventListener("change", () => this.#choose());
    for (const input of [this.from, this.to]) input.addEventListener("change", () => this.#take());
    address.listen((place) => this.#show(place));
    this.#show(address.place);
  }

  #show({ last, from, to }) {
    const custom = from !== undefined || to !== undefined;
    const known = [...this.preset.options].some(({ value }) => value === (last ?? ""));
    if (!known) this.preset.append(el("option", { value: last }, `Last ${last}`));
    this.preset.value = custom ? CUSTOM : (last ?? "");
    this.bounds.hidden = !custom;
    this.from.value = localText(from);
    this.to.value = localText(to);
    this.#tell("");
  }

  #choose() {
    const { value } = this.preset;
    if (value !== CUSTOM) {
      this.address.change({ last: value || undefined, from: undefined, to: undefined }, { remember: true });
      return;
    }
    this.bounds.hidden = false;
    this.from.focus();
  }

  #take() {
    const [from, to] = [this.from, this.to].map((input) => (input.value ? Date.parse(input.value) : undefined));
    if (from !== undefined && to !== undefined && from >= to) {
      this.#tell("The time must begin before it ends.");
      return;
    }
    this.address.change({ last: undefined, from, to }, { remember: true });
  }

  #tell(text) {
    setText(this.problem, text);
    for (const input of [this.from, this.to]) {
      if (text) input.setAttribute("aria-describedby", this.problem.id);
      input.setAttribute("aria-invalid", String(Boolean(text)));
    }
  }
}

/** What an input of local time takes: no zone, whole seconds. */
function localText(millis) {
  if (millis === undefined) return "";
  const date = new Date(millis);
  return new Date(millis - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
