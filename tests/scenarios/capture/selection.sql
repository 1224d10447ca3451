-- Single tables and a database: nothing of what is not tracked, all DDL of the instance.
-- objects: scenario.t elsewhere

CREATE TABLE t (id INT PRIMARY KEY);
-- start
CREATE TABLE u (id INT PRIMARY KEY);
-- => DDL CREATE TABLE u (id INT PRIMARY KEY)
INSERT INTO t VALUES (1);
-- => INSERT t (id=1)
INSERT INTO u VALUES (1);
-- => BEGIN COMMIT
CREATE TABLE elsewhere.later (id INT PRIMARY KEY);
-- => DDL in elsewhere: CREATE TABLE elsewhere.later (id INT PRIMARY KEY)
INSERT INTO elsewhere.later VALUES (1);
-- => INSERT elsewhere.later (id=1)

-- A table that gets a tracked name is tracked from then on, and one that loses it is no more.
RENAME TABLE u TO v, t TO u;
-- => DDL RENAME TABLE u TO v, t TO u
INSERT INTO u VALUES (2);
-- => BEGIN COMMIT
RENAME TABLE v TO t;
-- => DDL RENAME TABLE v TO t
INSERT INTO t VALUES (3);
-- => INSERT t (id=3)
INSERT INTO u SELECT id + 100 FROM t;
-- => BEGIN COMMIT
UPDATE t, u SET t.id = 4, u.id = 5 WHERE t.id = 3 AND u.id = 2;
-- => UPDATE t (id=3) -> (id=4)
DELETE FROM elsewhere.t;
INSERT INTO elsewhere.t VALUES (7);
-- => INSERT elsewhere.t (id=7)
DELETE FROM elsewhere.t;
-- => DELETE elsewhere.t (id=7)
