"""The keys of a table as the server makes them of definitions: names, order, implied keys and columns.

Rules from the server's source (sql_table.cc: `mysql_prepare_create_table`, `make_unique_key_name`,
`foreign_key_prefix`):

- an unnamed key takes its first column's name, then `name_2`, `name_3` …; one over an expression `functional_index`
- a foreign key asks for an index of its own, which gives way to any other key that begins with its columns
- a primary key makes its columns NOT NULL, and so does MariaDB's PERIOD FOR
- order: primary, unique without nullable columns, other unique, the rest
- MariaDB adds a hidden hash column for each unique key too long for its engine (InnoDB's 3072 bytes are assumed)
"""

from collections.abc import Sequence

from msgspec.structs import replace

from capture.charsets import Charsets
from capture.dialect import Dialect
from capture.statements import ColumnDefinition, KeyDefinition
from capture.table import PRIMARY, Column, Key

_INLINE_REFERENCES_SINCE = (9, 0, 0)
_INLINE_REFERENCES_SINCE_MARIADB = (10, 5, 0)
_FUNCTIONAL_NAME = "functional_index"
_ROW_HASH = "DB_ROW_HASH_"
_ROW_HASH_SINCE = (10, 4, 0)
_KEY_BYTES_MAX = 3072
_UNBOUNDED = frozenset(
    {"tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob", "longblob", "geometry"}
)


def column_keys(column: ColumnDefinition, dialect: Dialect) -> list[KeyDefinition]:
    """List the keys that a column's own attributes ask for, in the order of the server's parser."""
    keys = []
    if column.primary:
        keys.append(KeyDefinition("primary", PRIMARY, (column.name,)))
    if column.unique and not (column.primary and dialect.is_mariadb):
        keys.append(KeyDefinition("unique", None, (column.name,)))
    since = _INLINE_REFERENCES_SINCE_MARIADB if dialect.is_mariadb else _INLINE_REFERENCES_SINCE
    if column.references and dialect.version >= since:
        keys.append(KeyDefinition("foreign", None, (column.name,)))
    return keys


def arrange_keys(
    columns: Sequence[Column], kept: Sequence[Key], added: Sequence[KeyDefinition], charsets: Charsets, dialect: Dialect
) -> tuple[tuple[Column, ...], tuple[Key, ...]]:
    """Join kept and added keys; return the columns as the keys make them, and all keys in order."""
    drafts = [*kept, *(_draft(definition) for definition in added if definition.kind != "period")]
    drafts = [key for key in drafts if not _gives_way(key, drafts)]
    keys = _named(drafts, columns, dialect)
    bound = {name.casefold() for key in keys if key.name == PRIMARY for name in key.columns}
    bound |= {name.casefold() for definition in added if definition.kind == "period" for name in definition.columns}
    columns = [replace(column, nullable=False) if column.name.casefold() in bound else column for column in columns]
    nullable = {column.name.casefold() for column in columns if column.nullable}
    keys.sort(key=lambda key: _rank(key, nullable))
    if dialect.is_mariadb and dialect.version >= _ROW_HASH_SINCE:
        columns = _with_row_hashes(columns, keys, charsets)
    return tuple(columns), tuple(keys)


def _draft(definition: KeyDefinition) -> Key:
    """Make a key of its definition; "" is a name still to be chosen."""
    return Key(
        definition.name or "",
        definition.columns,
        unique=definition.kind in {"primary", "unique"},
        prefixes=definition.prefixes,
        functional=definition.functional,
        implicit=definition.kind == "foreign",
    )


def _gives_way(key: Key, keys: Sequence[Key]) -> bool:
    """Say whether another key makes a foreign key's own one superfluous; of two equal ones the later goes."""
    if not key.implicit:
        return False
    wanted = _folded(key)
    for other in keys:
        if other is key or _folded(other)[: len(wanted)] != wanted:
            continue
        same = other.implicit and len(other.columns) == len(wanted)
        if not same or _index_of(other, keys) < _index_of(key, keys):
            return True
    return False


def _index_of(key: Key, keys: Sequence[Key]) -> int:
    return next(index for index, candidate in enumerate(keys) if candidate is key)


def _folded(key: Key) -> list[str]:
    return [name.casefold() for name in key.columns]


def _named(drafts: Sequence[Key], columns: Sequence[Column], dialect: Dialect) -> list[Key]:
    """Name the unnamed keys, in order: a name counts as taken from where it stands on."""
    shown = {column.name.casefold(): column.name for column in columns}
    named: list[Key] = []
    for draft in drafts:
        key = replace(draft, columns=tuple(shown.get(name.casefold(), name) for name in draft.columns))
        taken = {other.name.casefold() for other in named}
        named.append(key if key.name else replace(key, name=_free_name(key, taken, dialect)))
    return named


def _free_name(key: Key, taken: set[str], dialect: Dialect) -> str:
    stem = _FUNCTIONAL_NAME if key.functional and not dialect.is_mariadb else key.columns[0]
    if stem.casefold() not in taken and stem.casefold() != PRIMARY.casefold():
        return stem
    number = 2
    while f"{stem}_{number}".casefold() in taken:
        number += 1
    return f"{stem}_{number}"


def _rank(key: Key, nullable: set[str]) -> int:
    if key.name == PRIMARY:
        return 0
    if not key.unique:
        return 3
    return 2 if key.functional or any(name in nullable for name in _folded(key)) else 1


# ---- MariaDB's hidden hash columns ----


def _with_row_hashes(columns: Sequence[Column], keys: Sequence[Key], charsets: Charsets) -> list[Column]:
    by_name = {column.name.casefold(): column for column in columns}
    hashed = [key for key in keys if key.unique and _is_too_long(key, by_name, charsets)]
    plain = [column for column in columns if not (column.hidden and column.name.startswith(_ROW_HASH))]
    return plain + [
        Column(f"{_ROW_HASH}{number}", "bigint", unsigned=True, generated="virtual", invisible=True, hidden=True)
        for number, _ in enumerate(hashed, start=1)
    ]


def _is_too_long(key: Key, columns: dict[str, Column], charsets: Charsets) -> bool:
    prefixes = key.prefixes or (0,) * len(key.columns)
    sizes = [
        _key_bytes(columns[name], prefix, charsets)
        for name, prefix in zip(_folded(key), prefixes, strict=True)
        if name in columns
    ]
    return sum(sizes) > _KEY_BYTES_MAX


def _key_bytes(column: Column, prefix: int, charsets: Charsets) -> int:
    """Return the most bytes of a column in a key; only lengths that can matter."""
    per_character = charsets.bytes_per_character_max(column.charset) if column.charset else 1
    if prefix:
        return prefix * per_character
    if column.data_type in _UNBOUNDED:
        return _KEY_BYTES_MAX + 1
    return (column.length or 0) * per_character
