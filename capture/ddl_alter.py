"""Grammar of ALTER TABLE from its name on: one reader per operation's first word.

What changes columns, keys or charsets becomes an operation; what does not (engine, comment, partitions, checks, locks)
is read and dropped. SqlSyntaxError for anything else: half an ALTER is worse than none.
"""

from collections.abc import Callable

from capture.cursor import Cursor
from capture.ddl_columns import accept_charset, column_after_name, column_definition
from capture.ddl_keys import key_definition, sees_key
from capture.ddl_tables import Options, table_option
from capture.statements import (
    AddColumn,
    AddKey,
    AlterOperation,
    AlterTable,
    ChangeColumn,
    CharsetClause,
    ConvertCharset,
    DropColumn,
    DropConstraint,
    DropKey,
    Placement,
    RenameColumn,
    RenameKey,
    RenameTo,
    SetCharset,
    SetColumnDefault,
    SetColumnVisibility,
    SetSystemVersioning,
    Statement,
)


def alter_table(cursor: Cursor) -> Statement:
    """Read ALTER TABLE from its name on."""
    if_exists = cursor.accept("IF", "EXISTS")
    name = cursor.table_name()
    if cursor.accept("WAIT"):
        cursor.integer()
    else:
        cursor.accept("NOWAIT")
    operations: list[AlterOperation] = []
    while not cursor.at_end():
        if _whole_table_operation(cursor):
            break
        operations += _operation(cursor)
        if not cursor.accept_punctuation(",") and not cursor.sees("PARTITION", "BY") and not cursor.sees("REMOVE"):
            break
    if not cursor.at_end():
        raise cursor.unexpected()
    return AlterTable(name, tuple(operations), if_exists)


# Partition administration: the rest of the statement is about partitions, columns and keys stay as they are.
_PARTITION_VERBS = frozenset(
    {
        *("ADD", "DROP", "TRUNCATE", "COALESCE", "REORGANIZE", "EXCHANGE", "ANALYZE", "CHECK", "OPTIMIZE", "REBUILD"),
        *("REPAIR", "DISCARD", "IMPORT", "SECONDARY_LOAD", "SECONDARY_UNLOAD"),
    }
)


def _whole_table_operation(cursor: Cursor) -> bool:
    """Step over what stands alone or last and changes no definition: partitions, tablespaces."""
    verb = cursor.keyword()
    stands = (
        (verb in _PARTITION_VERBS and cursor.keyword(1) in {"PARTITION", "TABLESPACE"})
        or cursor.sees("PARTITION", "BY")
        or cursor.sees("REMOVE", "PARTITIONING")
        or verb in {"SECONDARY_LOAD", "SECONDARY_UNLOAD"}
    )
    if stands:
        cursor.skip_statement()
    return stands


def _operation(cursor: Cursor) -> list[AlterOperation]:
    """Read one operation: none, one, or several of ADD COLUMN (…, …)."""
    reader = _READERS.get(cursor.keyword())
    if reader is not None:
        cursor.advance()
        return reader(cursor)
    if cursor.accept("WITH", "VALIDATION"):
        return []
    options = Options()
    if not table_option(cursor, options):
        raise cursor.unexpected()
    while table_option(cursor, options) or _accept_option_comma(cursor):
        pass
    clause = options.clause()
    versioning: list[AlterOperation] = [SetSystemVersioning(versioned=True)] if options.versioned else []
    return [SetCharset(clause), *versioning] if clause else versioning


def _accept_option_comma(cursor: Cursor) -> bool:
    """Step over a comma between table options: a charset and a collation in two operations belong together."""
    word = cursor.keyword(2) if cursor.keyword(1) == "DEFAULT" else cursor.keyword(1)
    return word in {"CHARACTER", "CHARSET", "COLLATE"} and cursor.accept_punctuation(",")


def _add(cursor: Cursor) -> list[AlterOperation]:
    if cursor.accept("SYSTEM", "VERSIONING"):
        return [SetSystemVersioning(versioned=True)]
    if sees_key(cursor):
        return _add_key(cursor)
    cursor.accept("COLUMN")
    if_not_exists = cursor.accept("IF", "NOT", "EXISTS")
    if not cursor.accept_punctuation("("):
        column = column_definition(cursor)
        return [AddColumn(column, _placement(cursor) or "last", if_not_exists)]
    added: list[AlterOperation] = []
    while True:
        if sees_key(cursor):
            added += _add_key(cursor)
        else:
            added.append(AddColumn(column_definition(cursor), if_not_exists=if_not_exists))
        if cursor.accept_punctuation(")"):
            return added
        cursor.expect_punctuation(",")


def _add_key(cursor: Cursor) -> list[AlterOperation]:
    key = key_definition(cursor)
    return [AddKey(key)] if key is not None else []


def _placement(cursor: Cursor) -> Placement | None:
    if cursor.accept("FIRST"):
        return "first"
    if cursor.accept("AFTER"):
        return ("after", cursor.identifier())
    return None


def _change(cursor: Cursor) -> list[AlterOperation]:
    cursor.accept("COLUMN")
    if_exists = cursor.accept("IF", "EXISTS")
    old_name = cursor.identifier()
    return [ChangeColumn(old_name, column_definition(cursor), _placement(cursor), if_exists)]


