"""The file of `schema_file`: statements that make the tables what they were where a channel starts.

Whatever `mysqldump --no-data` or SHOW CREATE TABLE writes, carried out in order: CREATE, ALTER, DROP and RENAME of
tables and databases, USE for the default database. Statements that change no table are passed over, and so is what
stands under another DELIMITER (stored programs). What is not understood is refused with its line: a definition is read
whole or not at all. Whether a definition is the right one is seen at every TABLE_MAP.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from capture.cursor import Cursor
from capture.ddl import parse
from capture.errors import SourceRefused
from capture.schema import Session
from capture.sql import Kind, SqlSyntaxError, tokenize
from capture.statements import AlterTable, CreateSequence, CreateTable, CreateTableLike, Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from capture.dialect import Dialect
    from capture.schema import Position, SchemaHistory

_DELIMITER = re.compile(r"^[ \t]*DELIMITER[ \t]+(\S+)[ \t]*$", re.IGNORECASE | re.MULTILINE)


_DEFINING = (CreateTable, CreateTableLike, CreateSequence, AlterTable)


class _Text(NamedTuple):
    """One statement of the file, and the line where it begins."""

    line: int
    sql: str


def apply_schema_file(path: str, history: SchemaHistory, position: Position) -> None:
    """Carry out the statements of the file on a history. Raises SourceRefused with the line of what cannot be."""
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SourceRefused(f"the schema_file {path} cannot be read: {why}") from None
    database: str | None = None
    for line, sql in _statements(path, text, history.dialect):
        cursor = Cursor(sql, 0, history.dialect)
        if cursor.accept("USE"):
            database = cursor.identifier()
            continue
        statements = parse(sql, 0, history.dialect)
        for statement in statements:
            if isinstance(statement, Unknown):
                raise SourceRefused(f"line {line} of the schema_file {path} is not understood: {statement.reason}")
            if isinstance(statement, _DEFINING) and (statement.table.database or database) is None:
                raise SourceRefused(
                    f"line {line} of the schema_file {path} does not say in which database {statement.table.table} is; "
                    f"write a USE statement before it, as mysqldump --databases does"
                )
        reason = history.undecided_charset(statements, database or "")
        if reason is not None:
            raise SourceRefused(f"line {line} of the schema_file {path}: {reason}")
        for change in history.apply(statements, Session(database), position, sql):
            if change.unresolved is not None:
                raise SourceRefused(f"line {line} of the schema_file {path}: {change.unresolved}")


def _statements(path: str, text: str, dialect: Dialect) -> Iterator[_Text]:
    start = 0
    delimiter = ";"
    for command in [*_DELIMITER.finditer(text), None]:
        end = len(text) if command is None else command.start()
        if delimiter == ";":
            yield from _cut(path, text, start, end, dialect)
        if command is not None:
            start, delimiter = command.end(), command[1]


def _cut(path: str, text: str, start: int, end: int, dialect: Dialect) -> Iterator[_Text]:
    """Cut a piece of the file at its semicolons; those in strings, names and comments are none."""
    piece = text[start:end]
    begin = 0
    first: int | None = None
    try:
        for token in tokenize(piece, 0, dialect):
            is_end = token.kind is Kind.END or (token.kind is Kind.PUNCTUATION and token.value == ";")
            if first is None and not is_end:
                first = token.start
            if is_end and first is not None:
                line = text.count("\n", 0, start + first) + 1
                yield _Text(line, piece[begin : token.start])
            if is_end:
                begin, first = token.end, None
    except SqlSyntaxError as error:
        line = text.count("\n", 0, start + (begin if first is None else first)) + 1
        raise SourceRefused(
            f"the statement at line {line} of the schema_file {path} is not understood: {error}"
        ) from None
