-- Triggers, stored procedures and functions, events, foreign keys: the rows they change, in the order they change.

CREATE TABLE t (id INT PRIMARY KEY, a INT) ENGINE=InnoDB;
-- => DDL CREATE TABLE t (id INT PRIMARY KEY, a INT) ENGINE=InnoDB
CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(20) CHARACTER SET utf8mb4) ENGINE=InnoDB;
-- => DDL CREATE TABLE audit (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(20) CHARACTER SET utf8mb4) ENGINE=InnoDB

CREATE TRIGGER t_ai AFTER INSERT ON t FOR EACH ROW INSERT INTO audit (what) VALUES (CONCAT('in ', NEW.id));
CREATE TRIGGER t_bu BEFORE UPDATE ON t FOR EACH ROW SET NEW.a = NEW.a * 10;
INSERT INTO t VALUES (1, 1), (2, 2);
-- => INSERT t (id=1, a=1)
-- => INSERT audit (id=1, what='in 1')
-- => INSERT t (id=2, a=2)
-- => INSERT audit (id=2, what='in 2')
UPDATE t SET a = 5 WHERE id = 1;
-- => UPDATE t (id=1, a=1) -> (id=1, a=50)
DROP TRIGGER t_ai;
DROP TRIGGER t_bu;

-- Each statement of a procedure is a transaction, unless it says otherwise.
CREATE PROCEDURE p (n INT) BEGIN INSERT INTO t VALUES (n, 0); UPDATE t SET a = 1 WHERE id = n; START TRANSACTION; DELETE FROM t WHERE id = n; INSERT INTO t VALUES (n + 1, 0); COMMIT; END;
CALL p(10);
-- => INSERT t (id=10, a=0)
-- => COMMIT
-- => UPDATE t (id=10, a=0) -> (id=10, a=1)
-- => COMMIT
-- => DELETE t (id=10, a=1)
-- => INSERT t (id=11, a=0)
DROP PROCEDURE p;

-- A function that writes: its rows belong to the statement that called it.
CREATE FUNCTION f (n INT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN INSERT INTO audit (what) VALUES ('f'); RETURN n + 1; END;
INSERT INTO t VALUES (20, f(1));
-- => INSERT audit (id=3, what='f')
-- => INSERT t (id=20, a=2)
SELECT f(2);
-- => INSERT audit (id=4, what='f')
DROP FUNCTION f;

-- Foreign keys: what the server changes by itself is logged by 9.7 when it does that above InnoDB, and nowhere else.
CREATE TABLE parent (id INT PRIMARY KEY) ENGINE=InnoDB;
-- => DDL CREATE TABLE parent (id INT PRIMARY KEY) ENGINE=InnoDB
CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE SET NULL) ENGINE=InnoDB;
-- => DDL CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE ON UPDATE SET NULL) ENGINE=InnoDB
INSERT INTO parent VALUES (1), (2);
-- => INSERT parent (id=1)
-- => INSERT parent (id=2)
INSERT INTO child VALUES (1, 1), (2, 2);
-- => INSERT child (id=1, p=1)
-- => INSERT child (id=2, p=2)
-- error: 1452
INSERT INTO child VALUES (3, 3);
DELETE FROM parent WHERE id = 1;
-- mysql97 => DELETE child (id=1, p=1)
-- => DELETE parent (id=1)
UPDATE parent SET id = 5 WHERE id = 2;
-- mysql97 => UPDATE child (id=2, p=2) -> (id=2, p=NULL)
-- => UPDATE parent (id=2) -> (id=5)
