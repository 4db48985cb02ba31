-- log.db, format 6; what finds and outlives entries is in lineage.sql, the tables of the audit are in
-- ../audit/schema.sql. Times are Unix milliseconds; headers are MessagePack maps (tributary_shared::wire).

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- One row for each lane ever seen; never deleted (promise never-forget). mark = valid + dead + dropped.
-- Retention has deleted the lane's entries up to floor_seq; those above it are in the log, up to mark.
CREATE TABLE lanes (
    no                INTEGER PRIMARY KEY,
    agent             TEXT NOT NULL,
    stream            TEXT NOT NULL,
    epoch             INTEGER NOT NULL,
    mark              INTEGER NOT NULL DEFAULT 0,
    valid             INTEGER NOT NULL DEFAULT 0,
    dead              INTEGER NOT NULL DEFAULT 0,
    dropped           INTEGER NOT NULL DEFAULT 0,
    opened_at         INTEGER NOT NULL,
    last_committed_at INTEGER,
    floor_seq         INTEGER NOT NULL DEFAULT 0,
    -- the leaf of the audit that says which lane this number is; NULL for lanes that are older than the audit
    opened_leaf       INTEGER,
    UNIQUE (agent, stream, epoch)
);

-- Which process numbered a lane's seqs, from which seq on; see tributary_shared::wire::history. The newest 64 of a
-- lane; 0 and what is missing stand for: not known.
CREATE TABLE tenures (
    lane     INTEGER NOT NULL,
    from_seq INTEGER NOT NULL,
    writer   INTEGER NOT NULL,
    PRIMARY KEY (lane, from_seq)
) WITHOUT ROWID;

-- One row for each committed batch. The header is the hop record; the body, last so that it can be skipped,
-- is an Arrow IPC stream of the valid rows. kind: 0 rows, 1 dropped, 2 a replay of dead letters: some seqs from
-- first_seq to last_seq, below the lane's mark, with a header of its own kind.
CREATE TABLE log (
    pos            INTEGER PRIMARY KEY,
    lane           INTEGER NOT NULL,
    first_seq      INTEGER NOT NULL,
    last_seq       INTEGER NOT NULL,
    valid          INTEGER NOT NULL,
    dead           INTEGER NOT NULL,
    kind           INTEGER NOT NULL,
    schema_id      INTEGER,
    schema_version INTEGER,
    committed_at   INTEGER NOT NULL,
    header         BLOB NOT NULL,
    body           BLOB NOT NULL
);
CREATE INDEX log_by_lane ON log (lane, last_seq);

-- state: 0 open, 1 replayed, 2 discarded; act: who settled it. Ids rise, and none is given twice: those up to meta's
-- letter_floor are deleted.
CREATE TABLE dead_letters (
    id             INTEGER PRIMARY KEY,
    lane           INTEGER NOT NULL,
    seq            INTEGER NOT NULL,
    pos            INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    schema_id      INTEGER,
    schema_version INTEGER,
    reasons        TEXT NOT NULL,
    payload        BLOB NOT NULL,
    state          INTEGER NOT NULL DEFAULT 0,
    act            INTEGER,
    collected_at   INTEGER,
    UNIQUE (lane, seq)
);
CREATE INDEX dead_letters_by_state ON dead_letters (state);

-- Who replayed or discarded letters, when and how; pos is the replay's log entry. Goes with its last letter.
CREATE TABLE dead_letter_acts (
    id             INTEGER PRIMARY KEY,
    at             INTEGER NOT NULL,
    by             TEXT NOT NULL,
    pos            INTEGER,
    schema_id      INTEGER,
    schema_version INTEGER,
    fix            TEXT,
    reason         TEXT,
    letters        INTEGER NOT NULL
);

-- How many letters there are, and bytes of payload; by rule, and with the empty rule in all.
CREATE TABLE dead_letter_counts (
    lane  INTEGER NOT NULL,
    state INTEGER NOT NULL,
    rule  TEXT NOT NULL,
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (lane, state, rule)
) WITHOUT ROWID;

-- What became of dead events that nobody will replay: `count` of the seqs from first to last.
CREATE TABLE dead_letter_lines (
    lane   INTEGER NOT NULL,
    reason TEXT NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (lane, reason, first)
) WITHOUT ROWID;

-- Which dead letters break a rule, and at which path, so that they are found without reading all.
CREATE TABLE dead_letter_rules (
    rule TEXT NOT NULL,
    id   INTEGER NOT NULL,
    PRIMARY KEY (rule, id)
) WITHOUT ROWID;

-- Dropped seqs, as ranges; adjacent ranges of one reason are one row.
CREATE TABLE ledger (
    lane   INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    first  INTEGER NOT NULL,
    reason TEXT NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (lane, last)
) WITHOUT ROWID;
