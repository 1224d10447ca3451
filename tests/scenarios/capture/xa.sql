-- XA: the rows of a prepared transaction come at its XA COMMIT, also after a restart; those rolled back never.
-- for: mysql97 mariadb1011 mariadb118

CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB;
-- => DDL CREATE TABLE t (id INT PRIMARY KEY) ENGINE=InnoDB
XA START 'one';
INSERT INTO t VALUES (1);
XA END 'one';
XA PREPARE 'one';
-- session: b
INSERT INTO t VALUES (2);
-- => INSERT t (id=2)
-- session: a
XA COMMIT 'one';
-- => INSERT t (id=1)
XA START 'two', 'branch', 7;
INSERT INTO t VALUES (3);
XA END 'two', 'branch', 7;
XA PREPARE 'two', 'branch', 7;
XA ROLLBACK 'two', 'branch', 7;
XA START 'three';
INSERT INTO t VALUES (4);
XA END 'three';
XA COMMIT 'three' ONE PHASE;
-- => INSERT t (id=4)
