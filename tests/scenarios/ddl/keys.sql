-- Key names the server chooses, keys it makes and takes away itself.

CREATE TABLE names (a INT, b INT, c INT, KEY (a), KEY (a, b), INDEX (a, c), UNIQUE (a, b, c), KEY b (b), KEY (b, a),
  UNIQUE INDEX named USING BTREE (c), PRIMARY KEY USING BTREE (a, c));
ALTER TABLE names ADD KEY (a), ADD UNIQUE (c), ADD INDEX (b) COMMENT 'again';
ALTER TABLE names DROP KEY a_2, ADD UNIQUE KEY (a);
CREATE TABLE reserved (`primary` INT, `key` INT, `index` INT, KEY (`primary`), KEY (`key`), UNIQUE `index` (`index`));
CREATE TABLE inline_keys (a INT UNIQUE, UNIQUE (a), b INT UNIQUE, KEY (b), c INT);
CREATE INDEX c ON inline_keys (c DESC, b ASC);
CREATE UNIQUE INDEX c_u ON inline_keys (c) COMMENT 'x' ALGORITHM=INPLACE LOCK=NONE;
DROP INDEX c ON inline_keys /* ALGORITHM=INPLACE */;
DROP INDEX c_u ON inline_keys;
CREATE TABLE prefixes (a VARCHAR(100), b TEXT, c BLOB, KEY (a(10)), UNIQUE (b(20), a), KEY named (c(5)) KEY_BLOCK_SIZE=1024,
  FULLTEXT KEY ft (b), FULLTEXT INDEX (a, b));
ALTER TABLE prefixes CHANGE a a2 VARCHAR(50), DROP c;
-- on: mysql97 mysql56
ALTER TABLE prefixes DROP b;
-- on: mariadb1011
ALTER TABLE prefixes DROP INDEX b, DROP INDEX a_2, DROP b;
CREATE TABLE unique_order (a INT, b INT NOT NULL, c INT NOT NULL, d INT, UNIQUE x (a), UNIQUE y (b), KEY z (c), UNIQUE w (c),
  PRIMARY KEY (d));
CREATE FULLTEXT INDEX more ON prefixes (a2);

CREATE TABLE parent (id INT PRIMARY KEY, x INT, y INT, UNIQUE KEY xi (x, id));
CREATE TABLE child (id INT, p INT, q INT, r INT, CONSTRAINT fk_p FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE,
  FOREIGN KEY (q) REFERENCES parent (id) ON UPDATE SET NULL ON DELETE NO ACTION, FOREIGN KEY named_fk (r) REFERENCES parent (id));
ALTER TABLE child ADD KEY covers (p, q);
ALTER TABLE child DROP FOREIGN KEY fk_p, ADD UNIQUE (q);
CREATE TABLE covered (p INT, q INT, KEY own (p, q), FOREIGN KEY (p) REFERENCES parent (id), FOREIGN KEY (p, q) REFERENCES parent (x, id),
  CONSTRAINT FOREIGN KEY (q) REFERENCES parent (id) MATCH FULL);
CREATE TABLE inline_reference (id INT PRIMARY KEY, p INT REFERENCES parent (id), q INT NOT NULL REFERENCES parent (id) ON DELETE CASCADE);
ALTER TABLE inline_reference ADD r INT REFERENCES parent (id);
CREATE TABLE constraints (a INT, b INT, CONSTRAINT pk PRIMARY KEY (a), CONSTRAINT uk UNIQUE (b), CONSTRAINT uk2 UNIQUE KEY own (b, a),
  CONSTRAINT UNIQUE (a, b));
ALTER TABLE constraints ADD CONSTRAINT uk3 UNIQUE (b, a), DROP INDEX uk;
CREATE TABLE nulls (a INT NULL DEFAULT NULL, b INT, PRIMARY KEY (b));
ALTER TABLE nulls DROP PRIMARY KEY, ADD PRIMARY KEY (a);
CREATE TABLE myisam_keys (a INT, b INT, FOREIGN KEY (a) REFERENCES parent (id), SPATIAL KEY (g), g GEOMETRY NOT NULL) ENGINE=MyISAM;

-- on: mysql97
CREATE TABLE functional (a INT, b JSON, KEY ((a + 1)), KEY ((a + 2)), UNIQUE KEY u (a, (a * 2)), KEY m ((CAST(b->'$.x' AS UNSIGNED ARRAY))), PRIMARY KEY (a));
-- on: mysql97
ALTER TABLE functional DROP INDEX functional_index, ADD INDEX ((a + 5));
-- on: mysql97
CREATE TABLE without_key (a INT, b INT);
-- on: mysql97
SET SESSION sql_generate_invisible_primary_key = ON;
-- on: mysql97
CREATE TABLE generated_key (a INT, b INT);
-- on: mysql97
ALTER TABLE generated_key ALTER COLUMN my_row_id SET VISIBLE, ADD c INT;
-- on: mysql97
SET SESSION sql_generate_invisible_primary_key = OFF;

-- on: mariadb1011
CREATE OR REPLACE INDEX named ON names (b);
-- on: mariadb1011
CREATE INDEX IF NOT EXISTS xi ON parent (x);
-- on: mariadb1011
DROP INDEX IF EXISTS nothing ON parent;
-- on: mariadb1011
CREATE TABLE long_unique (a INT, b TEXT UNIQUE, c VARCHAR(2000), d VARCHAR(3072) CHARACTER SET latin1, UNIQUE (c), UNIQUE (d), UNIQUE (b, a)) CHARSET utf8mb4;
-- on: mariadb1011
ALTER TABLE long_unique ADD e INT, DROP INDEX c;
-- on: mariadb1011
ALTER TABLE long_unique DROP INDEX b_2, DROP b, MODIFY d VARCHAR(3073) CHARACTER SET latin1;
-- on: mariadb1011
CREATE TABLE overlaps (a INT, s DATE, e DATE, PERIOD FOR p (s, e), UNIQUE (a, p WITHOUT OVERLAPS));
