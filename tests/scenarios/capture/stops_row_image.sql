-- A row image that lacks columns stops the channel.
-- for: !mysql55

CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT);
-- => DDL CREATE TABLE t (id INT PRIMARY KEY, a INT, b INT)
INSERT INTO t VALUES (1, 2, 3);
-- => INSERT t (id=1, a=2, b=3)
SET SESSION binlog_row_image = MINIMAL;
UPDATE t SET a = 5;
-- stops: binlog_row_image
