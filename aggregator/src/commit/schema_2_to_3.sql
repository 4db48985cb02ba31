-- log.db from format 2 to format 3, in one transaction: dead letters that are replayed, discarded and counted.

BEGIN IMMEDIATE;
ALTER TABLE dead_letters ADD COLUMN state INTEGER NOT NULL DEFAULT 0;
ALTER TABLE dead_letters ADD COLUMN act INTEGER;
ALTER TABLE dead_letters ADD COLUMN collected_at INTEGER;
CREATE INDEX dead_letters_by_state ON dead_letters (state);
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
CREATE TABLE dead_letter_counts (
    lane  INTEGER NOT NULL,
    state INTEGER NOT NULL,
    rule  TEXT NOT NULL,
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (lane, state, rule)
) WITHOUT ROWID;
CREATE TABLE dead_letter_lines (
    lane   INTEGER NOT NULL,
    reason TEXT NOT NULL,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL,
    count  INTEGER NOT NULL,
    PRIMARY KEY (lane, reason, first)
) WITHOUT ROWID;
INSERT OR IGNORE INTO dead_letter_rules
    SELECT reason.value ->> 'path', letter.id FROM dead_letters letter, json_each(letter.reasons) reason
    WHERE reason.value ->> 'path' <> '';
INSERT INTO dead_letter_counts
    SELECT lane, 0, '', count(*), sum(length(payload)) FROM dead_letters GROUP BY lane;
INSERT INTO dead_letter_counts
    SELECT letter.lane, 0, r.rule, count(*), 0 FROM dead_letter_rules r JOIN dead_letters letter ON letter.id = r.id
    WHERE r.rule NOT LIKE '/%' GROUP BY letter.lane, r.rule;
-- letters that retention deleted before it named them
INSERT INTO dead_letter_lines
    SELECT no, 'dead_letter_expired', 1, floor_seq, dead - coalesce(held, 0)
    FROM lanes LEFT JOIN (SELECT lane, count(*) AS held FROM dead_letters GROUP BY lane) ON lane = no
    WHERE dead > coalesce(held, 0);
UPDATE meta SET value = '3' WHERE key = 'format_version';
COMMIT;
