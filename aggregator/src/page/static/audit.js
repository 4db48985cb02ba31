// The audit: its head, what this browser finds right or wrong with it, the newest acts, and how anybody checks it by hand.

import { KINDS, detailText, levelOf, wordsOf } from "./acts.js";
import { get } from "./api.js";
import { checkHead, checkLeaf, readHead } from "./auditcheck.js";
import { button, el, labelled, setAttribute, setText, timeNode } from "./dom.js";
import { integer, moment } from "./format.js";
import { forget } from "./heads.js";
import { words } from "./path.js";
import { cell, plainTable } from "./plaintable.js";
import { Latest, later } from "./sections.js";

/** Acts of one page. */
const PAGE = 25;
/** Between two looks at the newest head, in milliseconds: one is signed each minute. */
const AGAIN = 30_000;
const COMMANDS = `tributary audit verify --http ADDRESS --key audit.pub --head kept.txt
tributary audit verify --dir /var/lib/tributary           also of a stopped aggregator
tributary-audit-verify --key audit.pub --head kept.txt receipt.json`;

export class Audit {
  constructor(address, node) {
    this.address = address;
    this.node = node;
    this.acts = new Latest();
    this.heads = new Latest();
    this.title = el("h2", { id: "audit-title", tabindex: "-1" }, "Audit");
    node.setAttribute("aria-labelledby", "audit-title");
    node.append(this.title, this.#headPanel(), this.#actsPanel(), this.#receiptPanel(), handPanel());
  }

  #headPanel() {
    this.headFacts = el("dl", { class: "facts" });
    this.findings = el("ul", { class: "findings", "data-testid": "findings" });
    this.forget = button("Forget the heads that this browser has kept", () => this.#forget());
    this.forget.hidden = true;
    this.file = el("a", { class: "button", "data-testid": "head-file" }, "Keep this head");
    return el(
      "section",
      { class: "panel", "aria-labelledby": "head-title" },
      el("h3", { id: "head-title" }, "Newest head"),
      el("p", {}, "Every administrative act and every commit is a leaf of a tree that only grows. A head is signed, and stands for all leaves up to it: who keeps one notices when anything before it is changed."),
      this.headFacts,
      el("div", { role: "status" }, this.findings),
      el(
        "p",
        { class: "actions" },
        this.file,
        el("a", { class: "button", href: "/api/v1/audit/key", download: "audit.pub" }, "Public key"),
        el("a", { class: "button", href: "/api/v1/audit/export", download: "audit.jsonl" }, "All of the audit"),
        this.forget,
      ),
    );
  }

  #actsPanel() {
    this.kind = el("select", { "data-testid": "audit-kind" }, el("option", { value: "" }, "all but commits"), el("option", { value: "all" }, "everything"), ...KINDS.map((kind) => el("option", { value: kind }, words(kind))));
    this.kind.addEventListener("change", () => this.address.change({ audit: this.kind.value, before: undefined }, { remember: true }));
    this.checkActs = button("Check these acts", () => this.#checkActs(), { "data-testid": "check-acts" });
    this.actsState = el("p", { class: "meta", role: "status", "data-testid": "acts-state" });
    this.list = el("div");
    this.newest = button("Newest", () => this.address.change({ before: undefined }, { remember: true }));
    this.older = button("Older", () => this.address.change({ before: String(this.next) }, { remember: true }), { "data-testid": "acts-older" });
    return el(
      "section",
      { class: "panel", "aria-labelledby": "acts-title" },
      el("h3", { id: "acts-title" }, "Acts"),
      el("div", { class: "filters" }, labelled("Kind", this.kind), this.checkActs),
      this.actsState,
      this.list,
      el("div", { class: "actions pages" }, this.newest, this.older),
    );
  }

  #receiptPanel() {
    this.event = el("input", { type: "text", autocomplete: "off", spellcheck: "false", placeholder: "lineage id, or agent/stream/epoch/seq", "data-testid": "receipt-event" });
    this.receipt = el("div", { role: "status", "data-testid": "receipt-result" });
    const form = el("form", { class: "filters", "aria-label": "Receipt of an event" }, labelled("Event", this.event, "field grow"), el("button", { type: "submit" }, "Get its receipt"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#readReceipt(this.event.value.trim().replace(/^\/+|\/+$/g, ""));
    });
    return el(
      "section",
      { class: "panel", "aria-labelledby": "receipt-title" },
      el("h3", { id: "receipt-title" }, "Receipt of an event"),
      el("p", {}, "It proves, without this aggregator, that one event was received at one time, and stays valid for ever."),
      form,
      this.receipt,
    );
  }

