"""What a table's definition says beyond columns and keys, and what changes rows: read from the statement's own tokens.

ON UPDATE CURRENT_TIMESTAMP, generated columns, CHECK, FOREIGN KEY, AUTO_INCREMENT = n. The schema history needs none of
it, as a server writes the values that come of it. What is not understood is `trouble`: the table is there, and its rows
are not played.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from capture.sql import Kind, Token, tokenize

if TYPE_CHECKING:
    from capture.dialect import Dialect

_KEY_WORDS = frozenset({"PRIMARY", "UNIQUE", "KEY", "INDEX", "FULLTEXT", "SPATIAL", "FOREIGN", "CHECK", "CONSTRAINT"})
_NOW = frozenset({"CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"})


class ForeignKey(Struct, frozen=True):
    """Columns of a table that name a row of another."""

    columns: tuple[str, ...]
    database: str | None
    table: str
    referenced: tuple[str, ...]
    name: str | None = None


class Check(Struct, frozen=True):
    """A condition that each row meets."""

    name: str | None
    sql: str


class Clauses(Struct, frozen=True):
    """All of it, by folded names of columns; expressions as SQL text."""

    on_update: dict[str, str] = {}
    generated: dict[str, str] = {}
    checks: tuple[Check, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    trouble: str | None = None


class _Draft(Struct):
    on_update: dict[str, str]
    generated: dict[str, str]
    checks: list[Check]
    foreign_keys: list[ForeignKey]
    takes_inline_references: bool

    def made(self) -> Clauses:
        return Clauses(self.on_update, self.generated, tuple(self.checks), tuple(self.foreign_keys))


_Part = Sequence[Token]
_INLINE_REFERENCES_SINCE = {"mysql": (9, 0, 0), "mariadb": (10, 5, 0)}


def _takes_inline_references(dialect: Dialect) -> bool:
    return dialect.version >= _INLINE_REFERENCES_SINCE[dialect.flavour]


def clauses_of_create(sql: str, dialect: Dialect) -> Clauses:
    """Those of CREATE TABLE (…)."""
    draft = _Draft({}, {}, [], [], _takes_inline_references(dialect))
    tokens = list(tokenize(sql, 0, dialect))
    start = next(index for index, token in enumerate(tokens) if _is(token, "("))
    for part in _split(_inside(tokens, start)):
        _element(part, draft, sql)
    return draft.made()


def clauses_of_alter(before: Clauses, sql: str, dialect: Dialect) -> Clauses:
    """Those of a table after ALTER TABLE."""
    draft = _Draft(
        dict(before.on_update),
        dict(before.generated),
        [*before.checks],
        [*before.foreign_keys],
        _takes_inline_references(dialect),
    )
    tokens = list(tokenize(sql, 0, dialect))[:-1]
    start = next((index for index, token in enumerate(tokens) if _word(token) == "TABLE"), len(tokens)) + 2
    while start < len(tokens) and _is(tokens[start], "."):
        start += 2
    for part in _split(tokens[start:]):
        _operation(part, draft, sql)
    return draft.made()


def counter_of(sql: str, dialect: Dialect) -> int | None:
    """N of AUTO_INCREMENT = n among the options of a table."""
    depth, found = 0, None
    tokens = list(tokenize(sql, 0, dialect))
    for index, token in enumerate(tokens):
        depth += _is(token, "(") - _is(token, ")")
        if depth == 0 and _word(token) == "AUTO_INCREMENT":
            number = tokens[index + 1 + _is(tokens[index + 1], "=")]
            found = int(number.value) if number.kind is Kind.NUMBER and number.value.isdecimal() else found
    return found


# ---- tokens ----


def _is(token: Token, character: str) -> bool:
    return token.kind is Kind.PUNCTUATION and token.value == character


def _word(token: Token) -> str:
    return token.value.upper() if token.kind is Kind.WORD else ""


def _inside(tokens: Sequence[Token], start: int) -> list[Token]:
    """The tokens between the parenthesis at `start` and the one that closes it."""
    depth = 0
    for index in range(start, len(tokens)):
        depth += _is(tokens[index], "(") - _is(tokens[index], ")")
        if depth == 0:
            return list(tokens[start + 1 : index])
    return []


def _split(tokens: Sequence[Token]) -> Iterator[_Part]:
    """Parts between the commas that are in no parentheses."""
    depth, part = 0, list[Token]()
    for token in tokens:
        depth += _is(token, "(") - _is(token, ")")
        if depth == 0 and _is(token, ","):
            yield part
            part = []
        else:
            part.append(token)
    if part:
        yield part


def _text(sql: str, tokens: Sequence[Token]) -> str:
    return sql[tokens[0].start : tokens[-1].end] if tokens else ""


def _words(part: _Part, index: int, count: int) -> tuple[str, ...]:
    return tuple(_word(token) for token in part[index : index + count])


# ---- elements of a table ----


def _element(part: _Part, draft: _Draft, sql: str) -> None:
    if part and _word(part[0]) in _KEY_WORDS:
        _constraint(part, draft, sql)
    elif part:
        _column(part[0].value, part[1:], draft, sql)


def _constraint(part: _Part, draft: _Draft, sql: str) -> None:
    name = None
    if _word(part[0]) == "CONSTRAINT":
        if _word(part[1]) not in _KEY_WORDS:
            name, part = part[1].value, part[2:]
        else:
            part = part[1:]
    if _word(part[0]) == "CHECK":
        draft.checks.append(Check(name, _text(sql, _inside(part, 1))))
    elif _word(part[0]) == "FOREIGN":
        start = next(index for index, token in enumerate(part) if _is(token, "("))
        columns = tuple(token.value for token in _inside(part, start) if not _is(token, ","))
        _reference(part, columns, name, draft)


def _reference(part: _Part, columns: tuple[str, ...], name: str | None, draft: _Draft) -> None:
    at = next(index for index, token in enumerate(part) if _word(token) == "REFERENCES")
    names = [part[at + 1].value]
    if _is(part[at + 2], "."):
        names.append(part[at + 3].value)
    start = next((index for index in range(at, len(part)) if _is(part[index], "(")), None)
    referenced = () if start is None else tuple(t.value for t in _inside(part, start) if not _is(t, ","))
    database = names[0] if len(names) > 1 else None
    draft.foreign_keys.append(ForeignKey(columns, database, names[-1], referenced, name))


def _column(name: str, part: _Part, draft: _Draft, sql: str) -> None:
    folded = name.casefold()
    draft.on_update.pop(folded, None)
    draft.generated.pop(folded, None)
    depth, check_name = 0, None
    for index, token in enumerate(part):
        if depth == 0 and _words(part, index, 2) == ("ON", "UPDATE") and _words(part, index + 2, 1)[:1] != ():
            if _word(part[index + 2]) in _NOW:
                draft.on_update[folded] = _now_text(part, index + 2, sql)
        elif depth == 0 and _word(token) == "AS" and index + 1 < len(part) and _is(part[index + 1], "("):
            draft.generated[folded] = _text(sql, _inside(part, index + 1))
        elif depth == 0 and _word(token) == "CONSTRAINT" and _word(part[index + 1]) != "CHECK":
            check_name = part[index + 1].value
        elif depth == 0 and _word(token) == "CHECK":
            draft.checks.append(Check(check_name, _text(sql, _inside(part, index + 1))))
        elif depth == 0 and _word(token) == "REFERENCES" and draft.takes_inline_references:
            _reference(part[index:], (name,), None, draft)
        depth += _is(token, "(") - _is(token, ")")


def _now_text(part: _Part, index: int, sql: str) -> str:
    has_digits = index + 3 < len(part) and _is(part[index + 1], "(") and not _is(part[index + 2], ")")
    return f"CURRENT_TIMESTAMP({part[index + 2].value})" if has_digits else "CURRENT_TIMESTAMP"


# ---- operations of ALTER TABLE ----


def _operation(part: _Part, draft: _Draft, sql: str) -> None:
    verb = _word(part[0]) if part else ""
    rest = part[1:]
    if rest and _word(rest[0]) == "COLUMN":
        rest = rest[1:]
    rest = rest[3:] if _words(rest, 0, 3) == ("IF", "NOT", "EXISTS") else rest
    if verb == "ADD" and rest and _is(rest[0], "("):
        for element in _split(_inside(rest, 0)):
            _element(element, draft, sql)
    elif verb == "ADD":
        _element(rest, draft, sql)
    elif verb == "MODIFY":
        _column(rest[0].value, rest[1:], draft, sql)
    elif verb == "CHANGE":
        _forget(rest[0].value, draft)
        _column(rest[1].value, rest[2:], draft, sql)
    elif verb == "RENAME" and len(rest) >= 3 and _word(part[1]) == "COLUMN":
        _rename(rest[0].value, rest[2].value, draft)
    elif verb == "DROP":
        _drop(rest, draft)


def _drop(rest: _Part, draft: _Draft) -> None:
    words = _words(rest, 0, 2)
    if words[:1] in {("CHECK",), ("CONSTRAINT",)} or words == ("FOREIGN", "KEY"):
        dropped = rest[-1].value.casefold()
        draft.checks = [check for check in draft.checks if (check.name or "").casefold() != dropped]
        draft.foreign_keys = [key for key in draft.foreign_keys if (key.name or "").casefold() != dropped]
    elif words[:1] not in {("PRIMARY",), ("INDEX",), ("KEY",)} and rest:
        _forget(rest[-1].value, draft)


def _forget(name: str, draft: _Draft) -> None:
    draft.on_update.pop(name.casefold(), None)
    draft.generated.pop(name.casefold(), None)


def _rename(old: str, new: str, draft: _Draft) -> None:
    for held in (draft.on_update, draft.generated):
        if old.casefold() in held:
            held[new.casefold()] = held.pop(old.casefold())
