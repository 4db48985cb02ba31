-- log.db from format 3 to format 4, in one transaction: which process numbered a lane's seqs.

BEGIN IMMEDIATE;
CREATE TABLE tenures (
    lane     INTEGER NOT NULL,
    from_seq INTEGER NOT NULL,
    writer   INTEGER NOT NULL,
    PRIMARY KEY (lane, from_seq)
) WITHOUT ROWID;
UPDATE meta SET value = '4' WHERE key = 'format_version';
COMMIT;
