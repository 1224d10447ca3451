-- Statements of a session that logs statements: those of untracked databases do not matter where events list them.
-- for: mysql56 mysql97

CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB;
-- => DDL CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB
SET SESSION binlog_format = STATEMENT;
INSERT INTO elsewhere.t VALUES (1);
-- => BEGIN COMMIT
SET SESSION binlog_format = ROW;
INSERT INTO t VALUES (1);
-- => INSERT t (id=1)
