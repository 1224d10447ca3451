"""Expressions of scenarios as functions of a row: what each operator makes of its operands.

Left to others: the grammar (`parsing.py`), arithmetic (`operators.py`), comparisons (`comparing.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from capture.scenario import moments, operators
from capture.scenario.comparing import HexLiteral, Value, are_equal, compare, is_true, number, text_number
from capture.scenario.refusal import StatementRefused
from capture.sql import SqlSyntaxError

if TYPE_CHECKING:
    from capture.scenario.session import Session
    from capture.table import Column


class Scope(Struct):
    """What an expression is evaluated in: the row by the table's columns, and the row that INSERT would add."""

    session: Session
    row: Sequence[Value] = ()
    incoming: Sequence[Value] = ()


class Node(Struct):
    """An expression. `collation` is that of the column its text is from; `pins` are columns it holds to one value."""

    evaluate: Callable[[Scope], Value]
    collation: str | None = None
    unsigned: bool = False
    column: int | None = None
    data_type: str | None = None
    """Of a column."""
    constant: bool = False
    pins: tuple[tuple[int, Node], ...] = ()


def column_node(column: Column, index: int, *, incoming: bool = False) -> Node:
    """A column's value, of the row or of the row that INSERT would add."""
    if column.data_type == "timestamp":

        def evaluate(scope: Scope) -> Value:
            value = (scope.incoming if incoming else scope.row)[index]
            return scope.session.local(value) if isinstance(value, datetime) else value

    elif incoming:

        def evaluate(scope: Scope) -> Value:
            return scope.incoming[index]

    else:

        def evaluate(scope: Scope) -> Value:
            return scope.row[index]

    return Node(evaluate, column.collation, column.unsigned, None if incoming else index, column.data_type)


def constant(value: Value) -> Node:
    """A value that is written there."""
    is_large = isinstance(value, int) and value > (1 << 63) - 1
    return Node(lambda scope: value, constant=True, unsigned=is_large or isinstance(value, HexLiteral))


def literal(text: str) -> Value:
    """A number as it is written: an integer, a decimal, a double, or bytes."""
    if text[:2].lower() in {"0x", "x'", "0b", "b'"}:
        return hex_literal(text)
    if "e" in text.lower():
        return float(text)
    return Decimal(text) if "." in text else int(text)


