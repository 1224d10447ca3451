"""Classes of statements and what the grammar reads; what statements do to tables is tested against real servers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.ddl import parse
from capture.dialect import Dialect
from capture.sql import SqlMode
from capture.statements import (
    TABLE_STATEMENTS,
    AddColumn,
    AddKey,
    Administration,
    AlterDatabase,
    AlterTable,
    ChangeColumn,
    CharsetClause,
    ColumnDefinition,
    ConvertCharset,
    CreateDatabase,
    CreateSequence,
    CreateTable,
    CreateTableLike,
    DataChange,
    DataType,
    DropColumn,
    DropConstraint,
    DropDatabase,
    DropKey,
    DropTable,
    KeyDefinition,
    RenameColumn,
    RenameKey,
    RenameTable,
    RenameTo,
    SetCharset,
    SetColumnDefault,
    SetColumnVisibility,
    SetSystemVersioning,
    TableName,
    TransactionControl,
    TruncateTable,
    Unknown,
)
from tests.capture.schema_oracle import SCENARIOS, load

MARIADB = Dialect("mariadb", (10, 11, 6))
MYSQL56 = Dialect("mysql", (5, 6, 24))


def one(sql, sql_mode=0, dialect=None):
    statements = parse(sql, sql_mode, dialect) if dialect else parse(sql, sql_mode)
    assert len(statements) == 1, statements
    return statements[0]


def t(name, database=None):
    return TableName(database, name)


def operations(sql, dialect=None):
    statement = one(f"ALTER TABLE t {sql}", 0, dialect)
    assert isinstance(statement, AlterTable), statement
    return statement.operations


def column(definition, dialect=None):
    statement = one(f"CREATE TABLE t (c {definition})", 0, dialect)
    assert isinstance(statement, CreateTable), statement
    return statement.columns[0]


# ---- classes ----


@pytest.mark.parametrize(
    ("sql", "verb", "name"),
    [
        ("BEGIN", "BEGIN", None),
        ("begin work", "BEGIN", None),
        ("START TRANSACTION", "BEGIN", None),
        ("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", "BEGIN", None),
        ("COMMIT", "COMMIT", None),
        ("/* app */ COMMIT AND CHAIN NO RELEASE", "COMMIT", None),
        ("ROLLBACK", "ROLLBACK", None),
        ("ROLLBACK WORK AND NO CHAIN", "ROLLBACK", None),
        ("SAVEPOINT `s p`", "SAVEPOINT", "s p"),
        ("ROLLBACK TO s", "ROLLBACK TO", "s"),
        ("ROLLBACK WORK TO SAVEPOINT `x`", "ROLLBACK TO", "x"),
        ("ROLLBACK TO savepoint", "ROLLBACK TO", "savepoint"),
        ("RELEASE SAVEPOINT s", "RELEASE SAVEPOINT", "s"),
        ("XA START X'31',X'',1", "XA START", "X'31',X'',1"),
        ("XA BEGIN 'a'", "XA START", "'a'"),
        ("XA END X'31',X'',1", "XA END", "X'31',X'',1"),
        ("XA PREPARE 'a'", "XA PREPARE", "'a'"),
        ("XA COMMIT 'a' ONE PHASE", "XA COMMIT", "'a' ONE PHASE"),
        ("XA ROLLBACK 'a'", "XA ROLLBACK", "'a'"),
    ],
)
def test_transaction_control(sql, verb, name):
    assert one(sql) == TransactionControl(verb, name)


@pytest.mark.parametrize(
    ("sql", "verb"),
    [
        ("GRANT ALL ON *.* TO 'a'@'%'", "GRANT"),
        ("REVOKE SELECT ON a.b FROM c", "REVOKE"),
        ("SET PASSWORD FOR 'a'@'b' = 'x'", "SET"),
        ("FLUSH PRIVILEGES", "FLUSH"),
        ("ANALYZE TABLE t", "ANALYZE"),
        ("OPTIMIZE NO_WRITE_TO_BINLOG TABLE t", "OPTIMIZE"),
        ("USE shop", "USE"),
        ("LOAD INDEX INTO CACHE t", "LOAD INDEX"),
        ("START SLAVE", "START SLAVE"),
        ("CREATE VIEW v AS SELECT 1", "CREATE VIEW"),
        (
            "CREATE OR REPLACE ALGORITHM = MERGE DEFINER = 'a b'@'%' SQL SECURITY DEFINER VIEW v AS SELECT 1",
            "CREATE VIEW",
        ),
        (
            "CREATE DEFINER=`root`@`localhost` TRIGGER t BEFORE INSERT ON x FOR EACH ROW BEGIN DELETE FROM y; END",
            "CREATE TRIGGER",
        ),
        ("CREATE DEFINER=CURRENT_USER() PROCEDURE p() BEGIN SELECT 'unfinished; END", "CREATE PROCEDURE"),
        ("CREATE AGGREGATE FUNCTION f RETURNS INT SONAME 'x.so'", "CREATE FUNCTION"),
        ("CREATE FUNCTION js() RETURNS INT LANGUAGE JAVASCRIPT AS $$ return `${1}'`; $$", "CREATE FUNCTION"),
        ("CREATE DEFINER=a EVENT e ON SCHEDULE EVERY 1 DAY DO TRUNCATE t", "CREATE EVENT"),
        ("CREATE USER IF NOT EXISTS a IDENTIFIED BY 'x'", "CREATE USER"),
        ("CREATE ROLE r", "CREATE ROLE"),
        ("CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (USER 'a')", "CREATE SERVER"),
        ("CREATE UNDO TABLESPACE u ADD DATAFILE 'u.ibu'", "CREATE UNDO"),
        ("CREATE JSON RELATIONAL DUALITY VIEW v AS SELECT 1", "CREATE VIEW"),
        ("CREATE LIBRARY l LANGUAGE JAVASCRIPT AS $$ x $$", "CREATE LIBRARY"),
        ("ALTER USER a PASSWORD EXPIRE", "ALTER USER"),
        ("ALTER DEFINER=a EVENT e ENABLE", "ALTER EVENT"),
        ("ALTER INSTANCE ROTATE INNODB MASTER KEY", "ALTER INSTANCE"),
        ("ALTER SEQUENCE s RESTART", "ALTER SEQUENCE"),
        ("DROP VIEW IF EXISTS v", "DROP VIEW"),
        ("DROP SPATIAL REFERENCE SYSTEM 4120", "DROP SPATIAL"),
        ("RENAME USER a TO b", "RENAME USER"),
    ],
)
def test_administration(sql, verb):
    assert one(sql) == Administration(verb)


@pytest.mark.parametrize(
    ("sql", "verb", "table"),
    [
        ("INSERT INTO shop.t VALUES (1)", "INSERT", t("t", "shop")),
        ("INSERT LOW_PRIORITY IGNORE `t` SET a = 1", "INSERT", t("t")),
        ("REPLACE DELAYED INTO t SELECT 1", "REPLACE", t("t")),
        ("UPDATE IGNORE t SET a = 1", "UPDATE", t("t")),
        ("UPDATE a, b SET a.x = b.x", "UPDATE", None),
        ("UPDATE a JOIN b SET a.x = 1", "UPDATE", None),
        ("UPDATE (SELECT 1) x SET a = 1", "UPDATE", None),
        ("DELETE FROM `db`.`t`", "DELETE", t("t", "db")),
        ("DELETE a, b FROM a JOIN b", "DELETE", None),
        ("/* hint */ delete quick from t where a = 'unfinished", "DELETE", t("t")),
        ("LOAD DATA INFILE 'x' INTO TABLE t", "LOAD DATA", None),
        ("LOAD XML INFILE 'x' INTO TABLE t", "LOAD XML", None),
        ("CALL p()", "CALL", None),
        ("SELECT f()", "SELECT", None),
        ("(SELECT 1)", "SELECT", None),
        ("WITH c AS (SELECT 1) DELETE FROM t", "WITH", None),
        ("DO f()", "DO", None),
        ("CREATE TABLE t SELECT 1", "CREATE TABLE … SELECT", t("t")),
        ("CREATE TABLE t (PRIMARY KEY (a)) ENGINE=InnoDB IGNORE AS SELECT 1 AS a", "CREATE TABLE … SELECT", t("t")),
        ("CREATE TABLE t (SELECT 1)", "CREATE TABLE … SELECT", t("t")),
        ("CREATE TABLE t (a INT) PARTITION BY HASH (a) SELECT 1", "CREATE TABLE … SELECT", t("t")),
    ],
)
def test_data_changes(sql, verb, table):
    assert one(sql) == DataChange(verb, table)


@pytest.mark.parametrize("sql", ["", " ", ";;", "-- nothing", "# Dummy event", "/* a */ ;"])
def test_texts_without_a_statement(sql):
    assert parse(sql) == []


@pytest.mark.parametrize(
    ("sql", "reason", "tables"),
    [
        ("FROBNICATE x", "FROBNICATE at character 1 is not understood", ()),
        ("CREATE WIDGET w", "WIDGET at character 8 is not understood", ()),
        ("BEGIN NOT ATOMIC", "NOT at character 7 is not understood", ()),
        ("IMPORT TABLE FROM 'x.sdi'", "IMPORT TABLE brings tables whose definition is not in the statement", ()),
        ("ALTER TABLE a.b FROBNICATE", "FROBNICATE at character 17 is not understood", (t("b", "a"),)),
        ("ALTER TABLE a ADD c INT FROBNICATED", "FROBNICATED at character 25 is not understood", (t("a"),)),
        ("ALTER TABLE a ADD c", "the statement ends too early", (t("a"),)),
        ("ALTER TABLE t CONVERT PARTITION p TO TABLE u", "PARTITION at character 23 is not understood", (t("t"),)),
        ("CREATE TABLE a (b HYPERTEXT)", "HYPERTEXT at character 19 is not understood", (t("a"),)),
        ("CREATE TABLE a (b INT", "the statement ends too early", (t("a"),)),
        ("CREATE TABLE a (b INT DEFAULT (1)", "the statement ends too early", (t("a"),)),
        ("CREATE TABLE a (b INT CHECK (1)", "the statement ends too early", (t("a"),)),
        ("CREATE TABLE a (b INT CHECK (1", "a parenthesis is not closed", (t("a"),)),
        ("CREATE TABLE a (b INT) COMMENT 'x", "a string is not closed", (t("a"),)),
        ("CREATE TABLE a (b INT) WIBBLE", "WIBBLE at character 24 is not understood", (t("a"),)),
        ("CREATE TABLE a", "the statement ends too early", (t("a"),)),
        ("DROP TABLE a, b.c NOW", "NOW at character 19 is not understood", (t("a"), t("c", "b"))),
        ("RENAME TABLE a TO b, c", "the statement ends too early", (t("a"), t("b"), t("c"))),
        ("TRUNCATE TABLE t PARTITION", "PARTITION at character 18 is not understood", (t("t"),)),
    ],
)
def test_what_is_not_understood_names_its_tables(sql, reason, tables):
    assert one(sql) == Unknown(reason, tables)


def test_long_tokens_are_cut_in_reasons():
    assert one("ALTER TABLE t " + "x" * 1000).reason == "x" * 30 + "… at character 15 is not understood"


def test_several_statements():
    assert parse("DROP TABLE a; TRUNCATE b;\nSET x = 1") == [
        DropTable((t("a"),)),
        TruncateTable(t("b")),
        Administration("SET"),
    ]
    assert parse("DROP TABLE a; NONSENSE") == [
        DropTable((t("a"),)),
        Unknown("NONSENSE at character 15 is not understood"),
    ]


# ---- small table statements ----


@pytest.mark.parametrize(
    ("sql", "statement"),
    [
        ("DROP TABLE a", DropTable((t("a"),))),
        (
            "DROP TEMPORARY TABLE IF EXISTS `a`,`b`.`c` /* generated by server */",
            DropTable((t("a"), t("c", "b")), if_exists=True, temporary=True),
        ),
        ("DROP TABLES a, b CASCADE", DropTable((t("a"), t("b")))),
        ("DROP TABLE a WAIT 5", DropTable((t("a"),))),
        ("DROP SEQUENCE IF EXISTS s", DropTable((t("s"),), if_exists=True)),
        ("RENAME TABLE a TO b, b TO x.c", RenameTable(((t("a"), t("b")), (t("b"), t("c", "x"))))),
        ("RENAME TABLES IF EXISTS a NOWAIT TO b", RenameTable(((t("a"), t("b")),))),
        ("TRUNCATE a.b", TruncateTable(t("b", "a"))),
        ("TRUNCATE TABLE b", TruncateTable(t("b"))),
        ("CREATE TABLE a LIKE b.c", CreateTableLike(t("a"), t("c", "b"))),
        ("CREATE TABLE IF NOT EXISTS a (LIKE b)", CreateTableLike(t("a"), t("b"), if_not_exists=True)),
        ("CREATE TEMPORARY TABLE a LIKE b", CreateTableLike(t("a"), t("b"), temporary=True)),
        ("CREATE OR REPLACE TABLE a LIKE b", CreateTableLike(t("a"), t("b"), or_replace=True)),
        ("CREATE SEQUENCE IF NOT EXISTS s START 1 CACHE 5", CreateSequence(t("s"), if_not_exists=True)),
        ("CREATE DATABASE d", CreateDatabase("d")),
        (
            "CREATE SCHEMA IF NOT EXISTS `d` DEFAULT CHARACTER SET = utf8 COLLATE 'utf8_bin'",
            CreateDatabase("d", CharsetClause("utf8", "utf8_bin"), if_not_exists=True),
        ),
        (
            "CREATE DATABASE `d` /*!40100 DEFAULT CHARACTER SET gbk */ /*!80016 DEFAULT ENCRYPTION='N' */",
            CreateDatabase("d", CharsetClause("gbk", None)),
        ),
        ("ALTER DATABASE COLLATE latin1_bin", AlterDatabase(None, CharsetClause(None, "latin1_bin"))),
        ("ALTER SCHEMA d READ ONLY = 1", AlterDatabase("d")),
        ("DROP DATABASE IF EXISTS d", DropDatabase("d", if_exists=True)),
        ("CREATE INDEX i ON a.t (x)", AlterTable(t("t", "a"), (AddKey(KeyDefinition("index", "i", ("x",))),))),
        (
            "CREATE UNIQUE INDEX i USING BTREE ON t (x(5) DESC, (y + 1)) COMMENT 'c' LOCK = NONE",
            AlterTable(t("t"), (AddKey(KeyDefinition("unique", "i", ("x",), (5,), functional=True)),)),
        ),
        (
            "CREATE OR REPLACE FULLTEXT INDEX i ON t (x) WITH PARSER ngram",
            AlterTable(t("t"), (AddKey(KeyDefinition("index", "i", ("x",)), replace=True),)),
        ),
        ("DROP INDEX `PRIMARY` ON t", AlterTable(t("t"), (DropKey("PRIMARY"),))),
    ],
)
def test_small_statements(sql, statement):
    assert one(sql, 0, MARIADB) == statement


# ---- columns ----


@pytest.mark.parametrize(
    ("definition", "data_type"),
    [
        ("INTEGER(11) UNSIGNED", DataType("int", length=11, unsigned=True)),
        ("INT ZEROFILL", DataType("int", unsigned=True)),
        ("BOOL", DataType("tinyint")),
        ("DOUBLE PRECISION", DataType("double")),
        ("FLOAT(30)", DataType("double")),
        ("FLOAT(7,3)", DataType("float", precision=7, scale=3)),
        ("DEC", DataType("decimal", precision=10, scale=0)),
        ("NUMERIC(0)", DataType("decimal", precision=10, scale=0)),
        ("FIXED(5,2)", DataType("decimal", precision=5, scale=2)),
        ("BIT", DataType("bit", length=1)),
        ("DATETIME(6)", DataType("datetime", fsp=6)),
        ("CHAR", DataType("char", length=1)),
        ("NATIONAL CHARACTER VARYING(5)", DataType("varchar", length=5, charset="utf8")),
        ("LONG VARBINARY", DataType("mediumblob")),
        ("LONG", DataType("mediumtext")),
        ("TEXT CHARSET latin1 COLLATE latin1_bin", DataType("text", charset="latin1", collation="latin1_bin")),
        ("VARCHAR(9) BINARY CHARACTER SET gbk", DataType("varchar", length=9, charset="gbk", binary_collation=True)),
        ("CHAR(2) BYTE", DataType("char", length=2, charset="binary")),
        ("ENUM('a ','b''c')", DataType("enum", labels=("a", "b'c"))),
        ("SET(x'61',0x62,_utf8'c')", DataType("set", labels=("a", "b", "c"))),
        ("GEOMCOLLECTION", DataType("geometrycollection")),
        ("VECTOR", DataType("vector", length=2048)),
    ],
)
def test_data_types(definition, data_type):
    assert column(definition).data_type == data_type


def test_real_depends_on_the_sql_mode():
    assert one("CREATE TABLE t (c REAL)").columns[0].data_type.name == "double"
    assert one("CREATE TABLE t (c REAL)", SqlMode.REAL_AS_FLOAT).columns[0].data_type.name == "float"


def test_mariadb_types_are_unknown_to_mysql():
    assert column("UUID", MARIADB).data_type == DataType("uuid")
    assert isinstance(one("CREATE TABLE t (c UUID)"), Unknown)


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        ("INT NOT NULL", {"nullable": False}),
        ("INT NULL", {"nullable": True}),
        ("INT AUTO_INCREMENT PRIMARY KEY", {"auto_increment": True, "nullable": False, "primary": True}),
        ("INT KEY", {"primary": True}),
        ("INT UNIQUE KEY UNIQUE", {"unique": True}),
        ("INT DEFAULT NULL", {}),
        ("INT DEFAULT -5", {"default": "'-5'"}),
        ("INT DEFAULT TRUE", {"default": "'1'"}),
        ("INT DEFAULT 'it''s'", {"default": "'it''s'"}),
        ("INT DEFAULT _utf8mb4'x'", {"default": "'x'"}),
        ("INT DEFAULT b'101'", {"default": "b'101'"}),
        ("INT DEFAULT (a + 1) NOT NULL", {"default": "(a + 1)", "nullable": False}),
        ("INT DEFAULT now(3) ON UPDATE localtimestamp", {"default": "CURRENT_TIMESTAMP(3)"}),
        ("INT AS (a + (b * 2))", {"generated": "virtual"}),
        ("INT GENERATED ALWAYS AS (a) STORED UNIQUE", {"generated": "stored", "unique": True}),
        ("INT COMMENT 'x, y)' INVISIBLE", {"invisible": True}),
        ("INT /*!80023 INVISIBLE */ NOT NULL", {"invisible": True, "nullable": False}),
        ("INT REFERENCES o.p (q) ON DELETE SET NULL ON UPDATE NO ACTION", {"references": True}),
        ("INT CONSTRAINT x CHECK (c > 0) NOT ENFORCED COLUMN_FORMAT FIXED STORAGE DISK", {}),
        ("INT ENGINE_ATTRIBUTE = '{}' SECONDARY_ENGINE_ATTRIBUTE '{}' NOT SECONDARY", {}),
    ],
)
def test_column_attributes(definition, expected):
    assert column(definition) == ColumnDefinition("c", DataType("int"), **expected)


@pytest.mark.parametrize(
    ("definition", "default"),
    [
        ("uuid()", "uuid()"),
        ("1 + 2 * f(3)", "1 + 2 * f(3)"),
        ("NEXT VALUE FOR a.s", "NEXT VALUE FOR a.s"),
        ("- a", "- a"),
    ],
)
def test_mariadb_defaults_need_no_parentheses(definition, default):
    assert column(f"INT DEFAULT {definition} NOT NULL", MARIADB) == ColumnDefinition(
        "c", DataType("int"), nullable=False, default=default
    )


# ---- CREATE TABLE and ALTER TABLE ----


def test_create_table_in_full():
    statement = one(
        "CREATE TABLE IF NOT EXISTS s.t (id SERIAL, a INT UNIQUE, KEY k USING BTREE (a, id) COMMENT 'x' VISIBLE,"
        " CONSTRAINT f FOREIGN KEY i (a) REFERENCES p (x) MATCH SIMPLE ON DELETE RESTRICT, CONSTRAINT c CHECK (a > 0),"
        " CONSTRAINT PRIMARY KEY (id), FULLTEXT (a), UNIQUE INDEX (a(3)))"
        " ENGINE InnoDB, DEFAULT CHARSET=gbk COLLATE gbk_bin COMMENT='a) b' UNION=(x,y) ROW_FORMAT=DYNAMIC"
        " PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (5) ENGINE=InnoDB)"
    )
    assert statement == CreateTable(
        t("t", "s"),
        (
            ColumnDefinition("id", DataType("bigint", unsigned=True), nullable=False, auto_increment=True, unique=True),
            ColumnDefinition("a", DataType("int"), unique=True),
        ),
        (
            KeyDefinition("unique", None, ("id",)),
            KeyDefinition("unique", None, ("a",)),
            KeyDefinition("index", "k", ("a", "id")),
            KeyDefinition("foreign", "f", ("a",)),
            KeyDefinition("primary", "PRIMARY", ("id",)),
            KeyDefinition("index", None, ("a",)),
            KeyDefinition("unique", None, ("a",), (3,)),
        ),
        CharsetClause("gbk", "gbk_bin"),
        if_not_exists=True,
    )


def test_rows_of_create_select_come_with_a_plain_create():
    statement = one("CREATE TABLE `t` (\n  `a` int NOT NULL\n) START TRANSACTION ENGINE=InnoDB")
    assert statement == CreateTable(t("t"), (ColumnDefinition("a", DataType("int"), nullable=False),))


@pytest.mark.parametrize(
    "name", ["key_id", "`key`", "primary_key", "check_sum", "period", "vector", "constraint_", "comment"]
)
def test_columns_may_be_called_like_keys(name):
    statement = one(f"CREATE TABLE t ({name} INT, b INT)", 0, MARIADB)
    assert [column.name for column in statement.columns] == [name.strip("`"), "b"]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", ()),
        ("ADD a INT", (AddColumn(ColumnDefinition("a", DataType("int"))),)),
        ("ADD COLUMN a INT FIRST", (AddColumn(ColumnDefinition("a", DataType("int")), "first"),)),
        ("ADD a INT AFTER `b c`", (AddColumn(ColumnDefinition("a", DataType("int")), ("after", "b c")),)),
        (
            "ADD (a INT, b DATE, KEY (a))",
            (
                AddColumn(ColumnDefinition("a", DataType("int"))),
                AddColumn(ColumnDefinition("b", DataType("date"))),
                AddKey(KeyDefinition("index", None, ("a",))),
            ),
        ),
        ("MODIFY a INT FIRST", (ChangeColumn("a", ColumnDefinition("a", DataType("int")), "first"),)),
        ("CHANGE COLUMN a b INT", (ChangeColumn("a", ColumnDefinition("b", DataType("int"))),)),
        ("DROP a, DROP COLUMN `key`", (DropColumn("a"), DropColumn("key"))),
        ("DROP PRIMARY KEY, DROP INDEX i, DROP KEY k", (DropKey("PRIMARY"), DropKey("i"), DropKey("k"))),
        ("DROP FOREIGN KEY f, DROP CHECK c, DROP CONSTRAINT d", (DropConstraint("d"),)),
        ("RENAME COLUMN a TO b, RENAME INDEX c TO d", (RenameColumn("a", "b"), RenameKey("c", "d"))),
        ("RENAME x.y", (RenameTo(t("y", "x")),)),
        ("RENAME TO y", (RenameTo(t("y")),)),
        ("RENAME = y", (RenameTo(t("y")),)),
        (
            "ALTER a SET DEFAULT 5, ALTER COLUMN b DROP DEFAULT",
            (SetColumnDefault("a", "'5'"), SetColumnDefault("b", None)),
        ),
        ("ALTER a SET INVISIBLE", (SetColumnVisibility("a", invisible=True),)),
        ("ALTER INDEX i INVISIBLE, ALTER CHECK c NOT ENFORCED", ()),
        ("CONVERT TO CHARACTER SET utf8 COLLATE utf8_bin", (ConvertCharset(CharsetClause("utf8", "utf8_bin")),)),
        ("DEFAULT CHARACTER SET = utf8, COLLATE utf8_bin", (SetCharset(CharsetClause("utf8", "utf8_bin")),)),
        (
            "CHARSET gbk, ADD a INT",
            (SetCharset(CharsetClause("gbk", None)), AddColumn(ColumnDefinition("a", DataType("int")))),
        ),
        ("ENGINE=InnoDB COMMENT 'x', AUTO_INCREMENT 5", ()),
        ("ALGORITHM=INSTANT, LOCK DEFAULT, FORCE, ENABLE KEYS, WITHOUT VALIDATION", ()),
        ("ORDER BY a, b DESC", ()),
        ("ADD PARTITION (PARTITION p VALUES IN (1))", ()),
        ("DROP PARTITION p", ()),
        ("EXCHANGE PARTITION p WITH TABLE u WITHOUT VALIDATION", ()),
        ("ADD a INT PARTITION BY HASH (a) PARTITIONS 2", (AddColumn(ColumnDefinition("a", DataType("int"))),)),
        ("DROP a REMOVE PARTITIONING", (DropColumn("a"),)),
        ("DISCARD TABLESPACE", ()),
        ("ADD CONSTRAINT CHECK (a > 0)", ()),
        ("ADD CONSTRAINT u UNIQUE (a)", (AddKey(KeyDefinition("unique", "u", ("a",))),)),
    ],
)
def test_alter_operations(sql, expected):
    assert operations(sql) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("ADD COLUMN IF NOT EXISTS a INT", (AddColumn(ColumnDefinition("a", DataType("int")), if_not_exists=True),)),
        ("DROP COLUMN IF EXISTS a", (DropColumn("a", if_exists=True),)),
        ("DROP INDEX IF EXISTS a", (DropKey("a", if_exists=True),)),
        ("ADD KEY IF NOT EXISTS k (a)", (AddKey(KeyDefinition("index", "k", ("a",), if_not_exists=True)),)),
        ("ADD SYSTEM VERSIONING", (SetSystemVersioning(versioned=True),)),
        ("DROP SYSTEM VERSIONING", (SetSystemVersioning(versioned=False),)),
        ("ADD PERIOD FOR p (a, b)", (AddKey(KeyDefinition("period", "p", ("a", "b"))),)),
        ("WAIT 10 DROP a", (DropColumn("a"),)),
        ("page_compressed = 1", ()),
    ],
)
def test_alter_operations_of_mariadb(sql, expected):
    assert operations(sql, MARIADB) == expected


def test_names_are_read_with_ansi_quotes():
    assert one('DROP TABLE "a b"."c"', SqlMode.ANSI_QUOTES) == DropTable((t("c", "a b"),))


# ---- any text ----


SCENARIO_STATEMENTS = [sql for path in sorted(SCENARIOS.glob("*.sql")) for _, sql in load(path).statements]


@pytest.mark.parametrize("index", range(len(SCENARIO_STATEMENTS)))
def test_every_prefix_is_a_statement_or_a_clear_error(index):
    sql = SCENARIO_STATEMENTS[index]
    for end in range(len(sql)):
        for statement in parse(sql[:end], 0, MARIADB):
            assert not isinstance(statement, Unknown) or statement.reason


WORDS = """
    CREATE ALTER DROP TABLE t ADD COLUMN INT ( ) , . ; ' " ` = DEFAULT KEY PRIMARY a b 5 /*!50000 */ AS SELECT AFTER
    FIRST
    PARTITION BY RENAME TO CHARSET utf8 ENUM 'x' CHECK CONSTRAINT UNIQUE CHANGE MODIFY NOT NULL -- #
