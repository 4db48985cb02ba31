// Dead letters: which there are, what is wrong with one, and how it comes back.

import { eventLink } from "./address.js";
import { get, post } from "./api.js";
import { KeyedTable, button, byId, el, emptyState, labelled, setText, showOr, timeNode } from "./dom.js";
import { integer } from "./format.js";

/** Dead letters of one page of the table. */
const PAGE = 25;
/** Reasons that the small chart shows. */
const BARS = 8;
/** Letters that one request replays: the answer comes soon, and the count rises meanwhile. */
const CHUNK = 5000;

const STATES = { open: "warn", replayed: "good", discarded: "quiet" };

export class DeadLetters {
  constructor() {
    this.panel = byId("dead-panel");
    this.empty = emptyState(
      "None. An event that does not fit its stream's schema ends here whole, with the field and the rule that it broke.",
    );
    this.before = undefined;
    this.seen = undefined;
    this.chosen = undefined;
    this.turn = 0;
    this.#build();
  }

  /** Reads counts and table again when the letters changed. */
  async refresh(fingerprint) {
    if (this.seen === fingerprint) return;
    this.seen = fingerprint;
    try {
      await this.#read();
    } catch (error) {
      this.seen = undefined;
      throw error;
    }
  }

  #build() {
    this.stream = el("select", { id: "dead-stream", "data-testid": "dead-stream" });
    this.state = el("select", { id: "dead-state", "data-testid": "dead-state" });
    for (const [value, label] of [["open", "open"], ["replayed", "replayed"], ["discarded", "discarded"], ["", "any"]]) {
      this.state.append(el("option", { value }, label));
    }
    this.reason = el("input", { id: "dead-reason", type: "text", placeholder: "type, /temperature …", "data-testid": "dead-reason" });
    this.agent = el("input", { id: "dead-agent", type: "text", placeholder: "any" });
    const filters = el(
      "form",
      { class: "filters", "aria-label": "Which dead letters" },
      labelled("Stream", this.stream),
      labelled("Reason", this.reason),
      labelled("Agent", this.agent),
      labelled("State", this.state),
      el("button", { type: "submit" }, "Filter"),
    );
    filters.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#again();
    });
    for (const select of [this.stream, this.state]) select.addEventListener("change", () => this.#again());
    this.bars = el("ul", { class: "bars", "aria-label": "Open dead letters by reason" });
    this.table = new KeyedTable({
      caption: "Dead letters",
      rowKey: (letter) => letter.id,
      rowAttribute: "data-letter",
      stack: true,
      columns: [
        { key: "id", label: "Letter", text: (l) => `#${l.id}`, press: (l) => this.#choose(l.id) },
        { key: "at", label: "When", time: (l) => l.at },
        { key: "stream", label: "Stream", className: "name", text: (l) => l.stream },
        { key: "agent", label: "Agent", text: (l) => l.agent },
        { key: "reason", label: "Reason", text: reasonText },
        { key: "state", label: "State", text: (l) => l.state, state: (l) => STATES[l.state] },
      ],
    });
    this.none = el("p", { class: "panel-empty" }, "No dead letter matches.");
    this.list = el("div", {}, this.table.node);
    this.newer = button("Newest", () => this.#page(undefined));
    this.older = button("Older", () => this.#page(this.next));
    this.record = el("section", { class: "record", "aria-label": "Dead letter", tabindex: "-1", hidden: "" });
    this.sql = el("input", { id: "dead-fix", type: "text", placeholder: "json_set(payload, '$.temperature', 21.5)", "data-testid": "dead-fix" });
    this.why = el("input", { id: "dead-why", type: "text", placeholder: "needed to discard" });
    this.result = el("p", { class: "result", role: "status", "data-testid": "dead-result" });
    this.told = el("ul", { class: "reasons told" });
    this.actions = [
      button("Dry run", () => this.#replay(true), { "data-testid": "dead-dry-run" }),
      button("Replay", () => this.#replay(false), { "data-testid": "dead-replay" }),
      button("Discard", () => this.#discard(), { "data-testid": "dead-discard" }),
    ];
    this.target = el("span", { class: "quiet" });
    const order = el(
      "div",
      { class: "order" },
      labelled("Fix first (SQL over payload)", this.sql),
      labelled("Why discard", this.why),
      el("div", { class: "actions" }, ...this.actions, this.target),
      this.result,
      this.told,
    );
    const pages = el("div", { class: "actions pages" }, this.newer, this.older);
    this.content = el("div", { class: "dead" }, this.bars, filters, this.list, pages, this.record, order);
    this.panel.replaceChildren(this.empty);
  }

  #filter() {
    const filter = {};
    for (const name of ["stream", "reason", "agent", "state"]) {
      const value = this[name].value.trim();
      if (value) filter[name] = value;
    }
    return filter;
  }

  /** The filter has changed. */
  #again() {
    this.before = undefined;
    this.#close();
    this.#show(this.#read());
  }

  #page(before) {
    this.before = before;
    this.#show(this.#read());
  }

  async #read() {
    const turn = (this.turn += 1);
    const query = new URLSearchParams({ ...this.#filter(), limit: PAGE });
    if (this.before) query.set("before", this.before);
    const [{ counts, totals }, { dead_letters: letters }] = await Promise.all([
      get("/api/v1/dead-letters/counts"),
      get(`/api/v1/dead-letters?${query}`),
    ]);
    // an answer to an older question comes too late
    if (turn !== this.turn) return;
    this.#takeCounts(counts);
    this.table.update(letters);
    this.next = letters.at(-1)?.id;
    this.older.disabled = letters.length < PAGE;
    this.newer.disabled = this.before === undefined;
    showOr(this.list, this.table.node, letters.length > 0, this.none);
    this.#aim();
    showOr(this.panel, this.content, Object.values(totals).some((count) => count > 0), this.empty);
  }

  #takeCounts(counts) {
    const streams = [...new Set(counts.map((row) => row.stream))];
    const known = [...this.stream.options].slice(1).map((option) => option.value);
    if (streams.join("\n") !== known.join("\n")) {
      const chosen = this.stream.value;
      this.stream.replaceChildren(el("option", { value: "" }, "any"), ...streams.map((name) => el("option", { value: name }, name)));
      this.stream.value = streams.includes(chosen) ? chosen : "";
    }
    const sums = new Map();
    for (const row of counts.filter((row) => row.state === "open")) {
      for (const [rule, count] of Object.entries(row.reasons)) sums.set(rule, (sums.get(rule) ?? 0) + count);
    }
    const bars = [...sums].sort((a, b) => b[1] - a[1]).slice(0, BARS);
    const most = bars[0]?.[1] ?? 1;
    this.bars.replaceChildren(...bars.map(([rule, count]) => this.#bar(rule, count, count / most)));
  }

  #bar(rule, count, share) {
    const node = button(rule, () => {
      this.reason.value = this.reason.value === rule ? "" : rule;
      this.#again();
    });
    node.setAttribute("title", `Only letters that break ${rule}`);
    const meter = el("meter", { min: "0", max: "1", value: share.toFixed(3), "aria-hidden": "true" });
    return el("li", { "data-rule": rule }, node, meter, el("span", { class: "num" }, integer(count)));
  }

  async #choose(id) {
    try {
      this.chosen = await get(`/api/v1/dead-letters/${id}`);
    } catch (error) {
      this.#tell(error.message);
      return;
    }
    this.record.replaceChildren(...recordNodes(this.chosen), button("Close", () => this.#close()));
    this.record.hidden = false;
    this.#aim();
    this.record.focus();
  }

  #close() {
    this.chosen = undefined;
    this.record.hidden = true;
    this.#aim();
  }

  /** Says what the buttons would do it to. */
  #aim() {
    const filter = Object.entries(this.#filter()).map(([name, value]) => `${name} ${value}`);
    const which = filter.length > 0 ? `all letters with ${filter.join(", ")}` : "every letter";
    setText(this.target, this.chosen ? `letter #${this.chosen.id}` : which);
  }

  #selection() {
    if (this.chosen) return { ids: [this.chosen.id] };
    const filter = this.#filter();
    const narrow = Object.keys(filter).some((name) => name !== "state");
    return narrow ? { filter } : { filter, all: true };
  }

  #replay(dryRun) {
    const order = { ...this.#selection(), dry_run: dryRun, by: "page" };
    const sql = this.sql.value.trim();
    if (sql) order.fix = { sql };
    this.#run("replay", order, (sum) => {
      const done = dryRun ? "would be replayed" : "replayed";
      return [[sum.replayed, done], [sum.still_invalid, "still invalid"], [sum.already_replayed, "replayed before"], [sum.discarded, "discarded before"]];
    });
  }

  #discard() {
    const reason = this.why.value.trim();
    if (!reason) {
      this.#tell("Say why they are given up.");
      this.why.focus();
      return;
    }
    const order = { ...this.#selection(), reason, by: "page" };
    this.#run("discard", order, (sum) => [[sum.discarded, "discarded"], [sum.already_discarded, "discarded before"], [sum.already_replayed, "replayed before"]]);
  }

  /** Asks chunk by chunk, and tells the sums. */
  async #run(call, order, counts) {
    for (const node of this.actions) node.disabled = true;
    this.told.replaceChildren();
    const sum = {};
    const tell = (end) => this.#tell(counts(sum).filter(([count], at) => at === 0 || count > 0).map(([count, words]) => `${integer(count ?? 0)} ${words}`).join(", ") + end);
    try {
      for (let after = 0; after !== undefined; ) {
        const answer = await post(`/api/v1/dead-letters/${call}`, { ...order, limit: CHUNK, after });
        for (const [name, value] of Object.entries(answer)) if (typeof value === "number" && name !== "next") sum[name] = (sum[name] ?? 0) + value;
        if (after === 0) this.#detail(answer);
        after = answer.next;
        tell(after === undefined ? "." : " …");
      }
      if (!order.dry_run) this.#close();
    } catch (error) {
      this.#tell(error.message);
    }
    for (const node of this.actions) node.disabled = false;
    this.#show(this.#read());
  }

  /** The first letters that stay dead, and what a fix would make of others. */
  #detail(answer) {
    const invalid = (answer.invalid ?? []).slice(0, 10).flatMap((letter) => letter.reasons.map((reason) => reasonNode(reason, `#${letter.id} `)));
    const samples = (answer.samples ?? []).map((sample) => el("li", {}, `#${sample.id} becomes `, el("code", {}, sample.payload)));
    this.told.replaceChildren(...samples, ...invalid);
  }

  #tell(text) {
    setText(this.result, text);
  }

  #show(promise) {
    promise.catch((error) => this.#tell(error.message));
  }
}

