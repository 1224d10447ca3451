-- Transactions: what is rolled back was never there; a savepoint takes back what came behind it.

CREATE TABLE t (id INT PRIMARY KEY, a INT) ENGINE=InnoDB;
-- => DDL CREATE TABLE t (id INT PRIMARY KEY, a INT) ENGINE=InnoDB
CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MyISAM;
-- => DDL CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MyISAM

-- Each statement is a transaction of its own.
INSERT INTO t VALUES (1, 10), (2, 20);
-- => INSERT t (id=1, a=10)
-- => INSERT t (id=2, a=20)
UPDATE t SET a = a + 1;
-- => UPDATE t (id=1, a=10) -> (id=1, a=11)
-- => UPDATE t (id=2, a=20) -> (id=2, a=21)
UPDATE t SET a = a;
UPDATE t SET id = 3 WHERE id = 2;
-- => UPDATE t (id=2, a=21) -> (id=3, a=21)
DELETE FROM t WHERE id = 3;
-- => DELETE t (id=3, a=21)
DELETE FROM t WHERE id = 99;
-- error: 1062
INSERT INTO t VALUES (4, 40), (1, 10);

-- Several statements, also one that fails in between.
BEGIN;
INSERT INTO t VALUES (5, 50);
-- error: 1062
INSERT INTO t VALUES (6, 60), (5, 50);
UPDATE t SET a = 51 WHERE id = 5;
DELETE FROM t WHERE id = 1;
COMMIT;
-- => INSERT t (id=5, a=50)
-- => UPDATE t (id=5, a=50) -> (id=5, a=51)
-- => DELETE t (id=1, a=11)

BEGIN;
INSERT INTO t VALUES (7, 70);
ROLLBACK;

BEGIN;
INSERT INTO t VALUES (7, 70);
SAVEPOINT one;
INSERT INTO t VALUES (8, 80);
SAVEPOINT two;
INSERT INTO t VALUES (9, 90);
ROLLBACK TO two;
INSERT INTO t VALUES (10, 100);
ROLLBACK TO SAVEPOINT one;
INSERT INTO t VALUES (11, 110);
RELEASE SAVEPOINT one;
COMMIT;
-- => INSERT t (id=7, a=70)
-- => INSERT t (id=11, a=110)

-- A table without transactions keeps what it has, in a transaction before. MySQL with GTIDs refuses the mixture.
-- only: !mysql97
BEGIN;
-- only: !mysql97
INSERT INTO t VALUES (12, 120);
-- only: !mysql97
INSERT INTO m VALUES (1);
-- only: !mysql97
INSERT INTO t VALUES (13, 130);
-- only: !mysql97
ROLLBACK;
-- => INSERT m (id=1)
-- only: mysql97
INSERT INTO m VALUES (1);
-- => INSERT m (id=1)
-- error: 1062
INSERT INTO m VALUES (2), (1);
-- => INSERT m (id=2)

-- DDL commits what is open.
BEGIN;
INSERT INTO t VALUES (14, 140);
CREATE TABLE u (id INT);
-- => INSERT t (id=14, a=140)
-- => DDL CREATE TABLE u (id INT)

-- Two sessions at once: in the order of their commits.
BEGIN;
INSERT INTO t VALUES (20, 1);
-- session: b
BEGIN;
INSERT INTO t VALUES (21, 1);
-- session: a
INSERT INTO t VALUES (22, 1);
-- session: b
COMMIT;
-- => INSERT t (id=21, a=1)
-- session: a
COMMIT;
-- => INSERT t (id=20, a=1)
-- => INSERT t (id=22, a=1)

-- What is not tracked leaves an empty transaction.
INSERT INTO elsewhere.t VALUES (0);
-- => BEGIN COMMIT
BEGIN;
INSERT INTO elsewhere.t VALUES (-1);
INSERT INTO t VALUES (23, 1);
INSERT INTO elsewhere.t VALUES (-2);
COMMIT;
-- => INSERT t (id=23, a=1)
SET sql_log_bin = 0;
INSERT INTO t VALUES (24, 1);
SET sql_log_bin = 1;
DELETE FROM t WHERE id = 24;
-- => DELETE t (id=24, a=1)
