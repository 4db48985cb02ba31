-- log.db from format 4 to format 5: the audit, whose tables the program adds within the same transaction.

ALTER TABLE lanes ADD COLUMN opened_leaf INTEGER;
UPDATE meta SET value = '5' WHERE key = 'format_version';
