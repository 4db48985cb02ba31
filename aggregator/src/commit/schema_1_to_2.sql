-- log.db from format 1 to format 2, in one transaction.

BEGIN IMMEDIATE;
ALTER TABLE lanes ADD COLUMN floor_seq INTEGER NOT NULL DEFAULT 0;
CREATE TABLE dead_letter_rules (
    rule TEXT NOT NULL,
    id   INTEGER NOT NULL,
    PRIMARY KEY (rule, id)
) WITHOUT ROWID;
INSERT OR IGNORE INTO dead_letter_rules
    SELECT reason.value ->> 'rule', letter.id FROM dead_letters letter, json_each(letter.reasons) reason;
UPDATE meta SET value = '2' WHERE key = 'format_version';
COMMIT;
