"""Expressions of scenarios: read from a statement's tokens, to functions of a row.

The grammar is MySQL's ("Operator Precedence", "Expression Syntax") without subqueries, aggregates, window functions and
regular expressions. A column is one of the statement's table, by its name or with the table's name or alias before it.
SqlSyntaxError for what is not understood, by the cursor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from capture.scenario import moments, nodes, operators
from capture.scenario.comparing import Value, as_bytes, is_true
from capture.scenario.nodes import Node, Scope
from capture.scenario.special_forms import SPECIAL_FORMS
from capture.sql import Kind, SqlSyntaxError

if TYPE_CHECKING:
    from capture.cursor import Cursor
    from capture.table import TableVersion


class Names(Struct):
    """What names mean: the table, what it may be called, and what the row that INSERT would add is called."""

    table: TableVersion | None = None
    qualifiers: frozenset[str] = frozenset()
    incoming: str | None = None
    incoming_columns: tuple[str, ...] = ()

    def index(self, name: str) -> int | None:
        if self.table is None:
            return None
        folded = name.casefold()
        return next(
            (index for index, column in enumerate(self.table.columns) if column.name.casefold() == folded), None
        )


class Parser:
    """Reads expressions at a cursor."""

    def __init__(self, cursor: Cursor, names: Names) -> None:
        self.cursor = cursor
        self.names = names

    # ---- by precedence, the weakest first ----

    def expression(self) -> Node:
        """Read one expression."""
        if self._is_literal_alone():
            return self._primary()
        left = self._exclusive()
        while self._accepts_pair("|", "|") or self.cursor.accept("OR"):
            left = nodes.either(left, self._exclusive())
        return left

    def _is_literal_alone(self) -> bool:
        """Whether a number or text is all of it, as in most rows that are inserted: nothing else need be looked for."""
        following = self.cursor.peek(1)
        ends = following.kind is Kind.PUNCTUATION and following.value in ",)"
        return ends and self.cursor.peek().kind in {Kind.NUMBER, Kind.STRING}

    def _exclusive(self) -> Node:
        left = self._both()
        while self.cursor.accept("XOR"):
            left = nodes.exclusive(left, self._both())
        return left

    def _both(self) -> Node:
        left = self._negation()
        while self._accepts_pair("&", "&") or self.cursor.accept("AND"):
            left = nodes.both(left, self._negation())
        return left

    def _negation(self) -> Node:
        return nodes.negation(self._negation()) if self.cursor.accept("NOT") else self._comparison()

    def _comparison(self) -> Node:
        left = self._bits_or()
        while True:
            further = self._further_comparison(left)
            if further is None:
                return left
            left = further

    def _further_comparison(self, left: Node) -> Node | None:
        cursor = self.cursor
        sign = self._comparison_sign()
        if sign is not None:
            return nodes.compared(sign, left, self._bits_or())
        if cursor.accept("IS"):
            return self._is(left)
        negated = cursor.sees("NOT") and cursor.keyword(1) in {"IN", "LIKE", "BETWEEN"}
        if negated:
            cursor.advance()
        found: Node | None = None
        if cursor.accept("IN"):
            found = nodes.among(left, self.arguments())
        elif cursor.accept("BETWEEN"):
            low = self._bits_or()
            cursor.expect("AND")
            found = nodes.both(nodes.compared(">=", left, low), nodes.compared("<=", left, self._bits_or()))
        elif cursor.accept("LIKE"):
            pattern = self._sum()
            escape = cursor.string() if cursor.accept("ESCAPE") else "\\"
            found = nodes.like(left, pattern, escape)
        return nodes.negation(found) if found is not None and negated else found

    def _comparison_sign(self) -> str | None:
        for sign in ("<=>", "<=", ">=", "<>", "!=", "<", ">", "="):
            if all(self._is_at(character, place) for place, character in enumerate(sign)):
                if sign in "<>" and self._is_at(sign, 1):
                    return None
                for _ in sign:
                    self.cursor.advance()
                return sign
        return None

    def _is_at(self, character: str, distance: int) -> bool:
        """Whether a character of an operator stands there, right behind the one before it."""
        joined = not distance or self.cursor.peek(distance - 1).end == self.cursor.peek(distance).start
        return joined and self.cursor.sees_punctuation(character, distance)

    def _accepts_pair(self, first: str, second: str) -> bool:
        if not (self._is_at(first, 0) and self._is_at(second, 1)):
            return False
        self.cursor.advance()
        self.cursor.advance()
        return True

    def _is(self, left: Node) -> Node:
        negated = self.cursor.accept("NOT")
        word = self.cursor.accept_one_of(frozenset(_IS))
        if word is None:
            raise self.cursor.unexpected()
        test = _IS[word]
        return Node(lambda scope: test(left.evaluate(scope)) is not negated)

    def _bits_or(self) -> Node:
        left = self._bits_and()
        while self._is_at("|", 0) and not self._is_at("|", 1):
            self.cursor.advance()
            left = nodes.bits("|", left, self._bits_and())
        return left

    def _bits_and(self) -> Node:
        left = self._shift()
        while self._is_at("&", 0) and not self._is_at("&", 1):
            self.cursor.advance()
            left = nodes.bits("&", left, self._shift())
        return left

    def _shift(self) -> Node:
        left = self._sum()
        while True:
            sign = "<<" if self._accepts_pair("<", "<") else ">>" if self._accepts_pair(">", ">") else None
            if sign is None:
                return left
            left = nodes.bits(sign, left, self._sum())

    def _sum(self) -> Node:
        left = self._product()
        while self.cursor.sees_punctuation("+") or (self.cursor.sees_punctuation("-") and not self._is_at(">", 1)):
            sign = self.cursor.advance().value
            if self.cursor.accept("INTERVAL"):
                left = self.moved(left, -1 if sign == "-" else 1)
            else:
                left = nodes.arithmetic(sign, left, self._product())
        return left

    def moved(self, moment: Node, direction: int) -> Node:
        """Read `n UNIT` behind INTERVAL, and have a moment moved by it."""
        from capture.scenario.functions import moved

        count, unit = self.expression(), self.cursor.identifier().upper()
        return Node(lambda scope: moved(moment.evaluate(scope), count.evaluate(scope), unit, direction))

    def _product(self) -> Node:
        left = self._bits_exclusive()
        while True:
            word = self.cursor.keyword()
            if word in {"DIV", "MOD"}:
                self.cursor.advance()
                sign = "DIV" if word == "DIV" else "%"
            elif self.cursor.peek().kind is Kind.PUNCTUATION and self.cursor.peek().value in "*/%":
                sign = self.cursor.advance().value
            else:
                return left
            left = nodes.arithmetic(sign, left, self._bits_exclusive())

    def _bits_exclusive(self) -> Node:
        left = self._signed()
        while self.cursor.accept_punctuation("^"):
            left = nodes.bits("^", left, self._signed())
        return left

    def _signed(self) -> Node:
        cursor = self.cursor
        if cursor.accept_punctuation("-"):
            inner = self._signed()
            return Node(lambda scope: operators.negated(inner.evaluate(scope)), constant=inner.constant)
        if cursor.accept_punctuation("+"):
            return self._signed()
        if cursor.accept_punctuation("!"):
            return nodes.negation(self._signed())
        if cursor.accept_punctuation("~"):
            return nodes.bits("^", self._signed(), nodes.constant((1 << 64) - 1))
        if cursor.accept("BINARY"):
            value = self._signed()
            return Node(lambda scope: None if (found := value.evaluate(scope)) is None else as_bytes(found))
        return self._with_suffix(self._primary())

    def _with_suffix(self, node: Node) -> Node:
        """Read what binds closest: COLLATE, and a column's JSON path."""
        from capture.scenario.json_paths import extracted, unquoted

        cursor = self.cursor
        while True:
            if cursor.accept("COLLATE"):
                node = Node(node.evaluate, cursor.name_or_string().lower())
            elif self._is_at("-", 0) and self._is_at(">", 1):
                is_unquoted = self._is_at(">", 2)
                for _ in range(3 if is_unquoted else 2):
                    cursor.advance()
                node = nodes.path(node, cursor.string(), unquoted if is_unquoted else None, extracted)
            else:
                return node

    # ---- the smallest parts ----

    def _primary(self) -> Node:
        cursor, token = self.cursor, self.cursor.peek()
        if cursor.accept_punctuation("("):
            if cursor.keyword() in {"SELECT", "WITH"}:
                raise SqlSyntaxError("a subquery is not played; write its value")
            inner = self.expression()
            cursor.expect_punctuation(")")
            return inner
        if token.kind is Kind.STRING or self._introducer() or self._is_national():
            return self._string()
        if token.kind is Kind.NUMBER:
            cursor.advance()
            return nodes.constant(nodes.literal(token.value))
        if token.kind is Kind.VARIABLE:
            cursor.advance()
            return nodes.variable(token.value)
        if token.kind is Kind.WORD and (found := self._special(token.value.upper())) is not None:
            return found
        if token.kind is Kind.WORD and cursor.sees_punctuation("(", 1):
            cursor.advance()
            return self._call(token.value.upper())
        if token.kind in {Kind.WORD, Kind.QUOTED}:
            return self._column()
        raise cursor.unexpected()

    def _is_national(self) -> bool:
        return self.cursor.keyword() == "N" and self.cursor.peek(1).kind is Kind.STRING

    def _introducer(self) -> str:
        """The character set that stands before a text, if there is one."""
        word = self.cursor.keyword()
        stands = word.startswith("_") and self.cursor.peek(1).kind in {Kind.STRING, Kind.NUMBER}
        return word[1:].lower() if stands else ""

    def _string(self) -> Node:
        cursor, introducer = self.cursor, self._introducer()
        if introducer == "binary":
            cursor.advance()
            if cursor.peek().kind is Kind.NUMBER:
                return nodes.constant(bytes(nodes.hex_literal(cursor.advance().value)))
            return nodes.constant(cursor.string().encode("utf-8", "surrogateescape"))
        if introducer not in {"", "utf8mb4", "utf8mb3", "utf8"}:
            raise SqlSyntaxError(f"a text in the character set {introducer} is not played; write it as utf8mb4")
        return nodes.constant(cursor.string())

    def _special(self, word: str) -> Node | None:
        """What begins with a word and is neither a column nor called as a function."""
        cursor = self.cursor
        called = cursor.sees_punctuation("(", 1)
        if word in _CONSTANTS and not called:
            cursor.advance()
            return nodes.constant(_CONSTANTS[word])
        if word in _MOMENT_LITERALS and cursor.peek(1).kind is Kind.STRING:
            cursor.advance()
            return self._moment_literal(word)
        reader = SPECIAL_FORMS.get(word)
        if reader is not None and (called or word in {"CASE", "DEFAULT"}):
            return reader(self)
        return None if called else self._now_without_parentheses(word)

    def _moment_literal(self, word: str) -> Node:
        text = self.cursor.string()
        moment = moments.time_of(text) if word == "TIME" else moments.moment_of(text)
        if moment is None:
            raise SqlSyntaxError(f"{word} {text!r} is no such moment")
        return nodes.constant(moment.date() if word == "DATE" and isinstance(moment, datetime) else moment)

    def _now_without_parentheses(self, word: str) -> Node | None:
        if word not in _CALLED_WITHOUT_PARENTHESES or self.names.index(word) is not None:
            return None
        self.cursor.advance()
        return self._applied(word, [])

    def arguments(self) -> list[Node]:
        """Read `(expression, …)`."""
        self.cursor.expect_punctuation("(")
        found: list[Node] = []
        if self.cursor.accept_punctuation(")"):
            return found
        if self.cursor.keyword() in {"SELECT", "WITH"}:
            raise SqlSyntaxError("a subquery is not played; write its values")
        while True:
            found.append(self.expression())
            if self.cursor.accept_punctuation(")"):
                return found
            self.cursor.expect_punctuation(",")

    def _call(self, name: str) -> Node:
        return self._applied(name, self.arguments())

    def _applied(self, name: str, arguments: list[Node]) -> Node:
        from capture.scenario.functions import FUNCTIONS, JSON_TEXTS

        function = FUNCTIONS.get(name)
        if function is None:
            raise SqlSyntaxError(f"the function {name} is not played; write its value")
        if not function.arguments_min <= len(arguments) <= function.arguments_max:
            raise SqlSyntaxError(f"{name} does not take {len(arguments)} arguments")
        collation = next((each.collation for each in arguments if each.collation is not None), None)

        def evaluate(scope: Scope) -> Value:
            values = [each.evaluate(scope) for each in arguments]
            if function.null_gives_null and None in values:
                return None
            return function.call(scope.session, *values)

        return Node(evaluate, "utf8mb4_bin" if name in JSON_TEXTS else collation)

    def _column(self) -> Node:
        names = [self.cursor.identifier()]
        while self.cursor.accept_punctuation("."):
            names.append(self.cursor.identifier())
        return self.column(names)

    def column(self, names: Sequence[str]) -> Node:
        """The column that a name means. Raises SqlSyntaxError."""
        qualifier = ".".join(names[:-1]).casefold()
        table = self.names.table
        wanted = names[-1]
        aliases = [each.casefold() for each in self.names.incoming_columns]
        is_alias = wanted.casefold() in aliases
        is_incoming = bool(qualifier) and qualifier == (self.names.incoming or "").casefold()
        is_incoming = is_incoming or (not qualifier and is_alias and self.names.index(wanted) is None)
        if is_incoming and aliases and table is not None:
            if not is_alias:
                raise SqlSyntaxError(f"{'.'.join(names)} is no column of the row that is inserted")
            wanted = table.columns[aliases.index(wanted.casefold())].name
        index = self.names.index(wanted)
        is_known = not qualifier or is_incoming or qualifier in self.names.qualifiers
        if index is None or table is None or not is_known:
            raise SqlSyntaxError(f"there is no column {'.'.join(names)} here")
        return nodes.column_node(table.columns[index], index, incoming=is_incoming)


_CONSTANTS: Final[dict[str, Value]] = {"NULL": None, "TRUE": True, "FALSE": False}
_MOMENT_LITERALS: Final = frozenset({"DATE", "TIME", "TIMESTAMP"})
_IS: Final[dict[str, Callable[[Value], bool]]] = {
    "NULL": lambda value: value is None,
    "UNKNOWN": lambda value: value is None,
    "TRUE": lambda value: is_true(value) is True,
    "FALSE": lambda value: is_true(value) is False,
}
_CALLED_WITHOUT_PARENTHESES: Final = frozenset(
    {
        *("CURRENT_TIMESTAMP", "LOCALTIME", "LOCALTIMESTAMP", "CURRENT_DATE", "CURRENT_TIME"),
        *("UTC_TIMESTAMP", "UTC_DATE", "UTC_TIME"),
    }
)
