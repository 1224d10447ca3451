"""What is known of a table at one source position: columns, keys, default character set.

Three frozen structs, their JSON form (the `definition` of a catalog row) and two figures made from them: the
meta version that goes into every record, and the `pk_uk_info` tag. How a definition comes about
(`capture/definition.py`) and when it holds (`capture/schema.py`) are other modules' business; nothing here parses
or compares.
"""

import json
import re
import zlib
from typing import Any

from msgspec import Struct

PRIMARY = "PRIMARY"  # the server's own, fixed name of a primary key


class Column(Struct, frozen=True):
    """One column as the server holds it, all inheritance and defaults resolved.

    `data_type` is the keyword the server shows, lower case (`"bigint"`, `"varchar"`, `"decimal"`, `"longtext"`).
    `charset` and `collation` are the server's own names and None for types without one. `length` is characters for
    CHAR and VARCHAR, bytes for BINARY and VARBINARY, bits for BIT, dimensions for VECTOR, else None. `precision` and
    `scale` belong to DECIMAL (and to FLOAT(m,d), DOUBLE(m,d)). `fsp` is the digits of fractional seconds. `labels`
    are those of ENUM and SET. `default` is SQL text (`"'new'"`, `"CURRENT_TIMESTAMP"`, `"(uuid())"`), None where there
    is none or it is NULL. `generated` is `"virtual"`, `"stored"` or None. `compressed` marks MariaDB's COMPRESSED
    columns, which have binlog types of their own. `hidden` columns are in the binlog and in no SELECT: MariaDB's row
    hash of a long unique key, and the period of a system-versioned table that does not name its own.
    """

    name: str
    data_type: str
    unsigned: bool = False
    charset: str | None = None
    collation: str | None = None
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    fsp: int = 0
    labels: tuple[str, ...] = ()
    nullable: bool = True
    default: str | None = None
    auto_increment: bool = False
    generated: str | None = None
    invisible: bool = False
    compressed: bool = False
    hidden: bool = False


class Key(Struct, frozen=True):
    """An index. `columns` are its plain column parts in order; `functional` says that it has expression parts too.

    `prefixes` holds an indexed length for each of `columns`, 0 for a whole one, and is empty where all are whole.
    `implicit` marks an index that the server made for a foreign key: it gives way to an explicit one.
    """

    name: str
    columns: tuple[str, ...]
    unique: bool = False
    prefixes: tuple[int, ...] = ()
    functional: bool = False
    implicit: bool = False


_COLUMN_DEFAULTS = dict(zip(Column.__struct_fields__[2:], Column.__struct_defaults__, strict=True))
_KEY_DEFAULTS = dict(zip(Key.__struct_fields__[2:], Key.__struct_defaults__, strict=True))


def _sparse(value: Column | Key, defaults: dict[str, Any]) -> dict[str, Any]:
    return {name: found for name, default in defaults.items() if (found := getattr(value, name)) != default}


class TableVersion(Struct, frozen=True):
    """One version of a table. `keys` holds every index: primary first, then unique ones, then the others.

    `columns` are in table order and include generated and invisible ones. Build it with `TableVersion.of`, which
    computes `meta_version`: a CRC-32 of the definition, never 0, so that it changes with every schema change, is the
    same after a restart, and fits the record's unsigned 32-bit tag. A `partial` version was read off the binlog itself
    (`capture/full_metadata.py`): good for reading rows, not for carrying out statements on it.
    """

    database: str
    table: str
    columns: tuple[Column, ...]
    keys: tuple[Key, ...]
    charset: str
    collation: str
    meta_version: int
    partial: bool = False

    @classmethod
    def of(
        cls,
        database: str,
        table: str,
        columns: tuple[Column, ...],
        keys: tuple[Key, ...],
        charset: str,
        collation: str,
        *,
        partial: bool = False,
    ) -> "TableVersion":
        body = _body(database, table, columns, keys, charset, collation)
        meta_version = zlib.crc32(_dump(body).encode()) or 1
        return cls(database, table, columns, keys, charset, collation, meta_version, partial)

    def to_json(self) -> str:
        """Return the catalog's form: compact JSON, values equal to their default left out."""
        body = _body(self.database, self.table, self.columns, self.keys, self.charset, self.collation)
        return _dump({**body, "partial": True} if self.partial else body)

    @classmethod
    def from_json(cls, text: str) -> "TableVersion":
        """Read what `to_json` wrote; the meta version is computed again and is the same."""
        body = json.loads(text)
        columns = tuple(_column(item) for item in body["columns"])
        keys = tuple(_key(item) for item in body["keys"])
        charset, collation, partial = body["charset"], body["collation"], body.get("partial", False)
        return cls.of(body["database"], body["table"], columns, keys, charset, collation, partial=partial)

    @property
    def primary_key(self) -> Key | None:
        return next((key for key in self.keys if key.name == PRIMARY), None)

    def column(self, name: str) -> Column | None:
        """Find a column; MySQL compares column names without case."""
        folded = name.casefold()
        return next((column for column in self.columns if column.name.casefold() == folded), None)

    def pk_uk_info(self) -> str | None:
        """Return the `pk_uk_info` tag: compact JSON of primary and unique keys, None for a table without any.

        A unique key over expressions names no columns a consumer could find in a row, so it is left out.
        """
        keys = {key.name: list(key.columns) for key in self.keys if key.unique and not key.functional}
        return json.dumps(keys, ensure_ascii=False, separators=(",", ":")) if keys else None


def _column(item: dict[str, Any]) -> Column:
    return Column(**{**item, "labels": tuple(item.get("labels", ()))})


def _key(item: dict[str, Any]) -> Key:
    return Key(**{**item, "columns": tuple(item["columns"]), "prefixes": tuple(item.get("prefixes", ()))})


def _body(
    database: str, table: str, columns: tuple[Column, ...], keys: tuple[Key, ...], charset: str, collation: str
) -> dict[str, Any]:
    return {
        "database": database,
        "table": table,
        "charset": charset,
        "collation": collation,
        "columns": [
            {"name": column.name, "data_type": column.data_type, **_sparse(column, _COLUMN_DEFAULTS)}
            for column in columns
        ],
        "keys": [{"name": key.name, "columns": key.columns, **_sparse(key, _KEY_DEFAULTS)} for key in keys],
    }


def _dump(body: dict[str, Any]) -> str:
    """Compact JSON that is UTF-8: of text that was not, single bytes are escaped (the label x'ff' as a surrogate)."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


_SURROGATE = re.compile("[\ud800-\udfff]")