"""
TOKENS = st.sampled_from([*WORDS.split(), "\n"])


@given(st.lists(TOKENS, max_size=25))
def test_any_sequence_of_words_parses(tokens):
    for statement in parse("ALTER TABLE t " + " ".join(tokens)):
        assert isinstance(statement, (*TABLE_STATEMENTS, Unknown, Administration, DataChange, TransactionControl))


@given(st.text(max_size=60))
def test_any_text_parses(text):
    parse(text)


def test_set_statement_is_what_it_is_for():
    """MariaDB logs it whole: taken for a SET, the change would be passed over without a word."""
    sql = "SET STATEMENT max_statement_time=(SELECT 1 FOR UPDATE), lock_wait_timeout=5 FOR ALTER TABLE t DROP a"
    assert parse(sql, 0, MARIADB) == [AlterTable(TableName(None, "t"), (DropColumn("a"),))]
    assert isinstance(parse(sql)[0], Administration)
    (unknown,) = parse("SET STATEMENT sql_mode='ANSI_QUOTES' FOR ALTER TABLE t DROP \"a\"", 0, MARIADB)
    assert isinstance(unknown, Unknown)
    assert unknown.reason == "SET STATEMENT sql_mode changes how the statement is read"
    assert isinstance(parse("SET STATEMENT a=1", 0, MARIADB)[0], Unknown)


def test_a_versioned_column_makes_the_table_versioned():
    (created,) = parse("CREATE TABLE t (a INT WITH SYSTEM VERSIONING, b INT)", 0, MARIADB)
    assert isinstance(created, CreateTable)
    assert created.versioned


def test_what_was_parsed_before_is_given_in_a_list_of_its_own() -> None:
    first = parse("CREATE TABLE t (id INT)")
    first.clear()
    [again] = parse("CREATE TABLE t (id INT)")
    assert again == parse("CREATE TABLE t (id INT)")[0]
    quoted = 'CREATE TABLE t (a INT DEFAULT "1")'
    assert parse(quoted) != parse(quoted, SqlMode.ANSI_QUOTES)
