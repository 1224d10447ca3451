-- A session that logs statements, at work on a temporary table of its own.
-- for: !mysql55

CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB;
-- => DDL CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB
SET SESSION binlog_format = STATEMENT;
CREATE TEMPORARY TABLE tmp (id INT PRIMARY KEY) ENGINE=InnoDB;
INSERT INTO tmp VALUES (1), (2);
-- => BEGIN COMMIT
UPDATE tmp SET id = id + 10;
-- => BEGIN COMMIT
DELETE FROM tmp;
-- => BEGIN COMMIT
DROP TEMPORARY TABLE tmp;
SET SESSION binlog_format = ROW;
INSERT INTO t VALUES (1);
-- => INSERT t (id=1)
