// Wires the page: reads once, then follows the live stream.

import { Address } from "./address.js";
import { Live, get } from "./api.js";
import { Audit } from "./audit.js";
import { byId, setAttribute, setText, startClock } from "./dom.js";
import { FollowEvent } from "./event.js";
import { Explain } from "./explain.js";
import { integer, serverNow, setServerNow } from "./format.js";
import { Graph } from "./graph.js";
import { DeadLetters } from "./letters.js";
import { RangeControl } from "./range.js";
import { Sections } from "./sections.js";
import { Spark } from "./spark.js";
import { Agents, Streams } from "./tables.js";
import { Views } from "./views.js";

/** Seconds of throughput that the sparkline shows, and over how many "now" is averaged. */
const SPARK_SECONDS = 600;
const RATE_SECONDS = 5;

const STATES = { connecting: "Connecting", live: "Live", lost: "Connection lost, trying again" };

const address = new Address();
const views = new Views(address, { looks: (names) => live?.look(names), streams: () => known });
const agents = new Agents();
const streams = new Streams();
const letters = new DeadLetters();
const spark = new Spark(byId("spark"));
/** Unix second → events of that second. */
const throughput = new Map();
let known = [];
let live;
let paused = false;

function takeBuckets(buckets) {
  for (const bucket of buckets) {
    throughput.set(Math.floor(Date.parse(bucket.at) / 1000), bucket.valid + bucket.dead + bucket.dropped);
  }
  const last = Math.floor(serverNow() / 1000) - 1;
  const values = [];
  for (let second = last - SPARK_SECONDS + 1; second <= last; second += 1) values.push(throughput.get(second) ?? 0);
  for (const second of throughput.keys()) if (second < last - SPARK_SECONDS) throughput.delete(second);
  const recent = values.slice(-RATE_SECONDS);
  const rate = recent.reduce((sum, value) => sum + value, 0) / RATE_SECONDS;
  setText(byId("events-rate"), rate > 0 && rate < 10 ? rate.toFixed(1) : integer(rate));
  spark.show(values);
}

function takeLedger({ totals, balanced, lanes, dead_open: open }) {
  setText(byId("events-total"), integer(totals.produced));
  const dropped = totals.dropped > 0 ? `, ${integer(totals.dropped)} dropped` : "";
  setText(byId("events-detail"), `${integer(totals.valid)} valid${dropped}`);
  setText(byId("dead-total"), integer(open));
  const state = byId("ledger-state");
  setText(state, balanced ? "Balanced" : "Not balanced");
  setAttribute(state, "data-state", balanced ? "good" : "bad");
  const count = `${integer(lanes)} ${lanes === 1 ? "lane" : "lanes"}`;
  setText(byId("ledger-detail"), balanced ? `${count}, each event accounted for` : `${count}, see /api/v1/ledger`);
}

function takeAgents(list) {
  const connected = list.filter((agent) => agent.connected).length;
  setText(byId("agents-connected"), integer(connected));
  setText(byId("agents-detail"), `of ${integer(list.length)} known`);
  agents.update(list);
}

function takeOverview(overview) {
  setServerNow(overview.now);
  if (paused) return;
  known = overview.streams.map((stream) => stream.stream);
  takeBuckets(overview.throughput);
  takeLedger(overview.ledger);
  takeAgents(overview.agents);
  streams.update(overview.streams);
  const { totals, dead_open: open } = overview.ledger;
  quietly(letters.refresh(`${totals.dead} ${open}`));
  quietly(views.refresh(overview.views));
}

/** A read that failed is told in the console; the next overview tries again. */
function quietly(promise) {
  promise.catch((error) => console.warn(error.message));
}

function takeState(state) {
  const node = byId("link-state");
  setText(node, STATES[state]);
  setAttribute(node, "data-state", state);
}

function pause() {
  paused = !paused;
  setText(byId("pause"), paused ? "Go on" : "Pause");
  views.pause(paused);
  // what reads by itself, see sections.js
  if (paused) document.body.dataset.paused = "true";
  else delete document.body.dataset.paused;
}

setText(byId("zone"), Intl.DateTimeFormat().resolvedOptions().timeZone);
startClock();
new RangeControl(address);
new Sections(address, {
  event: new FollowEvent(address, byId("event"), { streams: () => known }),
  explain: new Explain(address, byId("explain")),
  graph: new Graph(address, byId("graph")),
  audit: new Audit(address, byId("audit")),
});
byId("pause").addEventListener("click", pause);
quietly(
  get("/api/v1/throughput").then(({ now, buckets }) => {
    setServerNow(now);
    takeBuckets(buckets);
  }),
);
const unlessPaused = (handler) => (message) => {
  if (!paused) handler(message);
};
live = new Live(
  {
    overview: takeOverview,
    windows: unlessPaused((batch) => views.take(batch)),
    gone: unlessPaused((message) => views.gone(message)),
    missed: unlessPaused((message) => views.missed(message)),
    reset: unlessPaused((message) => views.missed(message)),
  },
  takeState,
  unlessPaused((names) => views.catchUp(names)),
);
