"""Grammar of column definitions: name, data type, attributes.

Covers MySQL 5.1 to 9.7 and MariaDB 10.0 to 11. Everything is read in full, also what has no effect on rows (COMMENT,
CHECK, index options), so that a definition with anything unknown in it raises SqlSyntaxError instead of being half
read. Inheritance and defaults that depend on the table or the server are `capture/definition.py`'s.
"""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from capture.cursor import Cursor
from capture.sql import Kind, SqlMode
from capture.statements import ColumnDefinition, DataType

# The name the server shows -> the words it takes for it, in the order of the manual.
_SPELLINGS = {
    "bit": "BIT",
    "tinyint": "TINYINT BOOL BOOLEAN INT1",
    "smallint": "SMALLINT INT2",
    "mediumint": "MEDIUMINT INT3 MIDDLEINT",
    "int": "INT INTEGER INT4",
    "bigint": "BIGINT INT8 SERIAL",
    "decimal": "DECIMAL DEC NUMERIC FIXED",
    "float": "FLOAT FLOAT4",
    "double": "DOUBLE FLOAT8 REAL",
    "date": "DATE",
    "time": "TIME",
    "datetime": "DATETIME",
    "timestamp": "TIMESTAMP",
    "year": "YEAR",
    "char": "CHAR CHARACTER NCHAR NATIONAL",
    "varchar": "VARCHAR VARCHARACTER NVARCHAR",
    "binary": "BINARY",
    "varbinary": "VARBINARY",
    "tinyblob": "TINYBLOB",
    "tinytext": "TINYTEXT",
    "blob": "BLOB",
    "text": "TEXT",
    "mediumblob": "MEDIUMBLOB",
    "mediumtext": "MEDIUMTEXT LONG",
    "longblob": "LONGBLOB",
    "longtext": "LONGTEXT",
    "enum": "ENUM",
    "set": "SET",
    "json": "JSON",
    "vector": "VECTOR",
    "geometry": "GEOMETRY",
    "point": "POINT",
    "linestring": "LINESTRING",
    "polygon": "POLYGON",
    "multipoint": "MULTIPOINT",
    "multilinestring": "MULTILINESTRING",
    "multipolygon": "MULTIPOLYGON",
    "geometrycollection": "GEOMETRYCOLLECTION GEOMCOLLECTION",
}
_TYPES = {word: name for name, words in _SPELLINGS.items() for word in words.split()}
_TYPES_MARIADB = {"UUID": "uuid", "INET4": "inet4", "INET6": "inet6"}
# MariaDB's sql_mode=ORACLE gives some words another meaning.
_TYPES_ORACLE = {
    "VARCHAR2": "varchar",
    "NUMBER": "decimal",
    "RAW": "varbinary",
    "CLOB": "longtext",
    "DATE": "datetime",
    "BLOB": "longblob",
}
_NATIONAL = frozenset({"NCHAR", "NVARCHAR", "NATIONAL"})
_WITH_SCALE = frozenset({"decimal", "float", "double"})
_WITH_FRACTION = frozenset({"time", "datetime", "timestamp"})
_FLOAT_DIGITS_MAX = 24  # FLOAT(25) and more is DOUBLE
_DEFAULT_LENGTHS = {"bit": 1, "char": 1, "binary": 1, "vector": 2048}
_REFERENCE_OPTIONS = frozenset({"RESTRICT", "CASCADE"})


class _Draft(Struct):
    """A column while it is read: attributes come in any order."""

    data_type: DataType
    nullable: bool | None = None
    default: str | None = None
    auto_increment: bool = False
    generated: Literal["virtual", "stored"] | None = None
    invisible: bool = False
    primary: bool = False
    unique: bool = False
    references: bool = False
    row_period: bool = False
    versioned: bool = False


def column_definition(cursor: Cursor) -> ColumnDefinition:
    """Read `name type attributes`."""
    return column_after_name(cursor, cursor.identifier())


def column_after_name(cursor: Cursor, name: str) -> ColumnDefinition:
    """Read `type attributes`."""
    is_serial = cursor.sees("SERIAL")
    draft = _Draft(data_type(cursor))
    if is_serial:
        draft.nullable, draft.auto_increment, draft.unique = False, True, True
    while _attribute(cursor, draft):
        pass
    return ColumnDefinition(
        name,
        draft.data_type,
        nullable=draft.nullable,
        default=draft.default,
        auto_increment=draft.auto_increment,
        generated=draft.generated,
        invisible=draft.invisible,
        primary=draft.primary,
        unique=draft.unique,
        references=draft.references,
        row_period=draft.row_period,
        versioned=draft.versioned,
    )


# ---- data types ----


