-- The audit, see docs/audit.md. kind and pos repeat what is in the leaf, for finding it; pos: the first log entry of a
-- commit group.
CREATE TABLE audit_leaves (
    idx  INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    pos  INTEGER,
    leaf BLOB NOT NULL
);
-- all that is no commit group
CREATE INDEX audit_acts ON audit_leaves (idx, kind) WHERE kind <> 2;

-- Roots of full subtrees of 2^level leaves, from level 8 on; bytes: of the leaves below.
CREATE TABLE audit_nodes (
    level INTEGER NOT NULL,
    idx   INTEGER NOT NULL,
    hash  BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (level, idx)
) WITHOUT ROWID;

-- void: 0, or when the aggregator found that there are fewer leaves than this head was signed for. Kept all the same.
CREATE TABLE audit_heads (
    size INTEGER NOT NULL,
    void INTEGER NOT NULL DEFAULT 0,
    at   INTEGER NOT NULL,
    head TEXT NOT NULL,
    PRIMARY KEY (size, void)
) WITHOUT ROWID;

-- Of log entries that retention has deleted: which seqs were at which position.
CREATE TABLE passed_entries (
    lane     INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    pos      INTEGER NOT NULL,
    PRIMARY KEY (lane, last_seq)
) WITHOUT ROWID;
