-- Rows that come in numbers: LOAD DATA, statements of many rows, big rows.

CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20) CHARACTER SET utf8mb4, b LONGBLOB);
-- => DDL CREATE TABLE t (id INT PRIMARY KEY, a VARCHAR(20) CHARACTER SET utf8mb4, b LONGBLOB)
INSERT INTO t VALUES (1, 'one', x'00'), (2, NULL, NULL), (3, 'ü\t\\', 'x');
-- => INSERT t (id=1, a='one', b=BLOB x'00')
-- => INSERT t (id=2, a=NULL, b=NULL)
-- => INSERT t (id=3, a='ü\u0009\', b=BLOB x'78')
SELECT * FROM t ORDER BY id INTO OUTFILE '{folder}/rows';
DELETE FROM t;
-- => DELETE t (id=1, a='one', b=BLOB x'00')
-- => DELETE t (id=2, a=NULL, b=NULL)
-- => DELETE t (id=3, a='ü\u0009\', b=BLOB x'78')
LOAD DATA INFILE '{folder}/rows' INTO TABLE t CHARACTER SET binary;
-- => INSERT t (id=1, a='one', b=BLOB x'00')
-- => INSERT t (id=2, a=NULL, b=NULL)
-- => INSERT t (id=3, a='ü\u0009\', b=BLOB x'78')
LOAD DATA INFILE '{folder}/rows' REPLACE INTO TABLE t CHARACTER SET utf8mb4 (id, a, @b) SET b = NULL;
-- => UPDATE t (id=1, a='one', b=BLOB x'00') -> (id=1, a='one', b=NULL)
-- => UPDATE t (id=3, a='ü\u0009\', b=BLOB x'78') -> (id=3, a='ü\u0009\', b=NULL)

-- Rows larger than an event is meant to be. MySQL 5.5 sends none above its max_allowed_packet, 1 MB.
-- only: !mysql55
INSERT INTO t VALUES (10, 'big', REPEAT('x', 1000000)), (11, 'big', REPEAT('y', 1000000));
-- => INSERT t (id=10, a='big', b=BLOB x'78787878787878787878…'[1000000, df98676a])
-- => INSERT t (id=11, a='big', b=BLOB x'79797979797979797979…'[1000000, 6e091d35])
-- only: !mysql55
UPDATE t SET b = CONCAT(b, 'z') WHERE id = 10;
-- => UPDATE t (id=10, a='big', b=BLOB x'78787878787878787878…'[1000000, df98676a]) -> (id=10, a='big', b=BLOB x'78787878787878787878…'[1000001, a7af4b4b])
-- only: !mysql55
DELETE FROM t WHERE id = 11;
-- => DELETE t (id=11, a='big', b=BLOB x'79797979797979797979…'[1000000, 6e091d35])

-- A statement whose rows fill more than one event of 8 KiB.
CREATE TABLE many (id INT PRIMARY KEY, a CHAR(200) CHARACTER SET latin1);
-- => DDL CREATE TABLE many (id INT PRIMARY KEY, a CHAR(200) CHARACTER SET latin1)
INSERT INTO many SELECT n.i * 10 + m.i, REPEAT('x', 200) FROM (SELECT 0 i UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4) n, (SELECT 0 i UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9) m ORDER BY 1;
-- => INSERT many (id=0, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=1, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=2, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=3, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=4, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=5, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=6, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=7, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=8, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=9, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=10, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=11, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=12, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=13, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=14, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=15, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=16, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=17, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=18, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=19, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=20, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=21, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=22, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=23, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=24, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=25, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=26, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=27, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=28, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=29, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=30, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=31, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=32, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=33, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=34, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=35, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=36, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=37, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=38, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=39, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=40, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=41, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=42, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=43, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=44, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=45, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=46, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=47, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=48, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
-- => INSERT many (id=49, a=_latin1'xxxxxxxxxxxxxxxxxxxx…'[200, 7ecb6ba6])
