"""SQL text of a Query event to statements (`capture/statements.py`): dispatch by first words, and the small statements.

Every statement of MySQL 5.1 to 9.7 and MariaDB 10.0 to 11 gets a class. Rules that matter more than the grammar:

- What a statement begins with decides its class; a definition is read in full or becomes Unknown, never half of it.
- An Unknown statement names the tables it is about, so that it harms nobody who does not track them.
- A statement that could change rows is DataChange even where it might change none (`SELECT f()`, `CALL`).
- The text after a stored program, view or data change is not looked at: its tokens need not be SQL.

The table grammars are in `ddl_tables`, `ddl_alter`, `ddl_columns` and `ddl_keys`. Loaded only when a statement is not
plain transaction control, which the channel tells by itself.
"""

from collections.abc import Callable
from functools import lru_cache

from capture.cursor import Cursor
from capture.ddl_alter import alter_table
from capture.ddl_columns import accept_charset
from capture.ddl_keys import index_options, key_definition_of_create_index
from capture.ddl_tables import create_table
from capture.dialect import MYSQL_NEWEST, Dialect
from capture.sql import Kind, SqlSyntaxError
from capture.statements import (
    AddKey,
    Administration,
    AlterDatabase,
    AlterTable,
    CharsetClause,
    CreateDatabase,
    CreateSequence,
    DataChange,
    DropDatabase,
    DropKey,
    DropTable,
    RenameTable,
    Statement,
    TableName,
    TransactionControl,
    TransactionVerb,
    TruncateTable,
    Unknown,
)

__all__ = ["parse"]

_KEPT_CHARACTERS_MAX = 1 << 14
_READING_VARIABLES = frozenset({"SQL_MODE", "CHARACTER_SET_CLIENT"})
_DATABASE_WORDS = frozenset({"DATABASE", "SCHEMA"})
_TABLE_WORDS = frozenset({"TABLE", "TABLES"})


def parse(sql: str, sql_mode: int = 0, dialect: Dialect = MYSQL_NEWEST) -> list[Statement]:
    """Parse the statements of one Query event: nearly always one, none for a text of comments only.

    Never raises: what is not understood is an Unknown statement, the last of the list.
    """
    return list((_parse_once if len(sql) <= _KEPT_CHARACTERS_MAX else _parse)(sql, sql_mode, dialect))


def _parse(sql: str, sql_mode: int, dialect: Dialect) -> list[Statement]:
    cursor = Cursor(sql, sql_mode, dialect)
    statements: list[Statement] = []
    try:
        while cursor.peek().kind is not Kind.END:
            if cursor.accept_punctuation(";"):
                continue
            cursor.mentioned.clear()
            statement = _statement(cursor)
            statements.append(statement)
            if isinstance(statement, Administration | DataChange):
                return statements
            if not cursor.at_end():
                statements.pop()
                raise cursor.unexpected()
    except SqlSyntaxError as error:
        statements.append(Unknown(str(error), tuple(cursor.mentioned)))
    return statements


_parse_once = lru_cache(maxsize=8)(_parse)
"""A change by call is parsed where it is made and again where it is captured; nobody changes a statement."""


def _statement(cursor: Cursor) -> Statement:
    word = cursor.keyword()
    if cursor.dialect.is_mariadb and cursor.accept("SET", "STATEMENT"):
        return _set_statement(cursor)
    if word in _DATA_CHANGES or cursor.sees_punctuation("("):
        return _data_change(cursor)
    if word in _ADMINISTRATION:
        return Administration(word)
    reader = _READERS.get(word)
    if reader is None:
        raise cursor.unexpected()
    cursor.advance()
    return reader(cursor)


def _set_statement(cursor: Cursor) -> Statement:
    """MariaDB's SET STATEMENT variables FOR statement: the statement under other variables."""
    while not cursor.accept("FOR"):
        if cursor.at_end():
            raise cursor.unexpected()
        if cursor.keyword() in _READING_VARIABLES:
            raise SqlSyntaxError(f"SET STATEMENT {cursor.keyword().lower()} changes how the statement is read")
        if cursor.sees_punctuation("("):
            cursor.skip_parentheses()
        else:
            cursor.advance()
    return _statement(cursor)


