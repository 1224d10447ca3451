"""Which rows of a table a statement means: WHERE, ORDER BY, LIMIT, in the order in which a server changes them.

Without ORDER BY that is the order of the primary key, or of the first unique key without NULL, or of insertion. A
server that decides to go by another index takes another order; statements whose rows' order matters say ORDER BY.
"""

from __future__ import annotations

from functools import cmp_to_key
from typing import TYPE_CHECKING

from msgspec import Struct

from capture.scenario.assigning import assigned
from capture.scenario.comparing import Value, compare, is_true
from capture.scenario.nodes import Node, Scope
from capture.scenario.refusal import StatementRefused

if TYPE_CHECKING:
    from capture.scenario.parsing import Parser
    from capture.scenario.session import Session
    from capture.scenario.tables import StoredTable


class Selection(Struct):
    """The end of a statement."""

    where: Node | None = None
    order: list[tuple[Node, bool]] = []
    limit: int | None = None
    offset: int = 0


def selection(parser: Parser, *, skips: bool = False) -> Selection:
    """Read `[WHERE …] [ORDER BY …] [LIMIT …]`; where `skips`, LIMIT may have an offset."""
    cursor, found = parser.cursor, Selection()
    if cursor.accept("WHERE"):
        found.where = parser.expression()
    if cursor.accept("ORDER", "BY"):
        while True:
            node = parser.expression()
            descending = cursor.accept("DESC")
            if not descending:
                cursor.accept("ASC")
            found.order.append((node, descending))
            if not cursor.accept_punctuation(","):
                break
    if cursor.accept("LIMIT"):
        found.limit = cursor.integer()
        if skips and cursor.accept_punctuation(","):
            found.offset, found.limit = found.limit, cursor.integer()
        elif skips and cursor.accept("OFFSET"):
            found.offset = cursor.integer()
    return found


def chosen(stored: StoredTable, wanted: Selection, session: Session) -> list[int]:
    """The numbers of the rows, in the order in which they are changed."""
    numbers = _candidates(stored, wanted.where, session)
    if wanted.where is not None:
        test = wanted.where.evaluate
        numbers = [number for number in numbers if is_true(test(Scope(session, stored.rows[number])))]
    if len(numbers) > 1:
        numbers = stored.in_order(numbers)
        if wanted.order:
            numbers = _ordered(stored, numbers, wanted, session)
    return numbers[wanted.offset : None if wanted.limit is None else wanted.offset + wanted.limit]


def _candidates(stored: StoredTable, where: Node | None, session: Session) -> list[int]:
    """All rows, or the only one that can be meant where the condition holds a unique key to one value."""
    pinned = dict(where.pins) if where is not None else {}
    for key in stored.unique_keys:
        if pinned and key.is_whole and all(index in pinned for index in key.indexes):
            row: list[Value] = [None] * len(stored.version.columns)
            for index in key.indexes:
                column, value = stored.version.columns[index], pinned[index].evaluate(Scope(session))
                if value is None or not _is_plain(column.data_type, value):
                    break
                try:
                    row[index] = assigned(column, value, session)
                except StatementRefused:
                    break
            else:
                found = key.row_with(row)
                return [] if found is None else [found]
    return list(stored.rows)


def _is_plain(data_type: str, value: Value) -> bool:
    """Whether a value is equal to a column's exactly if it is what the column makes of it."""
    if data_type in {"tinyint", "smallint", "mediumint", "int", "bigint"}:
        return isinstance(value, int)
    return data_type in {"varchar", "char"} and type(value) is str


def _ordered(stored: StoredTable, numbers: list[int], wanted: Selection, session: Session) -> list[int]:
    values = {
        number: [node.evaluate(Scope(session, stored.rows[number])) for node, _ in wanted.order] for number in numbers
    }

    def order(first: int, second: int) -> int:
        pairs = zip(wanted.order, values[first], values[second], strict=True)
        for (node, descending), one, other in pairs:
            found = _order_of(one, other, node.collation or session.collation)
            if found:
                return -found if descending else found
        return 0

    return sorted(numbers, key=cmp_to_key(order))


def _order_of(first: Value, second: Value, collation: str) -> int:
    """NULL comes before everything; an ENUM by its index."""
    if first is None or second is None:
        return int(first is not None) - int(second is not None)
    first, second = getattr(first, "number", first), getattr(second, "number", second)
    return compare(first, second, collation) or 0