def hex_literal(text: str) -> HexLiteral:
    """The bytes of a hexadecimal or bit literal."""
    digits = text[2:].rstrip("'")
    if text[:2].lower() in {"0x", "x'"}:
        return HexLiteral(bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2)))
    return HexLiteral(int(digits or "0", 2).to_bytes((len(digits) + 7) // 8, "big"))


def variable(text: str) -> Node:
    """A user variable; NULL before it is set."""
    if text.startswith("@@"):
        system = text[2:].casefold()
        return Node(lambda scope: scope.session.system(system))
    name = text[1:].strip("`'\"").casefold()
    return Node(lambda scope: scope.session.variables.get(name))


def either(left: Node, right: Node) -> Node:
    """OR."""

    def evaluate(scope: Scope) -> bool | None:
        first = is_true(left.evaluate(scope))
        if first:
            return True
        second = is_true(right.evaluate(scope))
        return True if second else None if first is None or second is None else False

    return Node(evaluate)


def both(left: Node, right: Node) -> Node:
    """AND."""

    def evaluate(scope: Scope) -> bool | None:
        first = is_true(left.evaluate(scope))
        if first is False:
            return False
        second = is_true(right.evaluate(scope))
        return False if second is False else None if first is None or second is None else True

    return Node(evaluate, pins=(*left.pins, *right.pins))


def exclusive(left: Node, right: Node) -> Node:
    """XOR."""

    def evaluate(scope: Scope) -> bool | None:
        first, second = is_true(left.evaluate(scope)), is_true(right.evaluate(scope))
        return None if first is None or second is None else first is not second

    return Node(evaluate)


def negation(inner: Node) -> Node:
    """NOT."""

    def evaluate(scope: Scope) -> bool | None:
        value = is_true(inner.evaluate(scope))
        return None if value is None else not value

    return Node(evaluate)


_ORDERS: Final[dict[str, Callable[[int], bool]]] = {
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}


def compared(sign: str, left: Node, right: Node) -> Node:
    """A comparison by one of the signs."""
    collation = _collation_of(left, right)
    for one, other in ((left, right), (right, left)):
        if one.data_type is not None and other.constant:
            _refuse_unlike(one.data_type, other.evaluate)
    if sign in _ORDERS:
        holds = _ORDERS[sign]

        def by_order(scope: Scope) -> bool | None:
            order = compare(left.evaluate(scope), right.evaluate(scope), collation or scope.session.collation)
            return None if order is None else holds(order)

        return Node(by_order)

    def equals(scope: Scope) -> bool | None:
        first, second = left.evaluate(scope), right.evaluate(scope)
        if sign == "<=>" and (first is None or second is None):
            return first is None and second is None
        return are_equal(first, second, collation or scope.session.collation)

    if sign in {"<>", "!="}:
        return negation(Node(equals))
    pinned = ((left.column, right),) if left.column is not None and right.constant and sign == "=" else ()
    return Node(equals, pins=pinned)


def _refuse_unlike(data_type: str, evaluate: Callable[[Any], Value]) -> None:
    """Refuse a constant that is no value of the column it is compared with, rows or none, as a server does."""
    value = evaluate(None)
    if data_type in _NUMBERS and type(value) is str:
        text_number(value)
    elif data_type in _MOMENTS and isinstance(value, str | int | float | Decimal):
        shown = value if isinstance(value, str) else str(number(value))
        if moments.moment_of(shown) is None:
            raise StatementRefused(f"{value!s} is no moment; write 'YYYY-MM-DD hh:mm:ss'")


_NUMBERS: Final = frozenset(
    {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "float", "double", "year", "bit"}
)
_MOMENTS: Final = frozenset({"date", "datetime", "timestamp"})


def _collation_of(left: Node, right: Node) -> str | None:
    if left.collation is not None and right.collation is not None and left.collation != right.collation:
        raise SqlSyntaxError(
            f"texts of {left.collation} and {right.collation} are not compared here; add COLLATE to one"
        )
    return left.collation or right.collation


def among(left: Node, choices: list[Node]) -> Node:
    """IN."""
    tests = [compared("=", left, choice) for choice in choices]

    def evaluate(scope: Scope) -> bool | None:
        found = [test.evaluate(scope) for test in tests]
        return True if True in found else None if None in found else False

    return Node(evaluate)


def like(left: Node, pattern: Node, escape: str) -> Node:
    """LIKE."""
    collation = _collation_of(left, pattern)
    return Node(
        lambda scope: operators.is_like(
            left.evaluate(scope), pattern.evaluate(scope), escape, collation or scope.session.collation
        )
    )


def arithmetic(sign: str, left: Node, right: Node) -> Node:
    """One of the signs of arithmetic."""
    unsigned = left.unsigned or right.unsigned
    return Node(
        lambda scope: operators.arithmetic(sign, left.evaluate(scope), right.evaluate(scope), unsigned=unsigned),
        unsigned=unsigned,
        constant=left.constant and right.constant,
    )


def bits(sign: str, left: Node, right: Node) -> Node:
    """One of the signs for bits."""
    return Node(lambda scope: operators.bits(sign, left.evaluate(scope), right.evaluate(scope)), unsigned=True)


def path(node: Node, path: str, unquoted: Callable[[Value], Value] | None, extracted: Callable[..., Value]) -> Node:
    """A part of a document, as it is or as a text."""

    def evaluate(scope: Scope) -> Value:
        value = extracted(node.evaluate(scope), path)
        return value if unquoted is None else unquoted(value)

    return Node(evaluate, "utf8mb4_bin" if unquoted is not None else None)