def data_type(cursor: Cursor) -> DataType:
    """Read a data type's words and the numbers or labels in its parentheses."""
    word = cursor.keyword()
    name = _type_name(cursor, word)
    if name is None:
        raise cursor.unexpected()
    cursor.advance()
    name = _second_words(cursor, word, name)
    result = DataType(name, charset="utf8" if word in _NATIONAL else None, unsigned=word == "SERIAL")
    if name in {"enum", "set"}:
        return replace(result, labels=_labels(cursor))
    numbers = _numbers(cursor)
    if name in _WITH_SCALE:
        return _with_scale(cursor, result, word, numbers)
    if len(numbers) > 1:
        raise cursor.unexpected()
    number = numbers[0] if numbers else None
    if name in _WITH_FRACTION:
        return replace(result, fsp=number or 0)
    return replace(result, length=_DEFAULT_LENGTHS.get(name) if number is None else number)


def _type_name(cursor: Cursor, word: str) -> str | None:
    if cursor.dialect.is_mariadb:
        if cursor.sql_mode & SqlMode.ORACLE and word in _TYPES_ORACLE:
            return _TYPES_ORACLE[word]
        if word in _TYPES_MARIADB:
            return _TYPES_MARIADB[word]
    if word == "REAL" and cursor.sql_mode & SqlMode.REAL_AS_FLOAT:
        return "float"
    return _TYPES.get(word)


def _second_words(cursor: Cursor, word: str, name: str) -> str:
    """Read what follows the first word of a type of several words; return the type's name."""
    if word == "DOUBLE":
        cursor.accept("PRECISION")
    elif word == "LONG":
        if cursor.accept("VARBINARY"):
            return "mediumblob"
        if cursor.accept_one_of(frozenset({"CHAR", "CHARACTER"})):
            cursor.expect("VARYING")
        else:
            cursor.accept_one_of(frozenset({"VARCHAR", "VARCHARACTER"}))
    elif word == "NATIONAL" and cursor.accept_one_of(frozenset({"VARCHAR", "VARCHARACTER"})):
        return "varchar"
    elif name == "char":
        if word == "NATIONAL" and cursor.accept_one_of(frozenset({"CHAR", "CHARACTER"})) is None:
            raise cursor.unexpected()
        if cursor.accept("VARYING") or (
            word == "NCHAR" and cursor.accept_one_of(frozenset({"VARCHAR", "VARCHARACTER"}))
        ):
            return "varchar"
    return name


def _numbers(cursor: Cursor) -> tuple[int, ...]:
    if not cursor.accept_punctuation("("):
        return ()
    numbers = [cursor.integer()]
    while cursor.accept_punctuation(","):
        numbers.append(cursor.integer())
    cursor.expect_punctuation(")")
    return tuple(numbers)


def _labels(cursor: Cursor) -> tuple[str, ...]:
    """Read the labels of ENUM or SET; the server strips trailing spaces."""
    cursor.expect_punctuation("(")
    labels = [cursor.string().rstrip(" ")]
    while cursor.accept_punctuation(","):
        labels.append(cursor.string().rstrip(" "))
    cursor.expect_punctuation(")")
    return tuple(labels)


def _with_scale(cursor: Cursor, result: DataType, word: str, numbers: tuple[int, ...]) -> DataType:
    """Apply `(precision[, scale])` of DECIMAL, FLOAT and DOUBLE."""
    if result.name == "decimal":
        if word == "NUMBER" and not numbers:
            return replace(result, name="double")
        precision = (numbers[0] if numbers else 0) or 10  # DECIMAL and DECIMAL(0) are DECIMAL(10,0)
        return replace(result, precision=precision, scale=numbers[1] if len(numbers) > 1 else 0)
    if len(numbers) == 2:
        return replace(result, precision=numbers[0], scale=numbers[1])
    if numbers and result.name == "float":
        return replace(result, name="float" if numbers[0] <= _FLOAT_DIGITS_MAX else "double")
    if numbers:
        raise cursor.unexpected()
    return result


# ---- column attributes ----


def _attribute(cursor: Cursor, draft: _Draft) -> bool:
    """Read one attribute. False: none stands here."""
    return _type_attribute(cursor, draft) or _value_attribute(cursor, draft) or _other_attribute(cursor, draft)


def _type_attribute(cursor: Cursor, draft: _Draft) -> bool:
    """Read an attribute that belongs to the data type."""
    kind = draft.data_type
    if cursor.accept("UNSIGNED") or cursor.accept("ZEROFILL"):
        kind = replace(kind, unsigned=True)
    elif cursor.accept("SIGNED"):
        pass
    elif accept_charset(cursor):
        kind = replace(kind, charset=cursor.name_or_string())
    elif cursor.accept("COLLATE"):
        cursor.accept_punctuation("=")
        kind = replace(kind, collation=cursor.name_or_string())
    elif cursor.accept("BINARY"):
        kind = replace(kind, binary_collation=True)
    elif cursor.accept("ASCII"):
        kind = replace(kind, charset="latin1")
    elif cursor.accept("UNICODE"):
        kind = replace(kind, charset="ucs2")
    elif cursor.accept("BYTE"):
        kind = replace(kind, charset="binary")
    elif cursor.sees("COMPRESSED") and cursor.dialect.is_mariadb:
        cursor.advance()
        if cursor.accept_punctuation("="):
            cursor.identifier()
        kind = replace(kind, compressed=True)
    else:
        return False
    draft.data_type = kind
    return True


