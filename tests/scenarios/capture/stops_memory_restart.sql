-- MySQL 5.5 logs that a MEMORY table is empty after a restart like a DELETE that somebody had logged as a statement.
-- for: mysql55
-- server: --skip-slave-start

CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MEMORY;
-- => DDL CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MEMORY
INSERT INTO m VALUES (1);
-- => INSERT m (id=1)
-- crash
SELECT * FROM m;
-- stops: 'DELETE FROM `scenario`.`m`'