# ---- statements that change rows ----

_DATA_CHANGES = frozenset(
    {"INSERT", "REPLACE", "UPDATE", "DELETE", "CALL", "SELECT", "DO", "WITH", "VALUES", "TABLE", "MERGE", "EXECUTE"}
)
_MODIFIERS = frozenset({"LOW_PRIORITY", "DELAYED", "HIGH_PRIORITY", "QUICK", "IGNORE", "INTO", "FROM", "LOCAL"})


def _data_change(cursor: Cursor) -> Statement:
    """Read as far as the target of a change of one table; what comes then is not looked at.

    Where a change may have several targets, or name one by an alias, `table` is None.
    """
    verb = cursor.keyword() or "SELECT"
    if verb not in {"INSERT", "REPLACE", "UPDATE", "DELETE"}:
        return DataChange(verb)
    cursor.advance()
    modifier = None
    while found := cursor.accept_one_of(_MODIFIERS):
        modifier = found
    try:
        target = cursor.table_name()
    except SqlSyntaxError:
        return DataChange(verb)
    if verb == "UPDATE":
        is_one = cursor.sees("SET")
    elif verb == "DELETE":
        others = cursor.sees_punctuation(",") or cursor.sees_punctuation(".") or cursor.sees("USING")
        is_one = modifier == "FROM" and not others
    else:
        is_one = not cursor.sees_punctuation(".")
    return DataChange(verb, target if is_one else None)


def _load(cursor: Cursor) -> Statement:
    if cursor.accept("INDEX"):
        return Administration("LOAD INDEX")
    return DataChange(f"LOAD {cursor.keyword()}")


# ---- transaction control ----


def _begin(cursor: Cursor) -> Statement:
    cursor.accept("WORK")
    return TransactionControl("BEGIN")


def _start(cursor: Cursor) -> Statement:
    if not cursor.accept("TRANSACTION"):
        return Administration(f"START {cursor.keyword()}")
    cursor.skip_statement()
    return TransactionControl("BEGIN")


def _commit(cursor: Cursor) -> Statement:
    cursor.skip_statement()
    return TransactionControl("COMMIT")


def _rollback(cursor: Cursor) -> Statement:
    cursor.accept("WORK")
    if not cursor.accept("TO"):
        cursor.skip_statement()
        return TransactionControl("ROLLBACK")
    if cursor.sees("SAVEPOINT") and cursor.peek(1).kind in {Kind.WORD, Kind.QUOTED}:
        cursor.advance()
    return TransactionControl("ROLLBACK TO", cursor.identifier())


def _savepoint(cursor: Cursor) -> Statement:
    return TransactionControl("SAVEPOINT", cursor.identifier())


def _release(cursor: Cursor) -> Statement:
    cursor.expect("SAVEPOINT")
    return TransactionControl("RELEASE SAVEPOINT", cursor.identifier())


_XA: dict[str, TransactionVerb] = {
    "START": "XA START",
    "BEGIN": "XA START",
    "END": "XA END",
    "PREPARE": "XA PREPARE",
    "COMMIT": "XA COMMIT",
    "ROLLBACK": "XA ROLLBACK",
}


def _xa(cursor: Cursor) -> Statement:
    """XA verb xid."""
    verb = _XA.get(cursor.keyword())
    if verb is None:
        raise cursor.unexpected()
    cursor.advance()
    start = cursor.peek().start
    cursor.skip_statement()
    return TransactionControl(verb, cursor.sql[start : cursor.peek().start].strip())


# ---- CREATE ----