def accept_charset(cursor: Cursor) -> bool:
    """Step over CHARACTER SET, CHAR SET or CHARSET and an equals sign."""
    found = cursor.accept("CHARACTER", "SET") or cursor.accept("CHAR", "SET") or cursor.accept("CHARSET")
    if found:
        cursor.accept_punctuation("=")
    return found


def _value_attribute(cursor: Cursor, draft: _Draft) -> bool:
    """Read an attribute that says which values the column takes."""
    if cursor.accept("NOT", "NULL"):
        draft.nullable = False
    elif cursor.accept("NULL"):
        draft.nullable = True
    elif cursor.accept("SERIAL", "DEFAULT", "VALUE"):
        draft.nullable, draft.auto_increment, draft.unique = False, True, True
    elif cursor.accept("DEFAULT"):
        draft.default = cursor.default_value()
    elif cursor.accept("ON", "UPDATE"):
        cursor.now()
    elif cursor.accept("AUTO_INCREMENT"):
        draft.auto_increment, draft.nullable = True, False
    elif cursor.accept("GENERATED", "ALWAYS", "AS") or cursor.accept("AS"):
        _generated(cursor, draft)
    elif cursor.accept("PRIMARY"):
        cursor.accept("KEY")
        draft.primary = True
    elif cursor.accept("UNIQUE"):
        cursor.accept("KEY")
        draft.unique = True
    elif cursor.accept("KEY"):
        draft.primary = True
    else:
        return False
    return True


def _generated(cursor: Cursor, draft: _Draft) -> None:
    if cursor.accept("ROW"):  # MariaDB's explicit system-versioning columns: stored, filled by the server
        if cursor.accept_one_of(frozenset({"START", "END"})) is None:
            raise cursor.unexpected()
        draft.nullable, draft.row_period, draft.generated = False, True, "stored"
        return
    cursor.skip_parentheses()
    draft.generated = "virtual"
    if cursor.accept_one_of(frozenset({"STORED", "PERSISTENT"})):
        draft.generated = "stored"
    else:
        cursor.accept("VIRTUAL")


_WITH_VALUE = frozenset(
    {"COMMENT", "COLUMN_FORMAT", "STORAGE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE", "SRID"}
)


def _other_attribute(cursor: Cursor, draft: _Draft) -> bool:
    """Read an attribute without effect on values, or one of MariaDB's own."""
    if cursor.accept_one_of(_WITH_VALUE):
        cursor.skip_value()
    elif cursor.accept("VISIBLE"):
        draft.invisible = False
    elif cursor.accept("INVISIBLE"):
        draft.invisible = True
    elif cursor.accept("NOT", "SECONDARY"):
        pass
    elif cursor.sees("REFERENCES"):
        draft.references = True
        references(cursor)
    elif cursor.sees("CHECK") or cursor.sees("CONSTRAINT"):
        _column_check(cursor)
    elif cursor.accept("WITH", "SYSTEM", "VERSIONING"):
        draft.versioned = True
    elif cursor.accept("WITHOUT", "SYSTEM", "VERSIONING"):
        pass
    else:
        return engine_attribute(cursor)
    return True


def engine_attribute(cursor: Cursor) -> bool:
    """Step over `word = value`, which MariaDB passes on to storage engines."""
    if not cursor.dialect.is_mariadb or not cursor.sees_punctuation("=", 1):
        return False
    if cursor.peek().kind not in {Kind.WORD, Kind.QUOTED}:
        return False
    cursor.advance()
    cursor.skip_value()
    return True


def _column_check(cursor: Cursor) -> None:
    if cursor.accept("CONSTRAINT") and not cursor.sees("CHECK"):
        cursor.identifier()
        if cursor.sees("REFERENCES"):
            references(cursor)
            return
    check(cursor)


def check(cursor: Cursor) -> None:
    """Step over CHECK (expression) [[NOT] ENFORCED]."""
    cursor.expect("CHECK")
    cursor.skip_parentheses()
    if not cursor.accept("NOT", "ENFORCED"):
        cursor.accept("ENFORCED")


def references(cursor: Cursor) -> None:
    """Step over REFERENCES table (columns) and its options. The table is not a subject of the statement."""
    cursor.expect("REFERENCES")
    cursor.identifier()
    if cursor.accept_punctuation("."):
        cursor.identifier()
    if cursor.sees_punctuation("("):
        cursor.skip_parentheses()
    while True:
        if cursor.accept("MATCH"):
            cursor.identifier()
        elif cursor.accept("ON", "DELETE") or cursor.accept("ON", "UPDATE"):
            known = cursor.accept("SET", "NULL") or cursor.accept("SET", "DEFAULT") or cursor.accept("NO", "ACTION")
            if not known and cursor.accept_one_of(_REFERENCE_OPTIONS) is None:
                raise cursor.unexpected()
        else:
            return
