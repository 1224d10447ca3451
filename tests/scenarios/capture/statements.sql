-- Statements that change rows in other ways than INSERT, UPDATE and DELETE of one table.

CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(10), UNIQUE KEY b (b)) ENGINE=InnoDB;
-- => DDL CREATE TABLE t (id INT PRIMARY KEY, a INT, b VARCHAR(10), UNIQUE KEY b (b)) ENGINE=InnoDB
CREATE TABLE u (id INT PRIMARY KEY, a INT) ENGINE=InnoDB;
-- => DDL CREATE TABLE u (id INT PRIMARY KEY, a INT) ENGINE=InnoDB
CREATE TABLE auto (id INT AUTO_INCREMENT PRIMARY KEY, a INT) ENGINE=InnoDB;
-- => DDL CREATE TABLE auto (id INT AUTO_INCREMENT PRIMARY KEY, a INT) ENGINE=InnoDB

-- REPLACE: an update where the last unique key alone meets a row, else a delete and an insert.
INSERT INTO t VALUES (1, 1, 'x'), (2, 2, 'y'), (3, 3, 'z');
-- => INSERT t (id=1, a=1, b='x')
-- => INSERT t (id=2, a=2, b='y')
-- => INSERT t (id=3, a=3, b='z')
REPLACE INTO t VALUES (4, 4, 'w');
-- => INSERT t (id=4, a=4, b='w')
REPLACE INTO t VALUES (4, 44, 'w');
-- => DELETE t (id=4, a=4, b='w')
-- => INSERT t (id=4, a=44, b='w')
REPLACE INTO t VALUES (1, 11, 'y');
-- => DELETE t (id=1, a=1, b='x')
-- => UPDATE t (id=2, a=2, b='y') -> (id=1, a=11, b='y')

-- INSERT … ON DUPLICATE KEY UPDATE, INSERT IGNORE, INSERT … SELECT.
INSERT INTO t VALUES (1, 0, 'q'), (5, 5, 'v') ON DUPLICATE KEY UPDATE a = a + 100;
-- => UPDATE t (id=1, a=11, b='y') -> (id=1, a=111, b='y')
-- => INSERT t (id=5, a=5, b='v')
INSERT IGNORE INTO t VALUES (1, 0, 'q'), (6, 6, 'u'), (7, 7, 'u');
-- => INSERT t (id=6, a=6, b='u')
INSERT INTO u SELECT id, a FROM t WHERE id < 5 ORDER BY id;
-- => INSERT u (id=1, a=111)
-- => INSERT u (id=3, a=3)
-- => INSERT u (id=4, a=44)
INSERT INTO auto (a) VALUES (1), (2), (NULL);
-- => INSERT auto (id=1, a=1)
-- => INSERT auto (id=2, a=2)
-- => INSERT auto (id=3, a=NULL)

-- Several tables in one statement: each table's rows by themselves.
UPDATE t JOIN u ON t.id = u.id SET t.a = 0, u.a = 1 WHERE t.id = 3;
-- => UPDATE t (id=3, a=3, b='z') -> (id=3, a=0, b='z')
-- => UPDATE u (id=3, a=3) -> (id=3, a=1)
DELETE t, u FROM t JOIN u ON t.id = u.id WHERE t.id = 3;
-- => DELETE t (id=3, a=0, b='z')
-- => DELETE u (id=3, a=1)

-- Order and limit.
UPDATE t SET a = -1 ORDER BY id DESC LIMIT 1;
-- => UPDATE t (id=6, a=6, b='u') -> (id=6, a=-1, b='u')
DELETE FROM t ORDER BY id DESC LIMIT 2;
-- => DELETE t (id=6, a=-1, b='u')
-- => DELETE t (id=5, a=5, b='v')

-- A view is not a table; its rows are those of the table below.
CREATE VIEW v AS SELECT id, a FROM u WHERE a > 50 WITH CHECK OPTION;
INSERT INTO v VALUES (8, 88);
-- => INSERT u (id=8, a=88)
UPDATE v SET a = 99 WHERE id = 8;
-- => UPDATE u (id=8, a=88) -> (id=8, a=99)
-- error: 1369
UPDATE v SET a = 1 WHERE id = 8;
DELETE FROM v WHERE id = 8;
-- => DELETE u (id=8, a=99)
DROP VIEW v;

-- Prepared statements and user variables.
SET @id = 9, @a = 90;
PREPARE p FROM 'INSERT INTO u VALUES (?, ?)';
EXECUTE p USING @id, @a;
-- => INSERT u (id=9, a=90)
DEALLOCATE PREPARE p;

-- What reads, checks or administers gives nothing.
SELECT COUNT(*) FROM u;
FLUSH TABLES;
ANALYZE TABLE u;
LOCK TABLES u WRITE;
INSERT INTO u VALUES (10, 100);
-- => INSERT u (id=10, a=100)
UNLOCK TABLES;