# Kinds of things that are no tables: nothing about them changes a row image.
_OTHER_KINDS = frozenset(
    {
        *("VIEW", "TRIGGER", "PROCEDURE", "FUNCTION", "EVENT", "USER", "ROLE", "SERVER", "TABLESPACE", "LOGFILE"),
        *("UNDO", "RESOURCE", "SPATIAL", "PACKAGE", "LIBRARY", "INSTANCE", "PREPARE", "CATALOG"),
    }
)
_INDEX_KINDS = frozenset({"UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR"})
_CREATE_WORDS_MAX = 24  # between CREATE and the kind: OR REPLACE, DEFINER = …, ALGORITHM = …, SQL SECURITY …


def _create(cursor: Cursor) -> Statement:
    or_replace = cursor.accept("OR", "REPLACE")
    temporary = cursor.accept("TEMPORARY")
    if cursor.accept("TABLE"):
        return create_table(cursor, or_replace=or_replace, temporary=temporary)
    if cursor.accept_one_of(_DATABASE_WORDS):
        return _create_database(cursor, or_replace=or_replace)
    if cursor.accept("SEQUENCE"):
        return _create_sequence(cursor, or_replace=or_replace, temporary=temporary)
    if cursor.sees("INDEX") or (cursor.keyword() in _INDEX_KINDS and cursor.keyword(1) == "INDEX"):
        return _create_index(cursor, or_replace=or_replace)
    cursor.accept_one_of(frozenset({"ONLINE", "OFFLINE"}))
    if cursor.sees("INDEX") or (cursor.keyword() in _INDEX_KINDS and cursor.keyword(1) == "INDEX"):
        return _create_index(cursor, or_replace=or_replace)
    return _other_kind(cursor, "CREATE")


def _other_kind(cursor: Cursor, verb: str) -> Statement:
    """Find the kind of thing behind DEFINER, ALGORITHM and the like."""
    for distance in range(_CREATE_WORDS_MAX):
        word = cursor.keyword(distance)
        if word in _OTHER_KINDS:
            return Administration(f"{verb} {word}")
        if cursor.peek(distance).kind is Kind.END:
            break
    raise cursor.unexpected()


def _create_database(cursor: Cursor, *, or_replace: bool) -> Statement:
    if_not_exists = cursor.accept("IF", "NOT", "EXISTS")
    return CreateDatabase(cursor.database_name(), _database_options(cursor), if_not_exists, or_replace)


def _database_options(cursor: Cursor) -> CharsetClause | None:
    charset: str | None = None
    collation: str | None = None
    while not cursor.at_end():
        cursor.accept("DEFAULT")
        if accept_charset(cursor):
            charset = cursor.name_or_string()
        elif cursor.accept("COLLATE"):
            cursor.accept_punctuation("=")
            collation = cursor.name_or_string()
        elif cursor.accept("READ", "ONLY") or cursor.accept("ENCRYPTION") or cursor.accept("COMMENT"):
            cursor.skip_value()
        else:
            raise cursor.unexpected()
    return CharsetClause(charset, collation) if charset or collation else None


def _create_index(cursor: Cursor, *, or_replace: bool) -> Statement:
    key, table = key_definition_of_create_index(cursor)
    return AlterTable(table, (AddKey(key, replace=or_replace),))


def _create_sequence(cursor: Cursor, *, or_replace: bool, temporary: bool) -> Statement:
    if_not_exists = cursor.accept("IF", "NOT", "EXISTS")
    name = cursor.table_name()
    cursor.skip_statement()
    return CreateSequence(name, if_not_exists, or_replace, temporary)


# ---- ALTER, DROP, RENAME, TRUNCATE ----


def _alter(cursor: Cursor) -> Statement:
    while cursor.accept_one_of(frozenset({"ONLINE", "OFFLINE", "IGNORE"})):
        pass
    if cursor.accept("TABLE"):
        return alter_table(cursor)
    if cursor.accept_one_of(_DATABASE_WORDS):
        return _alter_database(cursor)
    if cursor.sees("SEQUENCE"):
        return Administration("ALTER SEQUENCE")
    return _other_kind(cursor, "ALTER")


