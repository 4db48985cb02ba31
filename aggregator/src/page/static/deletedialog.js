// Asks before a view is deleted.

import { remove } from "./api.js";
import { button, el, setText } from "./dom.js";

export class DeleteDialog {
  /** `deleted()` hears when it is done. */
  constructor(name, deleted) {
    this.name = name;
    this.deleted = deleted;
    this.error = el("p", { class: "field-error", role: "alert" });
    this.confirm = button("Delete", () => this.#go(), { class: "danger", "data-testid": "delete-confirm" });
    this.node = el(
      "dialog",
      { "aria-labelledby": "delete-title" },
      el("h2", { id: "delete-title" }, `Delete ${name}?`),
      el("p", {}, "Its windows are gone then. The events stay in the log: a view that is made later counts those that are still retained."),
      this.error,
      el("div", { class: "actions" }, button("Keep it", () => this.node.close()), this.confirm),
    );
  }

  ask() {
    setText(this.error, "");
    this.node.showModal();
  }

  async #go() {
    this.confirm.disabled = true;
    try {
      await remove(`/api/v1/views/${encodeURIComponent(this.name)}`);
      this.node.close();
      this.deleted();
    } catch (error) {
      setText(this.error, error.message);
    } finally {
      this.confirm.disabled = false;
    }
  }
}
