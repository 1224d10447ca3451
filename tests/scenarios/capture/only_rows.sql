-- dml without ddl: tables still change under it.
-- data: dml

CREATE TABLE t (id INT PRIMARY KEY);
INSERT INTO t VALUES (1);
-- => INSERT t (id=1)
ALTER TABLE t ADD COLUMN a INT DEFAULT 7;
INSERT INTO t (id) VALUES (2);
-- => INSERT t (id=2, a=7)
DROP TABLE t;
