-- A restart serves before it has read everything: what it needs of a node it reads when that node reports.
ALTER TABLE record ADD COLUMN node TEXT NOT NULL DEFAULT '';
UPDATE record SET node = json_extract(content, '$.node');
CREATE INDEX record_by_node ON record (node);
CREATE INDEX register_key_by_record ON register_key (record);
