// All views: found by name, stream or SQL, each with a small chart.

import { byId, emptyState, setText } from "./dom.js";
import { Card } from "./card.js";
import { integer } from "./format.js";
import { calmly } from "./frames.js";
import { servedBy } from "./kinds.js";

/** Between a key press and looking for it, in milliseconds. */
const FIND_AFTER = 150;

export class Browse {
  /** `looks()` hears that other views are in sight. */
  constructor(address, looks) {
    this.address = address;
    this.looks = calmly(200, looks);
    this.grid = byId("view-grid");
    this.empty = byId("views-empty");
    this.cards = new Map();
    this.find = byId("views-find");
    this.count = byId("views-count");
    const typed = calmly(FIND_AFTER, () => address.change({ find: this.find.value.trim() || undefined }));
    this.find.addEventListener("input", typed);
    this.empty.append(emptyState("No view yet. A view is one SELECT over a stream, kept up to date as events come in. Make the first one with New view."));
  }

  /** Shows exactly these views. */
  update(views) {
    this.empty.hidden = views.length > 0;
    const wanted = new Map(views.map((view) => [view.name, view]));
    for (const [name, card] of this.cards) {
      const view = wanted.get(name);
      if (view && servedBy(view) === servedBy(card.view)) continue;
      card.remove();
      this.cards.delete(name);
    }
    let after = null;
    for (const view of views) {
      let card = this.cards.get(view.name);
      if (card) card.update(view);
      else {
        card = new Card(view, { seen: () => this.looks() });
        this.cards.set(view.name, card);
        this.grid.insertBefore(card.node, after ? after.nextSibling : this.grid.firstChild);
        card.look(this.address.place);
      }
      after = card.node;
    }
    this.#filter();
    this.looks();
  }

  /** The place has changed. */
  show(place) {
    if (document.activeElement !== this.find) this.find.value = place.find ?? "";
    for (const card of this.cards.values()) card.look(place);
    this.#filter();
  }

  #filter() {
    const words = (this.address.place.find ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { node, view } of this.cards.values()) {
      const text = `${view.name} ${view.stream} ${view.sql}`.toLowerCase();
      node.hidden = !words.every((word) => text.includes(word));
      shown += Number(!node.hidden);
    }
    const all = this.cards.size;
    setText(this.count, words.length === 0 ? `${integer(all)} ${all === 1 ? "view" : "views"}` : `${integer(shown)} of ${integer(all)} views`);
  }

  /** Names of the views in sight. */
  inSight() {
    return [...this.cards.values()].filter((card) => card.inView && !card.node.hidden).map((card) => card.view.name);
  }

  feeds() {
    return [...this.cards.values()].filter((card) => card.inView).map((card) => card.feed);
  }

  feedOf(name) {
    return this.cards.get(name)?.feed;
  }
}