function reasonText({ reasons }) {
  const [first, ...others] = reasons;
  const more = others.length > 0 ? ` (and ${others.length} more)` : "";
  return `${first.path || "(whole event)"} ${first.message}${more}`;
}

function reasonNode(reason, before = "") {
  return el(
    "li",
    { "data-path": reason.path },
    before,
    el("code", {}, reason.path || "(whole event)"),
    ` ${reason.message} `,
    el("span", { class: "quiet" }, `rule ${reason.rule}`),
  );
}

function recordNodes(letter) {
  const payload = el("pre", { "data-testid": "dead-payload" });
  setText(payload, letter.payload === null ? `(not text, in base64)\n${letter.payload_base64}` : pretty(letter.payload));
  const facts = el(
    "div",
    { class: "head" },
    el("strong", {}, `Letter #${letter.id}`),
    el("span", {}, `${letter.stream} from ${letter.agent}`),
    el("span", {}, letter.schema ? `schema version ${letter.schema.version}` : "no schema"),
    el("span", {}, letter.state),
    el("a", { href: eventLink(letter.lineage_id) }, "path of this event"),
    el("span", { class: "at" }, timeNode(letter.at)),
  );
  const became = letter.replays.map((replay) => el("li", {}, `replayed by ${replay.by} `, timeNode(replay.at)));
  if (letter.discarded) {
    became.push(el("li", {}, `discarded by ${letter.discarded.by}: ${letter.discarded.reason} `, timeNode(letter.discarded.at)));
  }
  const reasons = el("ul", { class: "reasons" }, ...letter.reasons.map((reason) => reasonNode(reason)), ...became);
  return [facts, el("div", { class: "beside" }, reasons, payload)];
}

/** The payload as it came; JSON is indented for reading. */
function pretty(payload) {
  try {
    return JSON.stringify(JSON.parse(payload), null, 2);
  } catch {
    return payload;
  }
}
