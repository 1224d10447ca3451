"""Grammar of CREATE TABLE from its name on: table elements, table options, partitions, LIKE and SELECT.

What has no effect on columns, keys or charsets (engine, comment, partitions, checks) is read and dropped.
SqlSyntaxError for anything unknown: half a definition is worse than none.
"""

from msgspec import Struct

from capture.cursor import Cursor
from capture.ddl_columns import accept_charset, column_definition, engine_attribute
from capture.ddl_keys import key_definition, sees_key
from capture.keys import column_keys
from capture.statements import (
    CharsetClause,
    ColumnDefinition,
    CreateTable,
    CreateTableLike,
    DataChange,
    KeyDefinition,
    Statement,
    TableName,
)

_QUERY = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})


class Options(Struct):
    """Table options read so far, as far as they matter."""

    charset: str | None = None
    collation: str | None = None
    versioned: bool = False

    def clause(self) -> CharsetClause | None:
        given = self.charset is not None or self.collation is not None
        return CharsetClause(self.charset, self.collation) if given else None


# ---- CREATE TABLE ----


class Elements(Struct):
    """Columns and keys read so far."""

    columns: list[ColumnDefinition] = []
    keys: list[KeyDefinition] = []


def create_table(cursor: Cursor, *, or_replace: bool, temporary: bool) -> Statement:
    """Read CREATE TABLE from its name on."""
    if_not_exists = cursor.accept("IF", "NOT", "EXISTS")
    name = cursor.table_name()
    in_parentheses = cursor.sees_punctuation("(") and cursor.keyword(1) == "LIKE"
    if in_parentheses or cursor.sees("LIKE"):
        if in_parentheses:
            cursor.advance()
        cursor.expect("LIKE")
        source = cursor.table_name()
        if in_parentheses:
            cursor.expect_punctuation(")")
        return CreateTableLike(name, source, if_not_exists, or_replace, temporary)
    elements = Elements()
    if (
        cursor.sees_punctuation("(")
        and cursor.keyword(1) not in _QUERY - {"TABLE"}
        and not cursor.sees_punctuation("(", 1)
    ):
        table_elements(cursor, elements)
    options = Options()
    # START TRANSACTION is how MySQL 8.0.21+ logs CREATE TABLE … SELECT; it stands before other options too.
    while table_option(cursor, options) or cursor.accept("START", "TRANSACTION"):
        cursor.accept_punctuation(",")
    _skip_partitions(cursor)
    if not cursor.accept("START", "TRANSACTION") and not cursor.at_end():
        return _create_select(cursor, name)
    if not elements.columns:
        raise cursor.unexpected()
    return CreateTable(
        name,
        tuple(elements.columns),
        tuple(elements.keys),
        options.clause(),
        if_not_exists,
        or_replace,
        temporary,
        options.versioned or any(column.versioned for column in elements.columns),
    )


def table_elements(cursor: Cursor, elements: Elements) -> None:
    """Read `(column or key, …)`."""
    cursor.expect_punctuation("(")
    while True:
        if sees_key(cursor):
            key = key_definition(cursor)
            if key is not None:
                elements.keys.append(key)
        else:
            column = column_definition(cursor)
            elements.columns.append(column)
            elements.keys += column_keys(column, cursor.dialect)
        if cursor.accept_punctuation(")"):
            return
        cursor.expect_punctuation(",")


def _create_select(cursor: Cursor, name: TableName) -> Statement:
    """CREATE TABLE … SELECT as text: its rows are in no row event. (A row-format log has the plain CREATE TABLE.)"""
    cursor.accept_one_of(frozenset({"IGNORE", "REPLACE"}))
    cursor.accept("AS")
    if cursor.keyword() not in _QUERY and not cursor.sees_punctuation("("):
        raise cursor.unexpected()
    return DataChange("CREATE TABLE … SELECT", name)


# ---- table options ----

_VALUE_OPTIONS = frozenset(
    {
        *(
            "ENGINE",
            "TYPE",
            "AUTO_INCREMENT",
            "AVG_ROW_LENGTH",
            "AUTOEXTEND_SIZE",
            "CHECKSUM",
            "COMMENT",
            "COMPRESSION",
        ),
        *("CONNECTION", "DELAY_KEY_WRITE", "ENCRYPTION", "ENGINE_ATTRIBUTE", "INSERT_METHOD", "KEY_BLOCK_SIZE"),
        *("MAX_ROWS", "MIN_ROWS", "PACK_KEYS", "PAGE_CHECKSUM", "PASSWORD", "ROW_FORMAT", "SECONDARY_ENGINE"),
        *("SECONDARY_ENGINE_ATTRIBUTE", "SEQUENCE", "STATS_AUTO_RECALC", "STATS_PERSISTENT", "STATS_SAMPLE_PAGES"),
        *("TABLE_CHECKSUM", "TABLESPACE", "TRANSACTIONAL", "UNION", "STORAGE", "RAID_TYPE"),
    }
)


def table_option(cursor: Cursor, options: Options) -> bool:
    """Read one table option. False: none stands here."""
    is_default = cursor.sees("DEFAULT") and cursor.keyword(1) in {"CHARACTER", "CHAR", "CHARSET", "COLLATE"}
    if is_default:
        cursor.advance()
    if accept_charset(cursor):
        options.charset = cursor.name_or_string()
    elif cursor.accept("COLLATE"):
        cursor.accept_punctuation("=")
        options.collation = cursor.name_or_string()
    elif cursor.accept("WITH", "SYSTEM", "VERSIONING"):
        options.versioned = True
    elif (
        cursor.accept("DATA", "DIRECTORY")
        or cursor.accept("INDEX", "DIRECTORY")
        or cursor.accept_one_of(_VALUE_OPTIONS)
    ):
        cursor.skip_value()
    else:
        return engine_attribute(cursor)
    return True


def _skip_partitions(cursor: Cursor) -> None:
    """Step over PARTITION BY …, which ends with the statement or with a query."""
    if not cursor.accept("PARTITION", "BY"):
        return
    ends = _QUERY | {"AS", "IGNORE", "REPLACE", "START"}
    while not cursor.at_end() and cursor.keyword() not in ends:
        if cursor.sees_punctuation("("):
            cursor.skip_parentheses()
        else:
            cursor.advance()
