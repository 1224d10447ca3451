-- A server that takes names in any case for the same.
-- for: !mysql97
-- server: --lower-case-table-names=1
-- objects: Scenario

CREATE TABLE Orders (Id INT PRIMARY KEY, A INT);
-- => DDL CREATE TABLE Orders (Id INT PRIMARY KEY, A INT)
INSERT INTO ORDERS VALUES (1, 1);
-- => INSERT orders (Id=1, A=1)
ALTER TABLE oRDERS ADD COLUMN b INT;
-- => DDL ALTER TABLE oRDERS ADD COLUMN b INT
UPDATE orders SET a = 2, B = 3;
-- => UPDATE orders (Id=1, A=1, b=NULL) -> (Id=1, A=2, b=3)
RENAME TABLE ORDERS TO Other;
-- => DDL RENAME TABLE ORDERS TO Other
DELETE FROM OTHER;
-- => DELETE other (Id=1, A=2, b=3)
