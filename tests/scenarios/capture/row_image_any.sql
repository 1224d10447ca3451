-- Row images that lack columns, where the channel takes them: what is not there is absent, never made up.
-- for: !mysql55
-- channel: row_image=any

CREATE TABLE t (id INT PRIMARY KEY, a INT, b TEXT CHARACTER SET utf8mb4, c INT);
-- => DDL CREATE TABLE t (id INT PRIMARY KEY, a INT, b TEXT CHARACTER SET utf8mb4, c INT)
SET SESSION binlog_row_image = MINIMAL;
INSERT INTO t VALUES (1, 2, 'x', NULL);
-- => INSERT t (id=1, a=2, b='x', c=NULL)
INSERT INTO t (id, b) VALUES (2, 'y');
-- => INSERT t (id=2, a=absent NONE, b='y', c=absent NONE)
UPDATE t SET a = NULL, c = 7 WHERE id = 1;
-- => UPDATE t (id=1, a=absent NONE, b=absent NONE, c=absent NONE) -> (id=absent NONE, a=NULL, b=absent NONE, c=7)
DELETE FROM t WHERE id = 2;
-- => DELETE t (id=2, a=absent NONE, b=absent NONE, c=absent NONE)
SET SESSION binlog_row_image = NOBLOB;
UPDATE t SET a = 3 WHERE id = 1;
-- => UPDATE t (id=1, a=NULL, b=absent NONE, c=7) -> (id=1, a=3, b=absent NONE, c=7)
UPDATE t SET b = 'z' WHERE id = 1;
-- => UPDATE t (id=1, a=3, b=absent NONE, c=7) -> (id=1, a=3, b='z', c=7)
DELETE FROM t;
-- => DELETE t (id=1, a=3, b=absent NONE, c=7)
