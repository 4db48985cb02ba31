-- log.db from format 2 to format 3, in one transaction.

BEGIN IMMEDIATE;
CREATE TABLE tenures (
    lane     INTEGER NOT NULL,
    from_seq INTEGER NOT NULL,
    writer   INTEGER NOT NULL,
    PRIMARY KEY (lane, from_seq)
) WITHOUT ROWID;
UPDATE meta SET value = '3' WHERE key = 'format_version';
COMMIT;
