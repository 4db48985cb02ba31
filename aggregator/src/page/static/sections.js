// Sections with a page of their own: there only while the address names them.

import { sectionOf } from "./address.js";
import { setAttribute } from "./dom.js";

const TITLES = { event: "Follow an event", explain: "Why this row", graph: "What hangs together", audit: "Audit" };

export class Sections {
  /** `sections`: by name {node, show(place), leave(), focus(), stays?: a reader who goes on within it is not led to its top}. */
  constructor(address, sections) {
    this.sections = sections;
    address.listen((place, before, travelled) => this.#show(place, travelled && before));
    this.#show(address.place, false);
  }

  /** `from`: where the reader comes from; nothing when the place has changed under the same eyes. */
  #show(place, from) {
    const here = sectionOf(place);
    if (here !== "views") {
      setAttribute(document.body, "data-place", here);
      document.title = `${TITLES[here]} · Tributary`;
    }
    for (const [name, section] of Object.entries(this.sections)) {
      section.node.hidden = name !== here;
      if (name === here) section.show(place);
      else section.leave();
    }
    for (const link of document.querySelectorAll("nav a")) {
      if (link.dataset.section === here) {
        setAttribute(link, "aria-current", "page");
        // on a phone, the sections scroll sidewards
        link.parentElement.scrollLeft = link.offsetLeft - link.parentElement.offsetLeft;
      } else link.removeAttribute("aria-current");
    }
    if (!from || here === "views") return;
    const section = this.sections[here];
    if (!section.stays || sectionOf(from) !== here) scrollTo({ top: 0, behavior: "instant" });
    section.focus();
  }
}

/** Between two looks at whether somebody looks, in milliseconds. */
const WATCHED = 1000;

/** Does something after some milliseconds, but not while the page is paused or out of sight. Answers what takes it back. */
export function later(millis, work) {
  let timer;
  const due = () => {
    if (document.hidden || document.body.dataset.paused) timer = setTimeout(due, WATCHED);
    else work();
  };
  timer = setTimeout(due, millis);
  return () => clearTimeout(timer);
}

/** Reads what a section shows, the newest question only: an answer to an older one comes too late. */
export class Latest {
  constructor() {
    this.turn = 0;
  }

  /** Calls `done(answer)` or `failed(error)`, unless something else was asked meanwhile. */
  async ask(read, done, failed) {
    const turn = (this.turn += 1);
    try {
      const answer = await read();
      if (turn === this.turn) done(answer);
    } catch (error) {
      if (turn === this.turn) failed(error);
    }
  }

  forget() {
    this.turn += 1;
  }
}