  show(place) {
    this.kind.value = KINDS.includes(place.audit) || place.audit === "all" ? place.audit : "";
    const asked = `${this.kind.value} ${place.before ?? ""}`;
    if (this.here !== true) this.#readHead();
    if (this.here !== true || asked !== this.asked) this.#readActs(asked, place.before);
    this.here = true;
  }

  leave() {
    this.here = false;
    this.acts.forget();
    this.heads.forget();
    this.later?.();
  }

  focus() {
    this.title.focus();
  }

  #readHead() {
    this.later?.();
    this.later = later(AGAIN, () => this.#readHead());
    this.heads.ask(
      readHead,
      (read) => this.#takeHead(read),
      (error) => this.findings.replaceChildren(finding({ level: "bad", text: `Cannot be checked: ${error.message}.` })),
    );
  }

  #takeHead(read) {
    const { head, key } = read;
    if (this.head?.head.text === head.text) return;
    this.head = read;
    const facts = [
      ["Leaves", el("span", { "data-testid": "audit-size" }, integer(head.size))],
      ["Signed", el("span", {}, timeNode(new Date(head.at).toISOString()), `, ${moment(head.at)}`)],
      ["Key", el("code", {}, key.id)],
      ["Log", el("code", {}, head.origin)],
    ];
    this.headFacts.replaceChildren(...facts.flatMap(([title, value]) => [el("dt", {}, title), el("dd", {}, value)]));
    if (this.fileAddress) URL.revokeObjectURL(this.fileAddress);
    this.fileAddress = URL.createObjectURL(new Blob([head.text], { type: "text/plain" }));
    setAttribute(this.file, "href", this.fileAddress);
    setAttribute(this.file, "download", `head-${head.size}.txt`);
    this.#check(read);
  }

  async #check(read) {
    const found = [];
    try {
      await checkHead(read, (one) => found.push(one));
    } catch (error) {
      found.push({ level: "warn", text: `Not all could be checked: ${error.message}.` });
    }
    this.findings.replaceChildren(...found.map(finding));
    this.forget.hidden = found.every(({ level }) => level === "good");
  }

  /** The aggregator of this address is another one now, and that is known. */
  #forget() {
    forget();
    this.forget.hidden = true;
    this.#check(this.head);
  }

  #readActs(asked, before) {
    this.asked = asked;
    const query = new URLSearchParams({ kind: this.kind.value || "acts", order: "newest", limit: PAGE });
    if (before) query.set("before", before);
    setText(this.actsState, "Reading …");
    this.acts.ask(
      () => get(`/api/v1/audit?${query}`),
      (answer) => this.#takeActs(answer, before),
      (error) => setText(this.actsState, error.status ? error.message : `Cannot be read at present: ${error.message}.`),
    );
  }

  #takeActs({ leaves, next_before: next }, before) {
    this.leaves = leaves;
    this.next = next;
    this.newest.disabled = !before;
    this.older.disabled = next === null || next === undefined;
    this.checkActs.disabled = leaves.length === 0;
    setText(this.actsState, leaves.length === 0 ? "There is no such act." : "");
    this.list.replaceChildren(...(leaves.length > 0 ? [this.#table(leaves)] : []));
  }

  #table(leaves) {
    this.marks = leaves.map(() => el("span", {}, "–"));
    const rows = leaves.map((leaf, at) => {
      const more = el("details", {}, el("summary", {}, "all of it"), el("pre", {}, detailText(leaf.detail)));
      const proof = el("a", { href: `/api/v1/audit/inclusion?leaf=${leaf.leaf}`, download: `leaf-${leaf.leaf}.json`, "aria-label": `Proof of leaf ${leaf.leaf}` }, "proof");
      return el(
        "tr",
        { "data-kind": leaf.kind },
        cell("Kind", el("span", { class: "pill", "data-state": levelOf(leaf.kind) }, words(leaf.kind)), "name"),
        cell("Leaf", integer(leaf.leaf), "num"),
        cell("When", moment(Date.parse(leaf.at))),
        cell("What", el("div", {}, wordsOf(leaf), more), "wide"),
        cell("Proof", proof),
        cell("Checked", this.marks[at]),
      );
    });
    return plainTable("Acts", ["Kind", "Leaf", "When", "What", "Proof", "Checked"], rows, "acts");
  }

  /** Whether the acts that are shown are leaves of the newest head's tree. */
  async #checkActs() {
    const [leaves, marks] = [this.leaves, this.marks];
    this.checkActs.disabled = true;
    setText(this.actsState, "Checking …");
    let [right, wrong, open] = [0, 0, 0];
    try {
      const { head } = await readHead();
      await Promise.all(leaves.map(async (leaf, at) => {
        const late = leaf.leaf >= head.size;
        const found = late ? undefined : await checkLeaf(leaf, head);
        setText(marks[at], late ? "not signed yet" : (found ?? "in the tree"));
        setAttribute(marks[at], "class", "pill");
        setAttribute(marks[at], "data-state", late ? "quiet" : found ? "bad" : "good");
        if (late) open += 1;
        else if (found) wrong += 1;
        else right += 1;
      }));
      const rest = open > 0 ? `; ${integer(open)} not signed yet, in a minute at most` : "";
      setText(this.actsState, wrong > 0 ? `${integer(wrong)} of ${integer(leaves.length)} are wrong${rest}.` : `${integer(right)} of ${integer(leaves.length)} are in the tree of the head, as they are shown${rest}.`);
    } catch (error) {
      setText(this.actsState, `Not all could be checked: ${error.message}.`);
    }
    this.checkActs.disabled = false;
  }

  async #readReceipt(id) {
    if (!id) {
      this.receipt.replaceChildren(el("p", { class: "field-error" }, "Of which event? Write its lineage id, or agent/stream/epoch/seq."));
      this.event.focus();
      return;
    }
    const path = `/api/v1/events/${id.split("/").map(encodeURIComponent).join("/")}/receipt`;
    try {
      const { event, received_at: at, group } = await get(path);
      const file = `receipt-${event.lane}-${event.seq}.json`;
      this.receipt.replaceChildren(
        el("p", {}, `Event ${integer(event.seq)} of ${event.agent}/${event.stream}/${event.epoch} was received at ${moment(Date.parse(at))}, and a signed head of ${integer(group.tree_size)} leaves says so.`),
        el("p", {}, el("a", { class: "button", href: path, download: file, "data-testid": "receipt-file" }, `Download ${file}`)),
      );
    } catch (error) {
      this.receipt.replaceChildren(el("p", { class: "field-error" }, error.message));
    }
  }
}

function finding({ level, text }) {
  const marks = { good: "right", warn: "not sure", bad: "wrong" };
  return el("li", { "data-level": level }, el("strong", {}, marks[level]), ` ${text}`);
}

function handPanel() {
  return el(
    "section",
    { class: "panel", "aria-labelledby": "hand-title" },
    el("h3", { id: "hand-title" }, "Checking it by hand"),
    el("p", {}, "This page comes from the aggregator that it checks. Who distrusts that uses a program, a key and a head from elsewhere: the agents keep heads too (/v1/status), and so should you."),
    el("pre", {}, COMMANDS.replace("ADDRESS", location.origin)),
    el("p", {}, "The verifier is a small program of its own. It needs the file, the public key, and a head that you have kept; it ends with 0 when all is right, and with 1 when it is not."),
  );
}
