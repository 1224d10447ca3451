"""Reading a statement token by token: the vocabulary that the DDL grammar is written in.

A Cursor pulls tokens lazily, so that the first words of a statement cost nothing for the rest of it. `accept…` methods
step over what they find and say so; `expect…` methods raise SqlSyntaxError. Table names read as the subject of the
statement are collected in `mentioned`: if the grammar gives up later, it is known which tables are concerned.
"""

from capture.dialect import MYSQL_NEWEST, Dialect
from capture.sql import Kind, SqlMode, SqlSyntaxError, Token, quote_string, tokenize
from capture.statements import TableName

_NOW = frozenset({"CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP"})
_OPERATORS = frozenset("+-*/%|&^<>=")
_OPERATOR_WORDS = frozenset({"DIV", "MOD", "AND", "OR", "XOR", "IS", "LIKE"})
_DIGITS_MAX = 20  # of BIGINT UNSIGNED
_SHOWN_CHARACTERS = 30  # of a token, in messages


class Cursor:
    """A place in the token stream of one text."""

    def __init__(self, sql: str, sql_mode: int = 0, dialect: Dialect = MYSQL_NEWEST) -> None:
        self.sql = sql
        self.sql_mode = SqlMode(sql_mode & 0x1FFFFFFFFFFFFF)
        self.dialect = dialect
        self.mentioned: list[TableName] = []
        self._tokens = tokenize(sql, sql_mode, dialect)
        self._ahead: list[Token] = []

    # ---- looking ----

    def peek(self, distance: int = 0) -> Token:
        if len(self._ahead) > distance:
            return self._ahead[distance]
        while len(self._ahead) <= distance:
            if self._ahead and self._ahead[-1].kind is Kind.END:
                return self._ahead[-1]
            self._ahead.append(next(self._tokens))
        return self._ahead[distance]

    def keyword(self, distance: int = 0) -> str:
        """Return the unquoted word there in upper case, or ""."""
        token = self.peek(distance)
        return token.value.upper() if token.kind is Kind.WORD else ""

    def sees(self, *words: str) -> bool:
        for distance, word in enumerate(words):  # noqa: SIM110 — asked a dozen times for each word of a statement
            if self.keyword(distance) != word:
                return False
        return True

    def sees_punctuation(self, character: str, distance: int = 0) -> bool:
        token = self.peek(distance)
        return token.kind is Kind.PUNCTUATION and token.value == character

    def at_end(self) -> bool:
        """Say whether the statement ends here."""
        return self.peek().kind is Kind.END or self.sees_punctuation(";")

    # ---- stepping ----

    def advance(self) -> Token:
        token = self.peek()
        if token.kind is not Kind.END:
            self._ahead.pop(0)
        return token

    def accept(self, *words: str) -> bool:
        """Step over these words if they all stand here."""
        if not self.sees(*words):
            return False
        for _ in words:
            self.advance()
        return True

    def accept_one_of(self, words: frozenset[str]) -> str | None:
        word = self.keyword()
        if word not in words:
            return None
        self.advance()
        return word

    def accept_punctuation(self, character: str) -> bool:
        if not self.sees_punctuation(character):
            return False
        self.advance()
        return True

    def expect(self, *words: str) -> None:
        if not self.accept(*words):
            raise self.unexpected()

    def expect_punctuation(self, character: str) -> None:
        if not self.accept_punctuation(character):
            raise self.unexpected()

    def unexpected(self) -> SqlSyntaxError:
        token = self.peek()
        if token.kind is Kind.END:
            return SqlSyntaxError("the statement ends too early")
        text = self.sql[token.start : token.end]
        shown = text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
        return SqlSyntaxError(f"{shown} at character {token.start + 1} is not understood")

    # ---- reading ----

    def identifier(self) -> str:
        if self.peek().kind not in {Kind.WORD, Kind.QUOTED}:
            raise self.unexpected()
        return self.advance().value

    def name_or_string(self) -> str:
        """Read a charset, collation or engine name, which may be quoted as a string."""
        if self.peek().kind is Kind.STRING:
            return self.advance().value
        return self.identifier()

    def table_name(self) -> TableName:
        self.accept_punctuation(".")  # `.t` is a table of the default database
        first = self.identifier()
        name = TableName(first, self.identifier()) if self.accept_punctuation(".") else TableName(None, first)
        self.mentioned.append(name)
        return name

    def database_name(self) -> str:
        """Read the database that a statement is about; as one of `mentioned` it has an empty table name."""
        name = self.identifier()
        self.mentioned.append(TableName(name, ""))
        return name

    def string(self) -> str:
        """Read a string literal, its charset introducer and adjacent parts included."""
        if self.keyword().startswith("_") and self.peek(1).kind in {Kind.STRING, Kind.NUMBER}:
            self.advance()
        if self.keyword() == "N" and self.peek(1).kind is Kind.STRING and self.peek().end == self.peek(1).start:
            self.advance()
        token = self.advance()
        if token.kind is Kind.NUMBER and token.value[:1] in "0xXbB":
            return _literal_bytes(token.value).decode("utf-8", "surrogateescape")
        if token.kind is not Kind.STRING:
            self._ahead.insert(0, token)
            raise self.unexpected()
        value = token.value
        while self.peek().kind is Kind.STRING:
            value += self.advance().value
        return value

    def integer(self) -> int:
        token = self.peek()
        if token.kind is not Kind.NUMBER or not token.value.isdecimal() or len(token.value) > _DIGITS_MAX:
            raise self.unexpected()
        self.advance()
        return int(token.value)

    def default_value(self) -> str | None:
        """Read what stands after DEFAULT: SQL text in one form for all spellings, None for NULL."""
        start = self.peek()
        word = self.keyword()
        if word == "NULL":
            self.advance()
            return None
        if word in {"TRUE", "FALSE"}:
            self.advance()
            return "'1'" if word == "TRUE" else "'0'"
        if word in _NOW:
            return self.now()
        if start.kind is Kind.STRING or (word.startswith("_") and self.peek(1).kind is Kind.STRING):
            return quote_string(self.string())
        sign = "-" if self.accept_punctuation("-") else ""
        self.accept_punctuation("+")
        if self.peek().kind is Kind.NUMBER and not self._operator_at(1):
            number = self.advance().value
            return number if number[1:2] in "'xXbB" and len(number) > 1 else quote_string(sign + number)
        return self.expression(start)

    def now(self) -> str:
        """Read CURRENT_TIMESTAMP in any spelling."""
        if self.accept_one_of(_NOW) is None:
            raise self.unexpected()
        digits = ""
        if self.accept_punctuation("("):
            digits = "" if self.sees_punctuation(")") else str(self.integer())
            self.expect_punctuation(")")
        return f"CURRENT_TIMESTAMP({digits})" if digits not in {"", "0"} else "CURRENT_TIMESTAMP"

    def expression(self, start: Token) -> str:
        """Read an expression without parentheses around it, as MariaDB allows for defaults; return its text."""
        end = self._operand()
        while self._operator_at(0):
            while self._operator_at(0):
                self.advance()
            end = self._operand()
        return self.sql[start.start : end.end]

    def _operator_at(self, distance: int) -> bool:
        token = self.peek(distance)
        return (token.kind is Kind.PUNCTUATION and token.value in _OPERATORS) or self.keyword(
            distance
        ) in _OPERATOR_WORDS

    def _operand(self) -> Token:
        if self.sees_punctuation("("):
            return self.skip_parentheses()
        self.accept("NEXT", "VALUE", "FOR")
        end = self.advance()
        if end.kind in {Kind.END, Kind.PUNCTUATION}:
            self._ahead.insert(0, end)
            raise self.unexpected()
        while self.sees_punctuation(".") or self.sees_punctuation("("):
            end = self.skip_parentheses() if self.sees_punctuation("(") else self.advance()
            if end.value == ".":
                end = self.advance()
        return end

    def skip_parentheses(self) -> Token:
        """Step over a parenthesised group, nested ones included; return its closing token."""
        self.expect_punctuation("(")
        depth = 1
        while True:
            token = self.advance()
            if token.kind is Kind.END:
                raise SqlSyntaxError("a parenthesis is not closed")
            if token.kind is Kind.PUNCTUATION:
                depth += (token.value == "(") - (token.value == ")")
                if depth == 0:
                    return token

    def skip_value(self) -> None:
        """Step over the value of an option: `[=] word | string | number | (…)`."""
        self.accept_punctuation("=")
        if self.sees_punctuation("("):
            self.skip_parentheses()
        elif self.peek().kind is Kind.PUNCTUATION or self.at_end():
            raise self.unexpected()
        else:
            self.advance()

    def skip_statement(self) -> None:
        """Step over the rest of the statement."""
        while not self.at_end():
            if self.sees_punctuation("("):
                self.skip_parentheses()
            else:
                self.advance()


def _literal_bytes(literal: str) -> bytes:
    """Return the bytes of a hexadecimal or bit literal: `0x41`, `x'41'`, `0b1000001`, `b'1000001'`."""
    digits = literal[2:].rstrip("'")
    if literal[:2].lower() in {"0x", "x'"}:
        return bytes.fromhex(digits.zfill(len(digits) + len(digits) % 2))
    return int(digits or "0", 2).to_bytes((len(digits) + 7) // 8, "big")
