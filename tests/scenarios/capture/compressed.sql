-- Compressed transactions: all events in one, and a transaction that is too small to be compressed beside them.
-- for: mysql97

CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(200) CHARACTER SET utf8mb4);
-- => DDL CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(200) CHARACTER SET utf8mb4)
SET binlog_transaction_compression = ON;
INSERT INTO t VALUES (1, REPEAT('a', 100)), (2, REPEAT('b', 100));
-- => INSERT t (id=1, a='aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')
-- => INSERT t (id=2, a='bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb')
BEGIN;
UPDATE t SET a = 'c' WHERE id = 1;
SAVEPOINT s;
DELETE FROM t WHERE id = 2;
ROLLBACK TO s;
INSERT INTO t VALUES (3, REPEAT('d', 100));
COMMIT;
-- => UPDATE t (id=1, a='aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa') -> (id=1, a='c')
-- => INSERT t (id=3, a='dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd')
INSERT INTO elsewhere.t VALUES (1), (2), (3);
-- => BEGIN COMMIT
SET binlog_transaction_compression = OFF;
DELETE FROM t;
-- => DELETE t (id=1, a='c')
-- => DELETE t (id=2, a='bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb')
-- => DELETE t (id=3, a='dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd')
