-- What a server does at the corners: times of commits, numbers given back, defaults of other columns, cut divisions.
SET timestamp = 1700000000;
CREATE TABLE a (id INT PRIMARY KEY, v VARCHAR(10));
BEGIN;
INSERT INTO a VALUES (1, 'a');
SET timestamp = 1700000100;
INSERT INTO a VALUES (2, 'b');
SET timestamp = 1700000200;
COMMIT;
BEGIN;
INSERT INTO a VALUES (3, 'c');
COMMIT AND CHAIN;
INSERT INTO a VALUES (4, 'd');
ROLLBACK AND CHAIN;
INSERT INTO a VALUES (5, 'e');
COMMIT WORK AND NO CHAIN NO RELEASE;

-- REPLACE of a row that others might name deletes it; with no foreign key it is updated in place.
CREATE TABLE parent (id INT PRIMARY KEY, v INT);
CREATE TABLE child (id INT PRIMARY KEY, p INT, up INT, FOREIGN KEY (p) REFERENCES parent (id));
INSERT INTO parent VALUES (1, 1), (2, 2);
REPLACE INTO parent VALUES (2, 3);
INSERT INTO child VALUES (1, 1, 1);
SET foreign_key_checks = 0;
REPLACE INTO parent VALUES (1, 9);
SET foreign_key_checks = 1;
REPLACE INTO child VALUES (1, 2, 2);

-- A row that names itself.
CREATE TABLE tree (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES tree (id));
INSERT INTO tree VALUES (1, 1);
INSERT INTO tree VALUES (2, 1), (3, 2);

-- Rows that meet another one give their number back.
CREATE TABLE n (id INT AUTO_INCREMENT PRIMARY KEY, v INT UNIQUE, n INT);
INSERT INTO n (v) VALUES (1), (2), (3);
INSERT INTO n (v) VALUES (10), (2), (11) ON DUPLICATE KEY UPDATE n = 5;
INSERT INTO n (v) VALUES (2), (12), (3), (13) ON DUPLICATE KEY UPDATE n = n + 1;
INSERT INTO n (v) VALUES (1), (2), (14) ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), n = 6;
INSERT INTO n (v) VALUES (LAST_INSERT_ID() + 100);
INSERT INTO n (id, v) VALUES (NULL, 50), (2, 51), (NULL, 52) ON DUPLICATE KEY UPDATE n = 7;
INSERT INTO n (v) VALUES (60), (61);

-- Defaults that name other columns, and values that do.
CREATE TABLE d (id INT PRIMARY KEY, a INT DEFAULT 5, k INT DEFAULT (a * 2), s VARCHAR(20) DEFAULT (CONCAT('k', a)), z INT NOT NULL);
INSERT INTO d (id, z) VALUES (1, 0);
INSERT INTO d (id, a, z) VALUES (2, 7, 0);
INSERT INTO d (k, id, a, z) VALUES (a, 3, z + 7, 1);
INSERT INTO d SET id = 4, a = a + 1, z = z - 1;
INSERT INTO d VALUES (5, 8, DEFAULT, DEFAULT, 0);
UPDATE d SET a = 1, k = DEFAULT WHERE id = 5;
ALTER TABLE d ADD m INT NOT NULL DEFAULT (a + z) AFTER id, ADD g INT AS (m * 2) STORED;
DELETE FROM d WHERE id < 3;

-- A text for a DATE is rounded to its day as a moment is.
CREATE TABLE days (id INT PRIMARY KEY, d DATE);
INSERT INTO days VALUES (1, '2024-01-31 23:59:59.5'), (2, '2024-01-31 23:59:59.4'), (3, TIMESTAMP '2024-01-31 23:59:59.6'), (4, 20240131235959.9), (5, DATE('2024-01-31 23:59:59.9'));

-- Divisions are rounded to their digits, and go on with those.
CREATE TABLE q (id INT PRIMARY KEY, v VARCHAR(40), g DOUBLE, d DECIMAL(40,20), a DECIMAL(20,10), b DECIMAL(12,5), f FLOAT(7,2));
INSERT INTO q VALUES (1, 1/3, 1/3, 1/3, 1.1, 7.12346, 1.255), (2, 10/3/3, (1/3)*3, 2/3 - 1/3, 2.2, 3, 12345.678);
UPDATE q SET v = a/3, g = a/3, d = a/3;
UPDATE q SET v = b/3, g = a/b, d = -b/3, f = f * 2;
UPDATE q SET v = -7 % 3.5, g = 1.123456789/3, d = 1.1234567890123456789012345678/3;
UPDATE q SET v = UNIX_TIMESTAMP('2024-01-01 00:00:00.5') WHERE id = 1;
