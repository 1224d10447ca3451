"""Forms of scenarios' expressions that are no plain calls: CASE, CAST, IF, VALUES(column), DATE_ADD.

Each reader begins at the form's first word. Left to others: all other expressions (`parsing.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from capture.scenario import nodes
from capture.scenario.comparing import Value, is_true
from capture.scenario.nodes import Node, Scope
from capture.sql import SqlSyntaxError

if TYPE_CHECKING:
    from capture.scenario.parsing import Parser


def _case(parser: Parser) -> Node:
    cursor = parser.cursor
    cursor.advance()
    subject = None if cursor.sees("WHEN") else parser.expression()
    branches: list[tuple[Node, Node]] = []
    while cursor.accept("WHEN"):
        condition = parser.expression()
        cursor.expect("THEN")
        if subject is not None:
            condition = nodes.compared("=", subject, condition)
        branches.append((condition, parser.expression()))
    otherwise = parser.expression() if cursor.accept("ELSE") else nodes.constant(None)
    cursor.expect("END")
    if not branches:
        raise cursor.unexpected()

    def evaluate(scope: Scope) -> Value:
        chosen = next((result for condition, result in branches if is_true(condition.evaluate(scope))), otherwise)
        return chosen.evaluate(scope)

    collation = next((result.collation for _, result in branches if result.collation is not None), None)
    return Node(evaluate, collation)


def _cast(parser: Parser) -> Node:
    from capture.scenario.functions import cast

    cursor = parser.cursor
    cursor.advance()
    cursor.expect_punctuation("(")
    value = parser.expression()
    if not cursor.accept("AS"):
        cursor.expect_punctuation(",")
    kind = cursor.identifier().upper()
    numbers: list[int] = []
    if cursor.accept_punctuation("("):
        numbers.append(cursor.integer())
        if cursor.accept_punctuation(","):
            numbers.append(cursor.integer())
        cursor.expect_punctuation(")")
    cursor.accept("INTEGER")
    cursor.expect_punctuation(")")
    return Node(lambda scope: cast(value.evaluate(scope), kind, numbers))


def _values(parser: Parser) -> Node:
    """VALUES(column) behind ON DUPLICATE KEY UPDATE."""
    cursor = parser.cursor
    if not parser.names.incoming or parser.names.table is None:
        raise cursor.unexpected()
    cursor.advance()
    cursor.expect_punctuation("(")
    name = cursor.identifier()
    cursor.expect_punctuation(")")
    index = parser.names.index(name)
    if index is None:
        raise SqlSyntaxError(f"there is no column {name} here")
    return nodes.column_node(parser.names.table.columns[index], index, incoming=True)


def _moved_by_function(direction: int) -> Callable[[Parser], Node]:
    def read(parser: Parser) -> Node:
        cursor = parser.cursor
        cursor.advance()
        cursor.expect_punctuation("(")
        moment = parser.expression()
        cursor.expect_punctuation(",")
        cursor.expect("INTERVAL")
        moved = parser.moved(moment, direction)
        cursor.expect_punctuation(")")
        return moved

    return read


def _conditional(parser: Parser) -> Node:
    """IF(condition, value, value): one of them is not looked at."""
    parser.cursor.advance()
    parts = parser.arguments()
    if len(parts) != 3:
        raise SqlSyntaxError(f"IF does not take {len(parts)} arguments")
    condition, first, second = parts
    return Node(
        lambda scope: (first if is_true(condition.evaluate(scope)) else second).evaluate(scope),
        first.collation or second.collation,
    )


def _default_word(parser: Parser) -> Node:
    raise SqlSyntaxError("DEFAULT stands alone, or DEFAULT(column) is not played; write the value")


SPECIAL_FORMS: Final[dict[str, Callable[[Parser], Node]]] = {
    "CASE": _case,
    "CAST": _cast,
    "VALUES": _values,
    "IF": _conditional,
    "DEFAULT": _default_word,
    "DATE_ADD": _moved_by_function(1),
    "ADDDATE": _moved_by_function(1),
    "DATE_SUB": _moved_by_function(-1),
    "SUBDATE": _moved_by_function(-1),
}
