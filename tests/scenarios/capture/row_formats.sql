-- Rows events of version 1, as servers before 5.6 write them, without checksums.
-- for: mysql56
-- server: --log-bin-use-v1-row-events=1 --binlog-checksum=NONE

CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20) CHARACTER SET utf8mb4);
-- => DDL CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20) CHARACTER SET utf8mb4)
INSERT INTO t VALUES (1, 'a'), (2, NULL);
-- => INSERT t (id=1, a='a')
-- => INSERT t (id=2, a=NULL)
UPDATE t SET a = 'b';
-- => UPDATE t (id=1, a='a') -> (id=1, a='b')
-- => UPDATE t (id=2, a=NULL) -> (id=2, a='b')
DELETE FROM t WHERE id = 1;
-- => DELETE t (id=1, a='b')
