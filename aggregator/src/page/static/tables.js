// Agents and streams.

import { KeyedTable, byId, emptyState, showOr } from "./dom.js";
import { bytes, integer } from "./format.js";

/** A clock that is this far off is worth a word. */
const SKEW_WORTH_SHOWING = 2000;
const SEND_ONE = `curl -X POST http://127.0.0.1:8603/v1/streams/demo/events -H 'content-type: application/json' \\
  -d '{"device":"d-1","value":42}'`;

function optional(value, show) {
  return value === null || value === undefined ? "–" : show(value);
}

function spool(agent) {
  if (agent.spool_bytes === null || agent.spool_bytes === undefined) return "–";
  return `${bytes(agent.spool_bytes)} of ${bytes(agent.spool_limit)}`;
}

function skew(agent) {
  const off = agent.clock_skew_ms;
  if (off === null || off === undefined) return "–";
  if (Math.abs(off) < SKEW_WORTH_SHOWING) return "in step";
  return `${integer(Math.abs(off) / 1000)} s ${off > 0 ? "ahead" : "behind"}`;
}

/** What its own check has found: events that it took, and requests that it refused. */
function invalid(agent) {
  const checks = agent.checks ?? [];
  if (checks.length === 0) return "–";
  const sum = (key) => checks.reduce((total, check) => total + check[key], 0);
  const refused = sum("refused_requests");
  return `${integer(sum("invalid"))} of ${integer(sum("checked"))}${refused > 0 ? `, ${integer(refused)} refused` : ""}`;
}

export class Agents {
  constructor() {
    this.panel = byId("agents-panel");
    this.table = new KeyedTable({
      caption: "Agents",
      rowKey: (agent) => agent.agent,
      rowAttribute: "data-agent",
      stack: true,
      columns: [
        { key: "agent", label: "Agent", className: "name", text: (a) => a.agent },
        {
          key: "connected",
          label: "State",
          text: (a) => (a.connected ? "connected" : "away"),
          state: (a) => (a.connected ? "good" : "warn"),
        },
        { key: "last_seen", label: "Last seen", time: (a) => a.last_seen },
        { key: "lag_events", label: "Lag", numeric: true, text: (a) => optional(a.lag_events, (n) => `${integer(n)} events`) },
        { key: "held", label: "Held", numeric: true, text: (a) => optional(a.held_bytes, bytes) },
        { key: "spool", label: "Spool", numeric: true, text: spool },
        { key: "clock", label: "Clock", text: skew },
        { key: "invalid", label: "Invalid", numeric: true, text: invalid },
        { key: "gateway", label: "Gateway", text: (a) => a.gateway ?? "–" },
        { key: "remote", label: "Address", className: "quiet", text: (a) => a.remote ?? "–" },
        { key: "software", label: "Software", className: "quiet", text: (a) => a.software ?? "–" },
      ],
    });
    this.empty = emptyState(
      "No agent has connected yet. An agent needs a certificate of this mesh's CA and the address of a gateway:",
      "tributary agent --config agent.toml",
    );
  }

  update(agents) {
    this.table.update(agents);
    showOr(this.panel, this.table.node, agents.length > 0, this.empty);
  }
}

export class Streams {
  constructor() {
    this.panel = byId("streams-panel");
    this.table = new KeyedTable({
      caption: "Streams",
      rowKey: (stream) => stream.stream,
      rowAttribute: "data-stream",
      stack: true,
      columns: [
        { key: "stream", label: "Stream", className: "name", text: (s) => s.stream },
        { key: "valid", label: "Valid", numeric: true, text: (s) => integer(s.valid) },
        { key: "dead", label: "Dead letters", numeric: true, text: (s) => integer(s.dead) },
        { key: "dropped", label: "Dropped", numeric: true, text: (s) => integer(s.dropped) },
        { key: "last_seen", label: "Last event", time: (s) => s.last_seen },
        { key: "lanes", label: "Lanes", numeric: true, text: (s) => integer(s.lanes) },
        { key: "schema", label: "Schema", text: (s) => optional(s.schema, (one) => `version ${one.version}`) },
        { key: "views", label: "Views", className: "quiet", text: (s) => s.views.join(", ") || "–" },
      ],
    });
    this.empty = emptyState("No event has arrived yet. Send one to an agent's intake:", SEND_ONE);
  }

  update(streams) {
    this.table.update(streams);
    showOr(this.panel, this.table.node, streams.length > 0, this.empty);
  }
}
