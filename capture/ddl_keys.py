"""Grammar of key definitions: indexes, primary and foreign keys, constraints, and their options.

Everything is read in full, also what has no effect on rows (index types, comments, CHECK), so that a definition with
anything unknown in it raises SqlSyntaxError instead of being half read. How the server names an unnamed key, and when
it makes one itself, is `capture/definition.py`'s.
"""

from typing import Literal

from capture.cursor import Cursor
from capture.ddl_columns import check, engine_attribute, references
from capture.statements import KeyDefinition, TableName

_KEY_WORDS = frozenset({"KEY", "INDEX"})
_CONSTRAINTS = frozenset({"PRIMARY", "UNIQUE", "FOREIGN", "CHECK"})
_KEY_BEGINNINGS = _CONSTRAINTS | _KEY_WORDS | {"FULLTEXT", "SPATIAL", "CONSTRAINT"}


def sees_key(cursor: Cursor) -> bool:
    """Say whether a key or constraint stands here and not a column."""
    word = cursor.keyword()
    if word in _KEY_BEGINNINGS:
        return True
    return (word == "VECTOR" and cursor.keyword(1) in _KEY_WORDS) or (word == "PERIOD" and cursor.sees("PERIOD", "FOR"))


def key_definition(cursor: Cursor) -> KeyDefinition | None:
    """Read a key or constraint; None for a CHECK."""
    symbol, if_not_exists = None, False
    if cursor.accept("CONSTRAINT"):
        if_not_exists = cursor.accept("IF", "NOT", "EXISTS")
        if cursor.keyword() not in _CONSTRAINTS:
            symbol = cursor.identifier()
    if cursor.sees("CHECK"):
        check(cursor)
        return None
    if cursor.accept("PERIOD", "FOR"):
        name = cursor.identifier()
        columns, _, _ = key_parts(cursor)
        return KeyDefinition("period", name, columns)
    if cursor.accept("FOREIGN", "KEY"):
        return _foreign_key(cursor, symbol, if_not_exists)
    return _index(cursor, symbol, if_not_exists)


def _foreign_key(cursor: Cursor, symbol: str | None, if_not_exists: bool) -> KeyDefinition:
    if_not_exists |= cursor.accept("IF", "NOT", "EXISTS")
    name = None if cursor.sees_punctuation("(") else cursor.identifier()
    parts = key_parts(cursor)
    references(cursor)
    return KeyDefinition("foreign", symbol or name, *parts, if_not_exists)


def _index(cursor: Cursor, symbol: str | None, if_not_exists: bool) -> KeyDefinition:
    kind: Literal["primary", "unique", "index"] = "index"
    if cursor.accept("PRIMARY", "KEY"):
        kind = "primary"
    elif cursor.accept("UNIQUE"):
        kind = "unique"
        cursor.accept_one_of(_KEY_WORDS)
    elif cursor.accept_one_of(frozenset({"FULLTEXT", "SPATIAL", "VECTOR"})):
        cursor.accept_one_of(_KEY_WORDS)
    elif cursor.accept_one_of(_KEY_WORDS) is None:
        raise cursor.unexpected()
    if_not_exists |= cursor.accept("IF", "NOT", "EXISTS")
    name = _index_name(cursor)
    _index_type(cursor)
    parts = key_parts(cursor)
    index_options(cursor)
    return KeyDefinition(kind, "PRIMARY" if kind == "primary" else name or symbol, *parts, if_not_exists)


def _index_name(cursor: Cursor) -> str | None:
    is_type = cursor.sees("USING") or (cursor.sees("TYPE") and not cursor.sees_punctuation("(", 1))
    return None if cursor.sees_punctuation("(") or is_type else cursor.identifier()


def _index_type(cursor: Cursor) -> bool:
    if not (cursor.accept("USING") or cursor.accept("TYPE")):
        return False
    cursor.identifier()
    return True


def key_parts(cursor: Cursor) -> tuple[tuple[str, ...], tuple[int, ...], bool]:
    """Read `(part, …)`; return the plain columns, their prefix lengths, whether there are other parts."""
    cursor.expect_punctuation("(")
    columns: list[str] = []
    prefixes: list[int] = []
    functional = False
    while True:
        if cursor.sees_punctuation("("):
            cursor.skip_parentheses()
            functional = True
        elif cursor.keyword(1) == "WITHOUT":  # MariaDB: `period WITHOUT OVERLAPS`
            cursor.identifier()
            cursor.expect("WITHOUT", "OVERLAPS")
            functional = True
        else:
            columns.append(cursor.identifier())
            prefixes.append(_prefix(cursor))
        cursor.accept_one_of(frozenset({"ASC", "DESC"}))
        if cursor.accept_punctuation(")"):
            return tuple(columns), tuple(prefixes) if any(prefixes) else (), functional
        cursor.expect_punctuation(",")


def _prefix(cursor: Cursor) -> int:
    if not cursor.accept_punctuation("("):
        return 0
    length = cursor.integer()
    cursor.expect_punctuation(")")
    return length


_INDEX_VALUE_OPTIONS = frozenset(
    {
        "KEY_BLOCK_SIZE",
        "COMMENT",
        "ENGINE_ATTRIBUTE",
        "SECONDARY_ENGINE_ATTRIBUTE",
        "CLUSTERING",
        "ALGORITHM",
        "LOCK",
        "WAIT",
    }
)
_INDEX_FLAG_OPTIONS = frozenset({"VISIBLE", "INVISIBLE", "IGNORED", "NOWAIT", "ONLINE", "OFFLINE"})


def index_options(cursor: Cursor) -> None:
    """Step over the options of an index, and those of CREATE INDEX and DROP INDEX."""
    while True:
        if cursor.accept_one_of(_INDEX_VALUE_OPTIONS):
            cursor.skip_value()
        elif cursor.accept("WITH", "PARSER"):
            cursor.identifier()
        elif not (
            _index_type(cursor)
            or cursor.accept_one_of(_INDEX_FLAG_OPTIONS)
            or cursor.accept("NOT", "IGNORED")
            or engine_attribute(cursor)
        ):
            return


def key_definition_of_create_index(cursor: Cursor) -> tuple[KeyDefinition, TableName]:
    """Read CREATE [UNIQUE …] INDEX name ON table (parts) from its kind on."""
    kind: Literal["unique", "index"] = "unique" if cursor.accept("UNIQUE") else "index"
    cursor.accept_one_of(frozenset({"FULLTEXT", "SPATIAL", "VECTOR"}))
    cursor.expect("INDEX")
    if_not_exists = cursor.accept("IF", "NOT", "EXISTS")
    name = cursor.identifier()
    _index_type(cursor)
    cursor.expect("ON")
    table = cursor.table_name()
    parts = key_parts(cursor)
    index_options(cursor)
    return KeyDefinition(kind, name, *parts, if_not_exists), table
