-- Part of log.db since format 6.

-- When the events of an entry happened: the event times of its valid rows, both included, Unix ms. Entries without
-- valid rows have no row.
CREATE TABLE IF NOT EXISTS entry_times (
    pos      INTEGER PRIMARY KEY,
    lane     INTEGER NOT NULL,
    min_time INTEGER NOT NULL,
    max_time INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_times_by_time ON entry_times (max_time, min_time, lane);
-- Entries whose events lie an hour and more apart. They are few, and are looked for apart: a search among the others
-- then ends an hour behind its range.
CREATE INDEX IF NOT EXISTS entry_times_wide ON entry_times (max_time, min_time, lane)
    WHERE max_time - min_time >= 3600000;

-- The hop records of entries that retention has deleted, as they were in log.
CREATE TABLE IF NOT EXISTS lineage (
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
    min_time       INTEGER,
    max_time       INTEGER,
    header         BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS lineage_by_lane ON lineage (lane, last_seq);

-- Up to which position something was deleted by when; a row an hour. what: 0 entries, 1 hop records.
CREATE TABLE IF NOT EXISTS deletions (
    what INTEGER NOT NULL,
    upto INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    PRIMARY KEY (what, upto)
) WITHOUT ROWID;
