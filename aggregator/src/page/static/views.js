// The section of views: all of them, one of them, or the form that makes one, as the address says.

import { sectionOf, timeOnly } from "./address.js";
import { Refresher, get } from "./api.js";
import { Browse } from "./browse.js";
import { Detail } from "./detail.js";
import { byId, el, setAttribute } from "./dom.js";
import { servedBy } from "./kinds.js";
import { waitsFor } from "./status.js";
import { ViewForm } from "./viewform.js";

/** Between two looks at how views are, in milliseconds: while one reads the log, and otherwise. */
const WHILE_READING = 1000;
const OTHERWISE = 15_000;
/** Between rows that were missed and reading them: more will be missed meanwhile. */
const CATCH_UP_AFTER = 2000;

export class Views {
  /** `looks(names)` hears which views' rows are wanted; `streams()`: names of the streams that there are. */
  constructor(address, { looks, streams }) {
    this.address = address;
    this.looks = looks;
    this.list = [];
    this.listed = false;
    this.paused = false;
    /** Views of which rows were missed; undefined stands for all. */
    this.behind = new Set();
    this.refresher = new Refresher(() => this.#read());
    this.browse = new Browse(address, () => this.#look());
    this.form = new ViewForm(address, { known: () => this.list, streams, saved: (view) => this.#take(view) });
    this.detailPlace = byId("view-detail");
    this.range = byId("range");
    this.head = byId("view-new").parentElement;
    address.listen((place, before, travelled) => this.#show(place, before, travelled));
    setInterval(() => this.#tick(), WHILE_READING);
  }

  /** `fingerprint` changes when a view is made, replaced or removed; only then the list is read again. */
  refresh(fingerprint) {
    return this.refresher.offer(fingerprint);
  }

  async #read() {
    const { views } = await get("/api/v1/views");
    this.readAt = Date.now();
    this.list = views;
    this.browse.update(views);
    const first = !this.listed;
    this.listed = true;
    this.#show(this.address.place, this.address.place, first && this.address.place.view !== undefined);
  }

  /** A view that was just made or changed is known before the next list. */
  #take(view) {
    this.list = [...this.list.filter((one) => one.name !== view.name), view].sort((a, b) => (a.name < b.name ? -1 : 1));
    this.browse.update(this.list);
  }

  #tick() {
    if (this.paused || document.hidden) return;
    const reading = this.list.some((view) => view.backfill || view.live === false || waitsFor(view).length > 0);
    const age = Date.now() - (this.readAt ?? Date.now());
    if (age >= (reading ? WHILE_READING : OTHERWISE)) this.#read().catch((error) => console.warn(error.message));
    for (const feed of this.#feeds()) {
      feed.recheck();
      // "the last hour" moves on, whether anything comes or not
      if (feed.place.last) feed.changed();
    }
  }

  /** Shows what the address names. `travelled`: the reader goes there, and so does the focus. */
  #show(place, before, travelled) {
    const view = this.list.find((one) => one.name === place.view);
    const editing = place.new || (place.edit && view);
    const section = sectionOf(place);
    const here = section !== "views" ? section : editing ? "edit" : place.view !== undefined ? "view" : "browse";
    setAttribute(document.body, "data-place", here);
    if (section === "views") document.title = place.view ? `${place.view} · Tributary` : place.new ? "New view · Tributary" : "Tributary";
    if (here === "edit") this.#showForm(place.new ? undefined : view);
    else this.formOf = undefined;
    if (here === "view") this.#showDetail(view, place, travelled);
    else this.#dropDetail();
    if (here === "browse") {
      this.browse.show(place);
      if (travelled && before.view) this.browse.cards.get(before.view)?.link.focus();
    }
    this.#look();
  }

  #showForm(view) {
    const name = view?.name ?? "";
    // it is not filled anew under somebody's hands
    if (this.formOf === name) return;
    this.formOf = name;
    this.form.show(view);
  }

  #showDetail(view, place, travelled) {
    if (!view) {
      if (this.listed) this.#showGone(place, travelled);
      return;
    }
    const same = this.detail?.view.name === view.name && servedBy(this.detail.view) === servedBy(view);
    if (same) this.detail.update(view);
    else {
      this.#dropDetail();
      this.detail = new Detail(this.address, view, { deleted: () => this.#deleted(view.name) });
      this.detailPlace.replaceChildren(this.detail.node);
      this.detail.controls.prepend(this.range);
    }
    this.detail.show(place);
    if (travelled) this.detail.focus();
  }

  #showGone(place, travelled) {
    if (this.detail?.view.name === place.view) {
      this.detail.feed.state = "deleted";
      this.detail.render();
      return;
    }
    this.#dropDetail();
    const title = el("h2", { tabindex: "-1" }, place.view);
    const back = el("a", { href: "/" }, "All views");
    this.detailPlace.replaceChildren(title, el("p", { class: "notice", role: "status" }, `There is no view ${place.view}: it may have been deleted. `, back));
    if (travelled) title.focus();
  }

  #dropDetail() {
    // there is one choice of time, which goes along
    if (this.range.parentElement !== this.head) this.head.insertBefore(this.range, this.head.lastElementChild);
    this.detail?.remove();
    this.detail = undefined;
    this.detailPlace.replaceChildren();
  }

  #deleted(name) {
    this.list = this.list.filter((view) => view.name !== name);
    this.browse.update(this.list);
    this.address.go(timeOnly(this.address.place));
  }

  #look() {
    const { view, new: making } = this.address.place;
    if (sectionOf(this.address.place) !== "views") this.looks([]);
    else this.looks(view ? [view] : making ? [] : this.browse.inSight());
  }

  #feeds() {
    if (this.detail) return [this.detail.feed];
    return document.body.dataset.place === "browse" ? this.browse.feeds() : [];
  }

  #feedOf(name) {
    return this.detail?.view.name === name ? this.detail.feed : this.browse.feedOf(name);
  }

  /** Rows of any views: [{view, row}]. */
  take(batch) {
    const byView = new Map();
    for (const { view, row } of batch) {
      const rows = byView.get(view);
      if (rows) rows.push(row);
      else byView.set(view, [row]);
    }
    for (const [view, rows] of byView) this.#feedOf(view)?.take(rows);
  }

  gone({ view, row }) {
    this.#feedOf(view)?.gone(row);
  }

  /** Nothing moves while it is paused; afterwards everything is as it is then. */
  pause(paused) {
    this.paused = paused;
    if (!paused) this.reload();
  }

  /** What is shown may be behind. */
  reload() {
    for (const feed of this.#feeds()) feed.load();
  }

  /** These views are followed from now on: what changed in them since they were read was not told. */
  catchUp(names) {
    for (const feed of this.#feeds()) if (names.includes(feed.view.name)) feed.refresh();
  }

  /** Rows were missed because there are too many: reads them now, or soon when that was done a moment ago. */
  missed({ view }) {
    this.behind.add(view);
    this.later ??= setTimeout(() => {
      this.later = undefined;
      const all = this.behind.has(undefined);
      for (const feed of this.#feeds()) if (all || this.behind.has(feed.view.name)) feed.load();
      this.behind.clear();
    }, CATCH_UP_AFTER);
  }
}