def _modify(cursor: Cursor) -> list[AlterOperation]:
    cursor.accept("COLUMN")
    if_exists = cursor.accept("IF", "EXISTS")
    name = cursor.identifier()
    return [ChangeColumn(name, column_after_name(cursor, name), _placement(cursor), if_exists)]


def _drop(cursor: Cursor) -> list[AlterOperation]:
    if cursor.accept("PRIMARY", "KEY"):
        return [DropKey("PRIMARY")]
    if cursor.accept("SYSTEM", "VERSIONING"):
        return [SetSystemVersioning(versioned=False)]
    if cursor.accept("PERIOD", "FOR"):
        cursor.identifier()
        return []
    if cursor.accept("FOREIGN", "KEY") or cursor.accept("CHECK"):
        cursor.accept("IF", "EXISTS")
        cursor.identifier()
        return []
    if cursor.accept("INDEX") or cursor.accept("KEY"):
        if_exists = cursor.accept("IF", "EXISTS")
        return [DropKey(cursor.identifier(), if_exists)]
    if cursor.accept("CONSTRAINT"):
        cursor.accept("IF", "EXISTS")
        return [DropConstraint(cursor.identifier())]
    cursor.accept("COLUMN")
    if_exists = cursor.accept("IF", "EXISTS")
    name = cursor.identifier()
    cursor.accept_one_of(frozenset({"RESTRICT", "CASCADE"}))
    return [DropColumn(name, if_exists)]


def _rename(cursor: Cursor) -> list[AlterOperation]:
    if cursor.accept("COLUMN"):
        if_exists = cursor.accept("IF", "EXISTS")
        return [RenameColumn(*_old_and_new(cursor), if_exists)]
    if cursor.accept("INDEX") or cursor.accept("KEY"):
        if_exists = cursor.accept("IF", "EXISTS")
        return [RenameKey(*_old_and_new(cursor), if_exists)]
    if not (cursor.accept("TO") or cursor.accept("AS")):
        cursor.accept_punctuation("=")
    return [RenameTo(cursor.table_name())]


def _old_and_new(cursor: Cursor) -> tuple[str, str]:
    old_name = cursor.identifier()
    cursor.expect("TO")
    return old_name, cursor.identifier()


def _alter(cursor: Cursor) -> list[AlterOperation]:
    if cursor.accept("INDEX") or cursor.accept("KEY"):
        cursor.accept("IF", "EXISTS")
        cursor.identifier()
        cursor.accept("NOT")
        if cursor.accept_one_of(frozenset({"VISIBLE", "INVISIBLE", "IGNORED"})) is None:
            raise cursor.unexpected()
        return []
    if cursor.accept("CHECK") or cursor.accept("CONSTRAINT"):
        cursor.identifier()
        cursor.accept("NOT")
        cursor.expect("ENFORCED")
        return []
    cursor.accept("COLUMN")
    if_exists = cursor.accept("IF", "EXISTS")
    name = cursor.identifier()
    if cursor.accept("DROP", "DEFAULT"):
        return [SetColumnDefault(name, None, if_exists)]
    cursor.expect("SET")
    if cursor.accept("DEFAULT"):
        return [SetColumnDefault(name, cursor.default_value(), if_exists)]
    visibility = cursor.accept_one_of(frozenset({"VISIBLE", "INVISIBLE"}))
    if visibility is None:
        raise cursor.unexpected()
    return [SetColumnVisibility(name, visibility == "INVISIBLE")]


def _convert(cursor: Cursor) -> list[AlterOperation]:
    """CONVERT TO CHARACTER SET. (MariaDB's CONVERT PARTITION … TO TABLE makes a table: not understood.)"""
    cursor.expect("TO")
    if not accept_charset(cursor):
        raise cursor.unexpected()
    charset = cursor.name_or_string()
    collation = None
    if cursor.accept("COLLATE"):
        cursor.accept_punctuation("=")
        collation = cursor.name_or_string()
    return [ConvertCharset(CharsetClause(charset, collation))]


def _order(cursor: Cursor) -> list[AlterOperation]:
    """ORDER BY columns, a comma between them: always the last operation."""
    cursor.expect("BY")
    while not cursor.at_end():
        cursor.advance()
    return []


def _value(cursor: Cursor) -> list[AlterOperation]:
    cursor.skip_value()
    return []


def _flag(cursor: Cursor) -> list[AlterOperation]:
    return []


def _keys_switch(cursor: Cursor) -> list[AlterOperation]:
    cursor.expect("KEYS")
    return []


def _validation(cursor: Cursor) -> list[AlterOperation]:
    cursor.expect("VALIDATION")
    return []


_READERS: dict[str, Callable[[Cursor], list[AlterOperation]]] = {
    "ADD": _add,
    "CHANGE": _change,
    "MODIFY": _modify,
    "DROP": _drop,
    "RENAME": _rename,
    "ALTER": _alter,
    "CONVERT": _convert,
    "ORDER": _order,
    "ALGORITHM": _value,
    "LOCK": _value,
    "FORCE": _flag,
    "ENABLE": _keys_switch,
    "DISABLE": _keys_switch,
    "WITHOUT": _validation,
}
