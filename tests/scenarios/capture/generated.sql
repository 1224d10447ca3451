-- Generated and invisible columns are columns of the row image.
-- for: mysql97 mariadb

CREATE TABLE t (id INT PRIMARY KEY, a INT, v INT GENERATED ALWAYS AS (a * 2) VIRTUAL, s INT AS (a + 1) STORED, KEY (v));
-- => DDL CREATE TABLE t (id INT PRIMARY KEY, a INT, v INT GENERATED ALWAYS AS (a * 2) VIRTUAL, s INT AS (a + 1) STORED, KEY (v))
INSERT INTO t (id, a) VALUES (1, 10);
-- => INSERT t (id=1, a=10, v=20, s=11)
UPDATE t SET a = 11;
-- => UPDATE t (id=1, a=10, v=20, s=11) -> (id=1, a=11, v=22, s=12)
DELETE FROM t;
-- => DELETE t (id=1, a=11, v=22, s=12)
-- only: mysql97
CREATE TABLE i (id INT PRIMARY KEY, a INT INVISIBLE DEFAULT 5, b INT);
-- => DDL CREATE TABLE i (id INT PRIMARY KEY, a INT INVISIBLE DEFAULT 5, b INT)
-- only: mariadb
CREATE TABLE i (id INT PRIMARY KEY, a INT INVISIBLE DEFAULT 5, b INT);
-- => DDL CREATE TABLE i (id INT PRIMARY KEY, a INT INVISIBLE DEFAULT 5, b INT)
INSERT INTO i VALUES (1, 2);
-- => INSERT i (id=1, a=5, b=2)
-- only: mysql97
CREATE TABLE f (id INT PRIMARY KEY, name VARCHAR(10), KEY up ((UPPER(name))), KEY (name));
-- => DDL CREATE TABLE f (id INT PRIMARY KEY, name VARCHAR(10), KEY up ((UPPER(name))), KEY (name))
-- only: mysql97
INSERT INTO f VALUES (1, 'a');
-- => INSERT f (id=1, name='a')
-- only: mysql97
SET sql_generate_invisible_primary_key = ON;
-- only: mysql97
CREATE TABLE nokey (a INT);
-- => DDL CREATE TABLE `nokey` (\n  `my_row_id` bigint unsigned NOT NULL AUTO_INCREMENT /*!80023 INVISIBLE */,\n  `a` int DEFAULT NULL,\n  PRIMARY KEY (`my_row_id`)\n)
-- only: mysql97
INSERT INTO nokey VALUES (5);
-- => INSERT nokey (my_row_id=1, a=5)