def _alter_database(cursor: Cursor) -> Statement:
    unnamed = cursor.keyword() in {"CHARACTER", "CHARSET", "COLLATE", "DEFAULT", "READ", "ENCRYPTION"}
    database = None if unnamed else cursor.database_name()
    if unnamed:
        cursor.mentioned.append(TableName(None, ""))
    if cursor.accept("UPGRADE", "DATA", "DIRECTORY", "NAME"):
        return Administration("ALTER DATABASE UPGRADE")
    return AlterDatabase(database, _database_options(cursor))


def _drop(cursor: Cursor) -> Statement:
    temporary = cursor.accept("TEMPORARY")
    if cursor.accept_one_of(_TABLE_WORDS) or cursor.accept("SEQUENCE"):
        return _drop_table(cursor, temporary=temporary)
    if cursor.accept_one_of(_DATABASE_WORDS):
        if_exists = cursor.accept("IF", "EXISTS")
        return DropDatabase(cursor.database_name(), if_exists)
    cursor.accept_one_of(frozenset({"ONLINE", "OFFLINE"}))
    if cursor.accept("INDEX"):
        if_exists = cursor.accept("IF", "EXISTS")
        name = cursor.identifier()
        cursor.expect("ON")
        table = cursor.table_name()
        index_options(cursor)
        return AlterTable(table, (DropKey(name, if_exists),))
    return _other_kind(cursor, "DROP")


def _drop_table(cursor: Cursor, *, temporary: bool) -> Statement:
    if_exists = cursor.accept("IF", "EXISTS")
    tables = [cursor.table_name()]
    while cursor.accept_punctuation(","):
        tables.append(cursor.table_name())
    _lock_wait(cursor)
    cursor.accept_one_of(frozenset({"RESTRICT", "CASCADE"}))
    return DropTable(tuple(tables), if_exists, temporary)


def _lock_wait(cursor: Cursor) -> None:
    if cursor.accept("WAIT"):
        cursor.integer()
    else:
        cursor.accept("NOWAIT")


def _rename(cursor: Cursor) -> Statement:
    if cursor.accept_one_of(_TABLE_WORDS) is None:
        return _other_kind(cursor, "RENAME")
    cursor.accept("IF", "EXISTS")
    renames = []
    while True:
        old_name = cursor.table_name()
        _lock_wait(cursor)
        cursor.expect("TO")
        renames.append((old_name, cursor.table_name()))
        if not cursor.accept_punctuation(","):
            return RenameTable(tuple(renames))


def _truncate(cursor: Cursor) -> Statement:
    cursor.accept("TABLE")
    name: TableName = cursor.table_name()
    _lock_wait(cursor)
    return TruncateTable(name)


def _import(cursor: Cursor) -> Statement:
    raise SqlSyntaxError("IMPORT TABLE brings tables whose definition is not in the statement")


_READERS: dict[str, Callable[[Cursor], Statement]] = {
    "BEGIN": _begin,
    "START": _start,
    "COMMIT": _commit,
    "ROLLBACK": _rollback,
    "SAVEPOINT": _savepoint,
    "RELEASE": _release,
    "XA": _xa,
    "CREATE": _create,
    "ALTER": _alter,
    "DROP": _drop,
    "RENAME": _rename,
    "TRUNCATE": _truncate,
    "LOAD": _load,
    "IMPORT": _import,
}
_ADMINISTRATION = frozenset(
    {
        *("ANALYZE", "BACKUP", "BINLOG", "CACHE", "CHANGE", "CHECK", "CHECKSUM", "CLONE", "DEALLOCATE", "DELIMITER"),
        *("DESC", "DESCRIBE", "EXPLAIN", "FLUSH", "GET", "GRANT", "HANDLER", "HELP", "INSTALL", "KILL", "LOCK"),
        *("OPTIMIZE", "PREPARE", "PURGE", "REPAIR", "RESET", "RESIGNAL", "RESTART", "REVOKE", "SET", "SHOW"),
        *("SHUTDOWN", "SIGNAL", "STOP", "UNINSTALL", "UNLOCK", "USE"),
    }
)
