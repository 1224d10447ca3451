-- A row change that a session has logged as a statement stops the channel; what came before is there.

CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB;
-- => DDL CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB
INSERT INTO t VALUES (1);
-- => INSERT t (id=1)
SET SESSION binlog_format = STATEMENT;
INSERT INTO t VALUES (2);
-- stops: 'INSERT INTO t VALUES (2)'
