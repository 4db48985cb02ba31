-- log.db, format 2. Times are Unix milliseconds; headers are MessagePack maps (tributary_shared::wire).

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
    UNIQUE (agent, stream, epoch)
);

-- One row for each committed batch. The header is the hop record; the body, last so that it can be skipped,
-- is an Arrow IPC stream of the valid rows. kind: 0 rows, 1 dropped.
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
    UNIQUE (lane, seq)
);

-- Which dead letters break a rule, so that they are found without reading all.
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
