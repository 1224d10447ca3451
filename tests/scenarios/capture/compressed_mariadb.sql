-- MariaDB's compressed events: rows and statements, each by itself.
-- for: mariadb
-- server: --log-bin-compress=ON --log-bin-compress-min-len=10

CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(200) CHARACTER SET utf8mb4);
-- => DDL CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(200) CHARACTER SET utf8mb4)
INSERT INTO t VALUES (1, REPEAT('a', 100)), (2, REPEAT('b', 100));
-- => INSERT t (id=1, a='aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa')
-- => INSERT t (id=2, a='bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb')
UPDATE t SET a = REPEAT('c', 100);
-- => UPDATE t (id=1, a='aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa') -> (id=1, a='cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc')
-- => UPDATE t (id=2, a='bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb') -> (id=2, a='cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc')
DELETE FROM t;
-- => DELETE t (id=1, a='cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc')
-- => DELETE t (id=2, a='cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc')
ALTER TABLE t ADD COLUMN b INT, ADD COLUMN something_with_a_long_name INT;
-- => DDL ALTER TABLE t ADD COLUMN b INT, ADD COLUMN something_with_a_long_name INT
