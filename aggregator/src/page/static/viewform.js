// Making a view, and changing one.

import { format, timeOnly } from "./address.js";
import { ApiError, put } from "./api.js";
import { byId, button, el, labelled, setAttribute, setText } from "./dom.js";
import { SqlEditor } from "./editor.js";

/** What the server keeps with a view beside its SQL, with what holds when nothing is said. */
const OPTIONS = [
  { name: "allowed_lateness", label: "Allowed lateness", hint: "A window is final this long after its end", usual: "72h" },
  { name: "retention", label: "Retention", hint: "Older windows are deleted, later events counted as too late", usual: "90d" },
  { name: "max_groups", label: "Most groups of a window", hint: "Further groups become one overflow row", usual: "100000", number: true },
];

function template(stream) {
  return `SELECT window_start, window_end, count(*) AS n
FROM TUMBLE(${stream}, ts, INTERVAL '1 minute')
GROUP BY window_start, window_end`;
}

export class ViewForm {
  /** `known()`: the views that there are; `saved(view)` hears what the server made of it. */
  constructor(address, { known, streams, saved }) {
    Object.assign(this, { address, known, streams, saved });
    this.node = byId("view-form");
    this.#build();
  }

  #build() {
    this.title = el("h2", { tabindex: "-1" });
    this.name = el("input", { type: "text", id: "view-name", autocomplete: "off", spellcheck: "false", "data-testid": "view-name", "aria-describedby": "view-name-error" });
    this.nameError = el("p", { class: "field-error", id: "view-name-error", role: "alert" });
    this.stream = el("select", { "data-testid": "view-stream" });
    this.stream.addEventListener("change", () => this.#start());
    this.sql = new SqlEditor({ id: "view-sql", describedBy: "view-sql-error", onInput: () => this.#calm() });
    this.error = el("div", { class: "form-error", id: "view-sql-error", role: "alert", "data-testid": "sql-error" });
    this.options = OPTIONS.map((option) => this.#option(option));
    this.save = el("button", { type: "submit", class: "primary", "data-testid": "view-save" }, "Save");
    this.startField = labelled("Start from stream", this.stream);
    const form = el(
      "form",
      { class: "panel view-form", novalidate: "" },
      el("div", { class: "form-row" }, labelled("Name", this.name), this.startField),
      this.nameError,
      el("label", { for: "view-sql", class: "field-label" }, "SQL"),
      this.sql.node,
      this.error,
      el("details", { class: "view-options" }, el("summary", {}, "Options"), el("div", { class: "form-row" }, ...this.options.map(({ node }) => node))),
      el("div", { class: "actions" }, this.save, button("Cancel", () => this.#leave())),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.node.append(this.title, form);
  }

  #option(option) {
    const id = `view-${option.name.replace("_", "-")}`;
    const input = el("input", { type: "text", id, placeholder: option.usual, inputmode: option.number ? "numeric" : null, "aria-describedby": `${id}-hint`, "data-testid": id });
    const hint = el("span", { class: "quiet hint", id: `${id}-hint` }, option.hint);
    return { ...option, input, node: el("div", {}, labelled(option.label, input), hint) };
  }

  /** Opens for a new view, or for the one that is given. */
  show(view) {
    this.view = view;
    setText(this.title, view ? `Edit ${view.name}` : "New view");
    this.name.value = view?.name ?? "";
    this.name.readOnly = view !== undefined;
    this.startField.hidden = view !== undefined;
    this.stream.replaceChildren(el("option", { value: "" }, "choose …"), ...this.streams().map((name) => el("option", { value: name }, name)));
    // a change that is not served yet is what is being edited
    const last = view ?? {};
    this.sql.value = last.sql ?? template(this.streams()[0] ?? "demo");
    for (const { name, input } of this.options) input.value = last[name] ?? "";
    this.#calm();
    setText(this.nameError, "");
    this.save.disabled = false;
    if (view) this.sql.field.focus();
    else this.name.focus();
  }

  #start() {
    if (this.stream.value) this.sql.value = template(this.stream.value);
    this.#calm();
  }

  #calm() {
    this.error.replaceChildren();
  }

  #leave() {
    const place = timeOnly(this.address.place);
    this.address.go(this.view ? { ...place, view: this.view.name } : place);
  }

  #body() {
    const body = { sql: this.sql.value };
    for (const { name, input, number } of this.options) {
      const text = input.value.trim();
      if (text) body[name] = number ? Number(text) : text;
    }
    return body;
  }

  #nameProblem(name) {
    if (!name) return "A view needs a name.";
    if (!this.view && this.known().some((view) => view.name === name)) {
      return `There is a view ${name} already. Choose another name, or open that view to change it.`;
    }
    return "";
  }

  async #send() {
    const name = this.name.value.trim();
    const problem = this.#nameProblem(name);
    setText(this.nameError, problem);
    setAttribute(this.name, "aria-invalid", String(problem !== ""));
    if (problem) {
      this.name.focus();
      return;
    }
    this.#calm();
    this.sql.clear();
    const notNumber = this.options.find(({ number, input }) => number && !/^\d*$/.test(input.value.trim()));
    if (notNumber) {
      this.error.replaceChildren(el("p", {}, `${notNumber.label} is a whole number, as ${notNumber.usual}.`));
      this.#wrongOption(notNumber.name).focus();
      return;
    }
    this.save.disabled = true;
    try {
      const made = await put(`/api/v1/views/${encodeURIComponent(name)}`, this.#body());
      this.saved(made);
      this.address.go({ ...timeOnly(this.address.place), view: name });
    } catch (error) {
      this.#tell(error);
    } finally {
      this.save.disabled = false;
    }
  }

  /** Says what is wrong, where it is. */
  #tell(error) {
    const { line, column, hint, option } = error instanceof ApiError ? error.detail : {};
    const placed = typeof line === "number" && typeof column === "number";
    const where = placed ? `Line ${line}, column ${column}: ` : "";
    const kept = error instanceof ApiError ? "" : ". What you wrote is still here: save it again in a moment";
    this.error.replaceChildren(
      el("p", {}, el("strong", {}, where), `${error.message}${kept}`),
      ...(hint ? [el("p", { class: "hint" }, "Hint: ", el("code", {}, hint))] : []),
    );
    if (placed) this.sql.mark(line, column);
    else (this.#wrongOption(option) ?? this.save).focus();
  }

  /** The field of an option that was refused, marked and in sight. */
  #wrongOption(option) {
    for (const { name, input } of this.options) setAttribute(input, "aria-invalid", String(name === option));
    const wrong = this.options.find(({ name }) => name === option)?.input;
    if (wrong) wrong.closest("details").open = true;
    return wrong;
  }

  /** The address of this form for a view. */
  static linkTo(place, name) {
    return format({ ...timeOnly(place), view: name, edit: true });
  }
}
