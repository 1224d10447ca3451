"""MySQL's lexical rules: SQL text to tokens, for the DDL grammar and the classification of statements.

Rules (MySQL 9 manual, "Language Structure"; sql_lex.cc of MySQL and MariaDB):

- strings '…' and, without ANSI_QUOTES, "…"; a doubled quote is one quote; backslash escapes unless
  NO_BACKSLASH_ESCAPES; identifiers `…` and, with ANSI_QUOTES, "…"; `x'…'`, `b'…'`, `n'…'`, `_charset'…'`
- comments `#…`, `-- …` (a space or control character must follow), `/* … */`; optimizer hints are comments
- executable comments: `/*! … */` always, `/*!50003 … */` from that version on; MariaDB also `/*M! … */`, and it skips
  `/*!50700 …` to `/*!99999 …`, which are meant for MySQL. What is not executed is skipped, comments nested in it too.
- `@user`, `@@system` variables are one token; `.` before a digit after an identifier is a separator, not a number

Invariant: every text either becomes tokens that end with END or raises SqlSyntaxError with the offset; no input makes
it loop. Offsets count characters of the text given. What the tokens mean is `capture/ddl.py`'s business.
"""

import re
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from typing import NamedTuple

from capture.dialect import MYSQL_NEWEST, Dialect

__all__ = [
    "MYSQL_NEWEST",
    "Dialect",
    "Kind",
    "SqlMode",
    "SqlSyntaxError",
    "Token",
    "quote_identifier",
    "quote_string",
    "tokenize",
]


class SqlMode(IntFlag):
    """The bits of sql_mode that change how text is read (sql/query_options.h, sql_class.h)."""

    REAL_AS_FLOAT = 1
    ANSI_QUOTES = 1 << 2
    ORACLE = 1 << 9
    NO_BACKSLASH_ESCAPES = 1 << 20


class SqlSyntaxError(ValueError):
    """SQL text that MySQL's own rules reject, or that the grammar does not know; the message is half a sentence."""


class Kind(IntEnum):
    """What a token is. QUOTED is a quoted identifier; STRING's `value` has quotes and escapes removed."""

    WORD = 1
    QUOTED = 2
    STRING = 3
    NUMBER = 4
    VARIABLE = 5
    PUNCTUATION = 6
    END = 7


class Token(NamedTuple):
    """One token: `value` is its meaning, `start` and `end` its place in the text (the value may be shorter)."""

    kind: Kind
    value: str
    start: int
    end: int


_SPACE = re.compile(r"[ \t\n\v\f\r]+")
_LINE_COMMENT = re.compile(r"#[^\n]*|--(?=[\x00-\x20\x7f]|\Z)[^\n]*")
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![^\x00-#%-/:-@\[-^`{-\x7f])")
_HEX_OR_BITS = re.compile(r"(?:0x[0-9a-fA-F]+|0b[01]+)(?![^\x00-#%-/:-@\[-^`{-\x7f])|[xX]'[0-9a-fA-F]*'|[bB]'[01]*'")
_WORD = re.compile(r"[^\x00-#%-/:-@\[-^`{-\x7f]+")
_VARIABLE = re.compile(r"@@?(?:[^\x00-#%-\-/:-@\[-^`{-\x7f]+|`(?:[^`]|``)*`|'[^']*'|\"[^\"]*\")?")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_EXECUTABLE = re.compile(r"/\*(M?)!(\d{5,6})?")
_ESCAPED = {
    quote: re.compile(rf"{quote}([^{quote}\\]*(?:(?:{quote}{quote}|\\.)[^{quote}\\]*)*){quote}", re.DOTALL)
    for quote in "'\""
}
_PLAIN = {quote: re.compile(rf"{quote}([^{quote}]*(?:{quote}{quote}[^{quote}]*)*){quote}") for quote in "'\"`"}
_ESCAPE_OR_PAIR = {quote: re.compile(rf"\\(.)|{quote}{quote}", re.DOTALL) for quote in "'\""}
_ESCAPES = {"0": "\0", "b": "\b", "n": "\n", "r": "\r", "t": "\t", "Z": "\x1a", "%": "\\%", "_": "\\_"}


def quote_identifier(name: str) -> str:
    """Quote a name the way SHOW CREATE TABLE does."""
    return "`" + name.replace("`", "``") + "`"


def quote_string(text: str) -> str:
    """Quote a string so that it reads back the same under any sql_mode but NO_BACKSLASH_ESCAPES."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def tokenize(sql: str, sql_mode: int = 0, dialect: Dialect = MYSQL_NEWEST) -> Iterator[Token]:
    """Yield the tokens of the text, END last. Lazy: what nobody asks for is never looked at.

    Raises SqlSyntaxError for a string, quoted name or comment without end.
    """
    return _Tokenizer(sql, sql_mode, dialect).tokens()


class _Tokenizer:
    """State of one pass: where we are, and whether inside an executable comment (they do not nest)."""

    def __init__(self, sql: str, sql_mode: int, dialect: Dialect) -> None:
        self.sql = sql
        self.dialect = dialect
        self.position = 0
        self.executing = False
        string_quotes = "'" if sql_mode & SqlMode.ANSI_QUOTES else "'\""
        self.escapes = not sql_mode & SqlMode.NO_BACKSLASH_ESCAPES
        strings = _ESCAPED if self.escapes else _PLAIN
        self.quotes = {quote: (Kind.QUOTED, _PLAIN[quote]) for quote in '"`'}
        self.quotes.update({quote: (Kind.STRING, strings[quote]) for quote in string_quotes})

    def tokens(self) -> Iterator[Token]:
        previous = Token(Kind.END, "", 0, 0)
        while self.skip_to_token():
            token = self.quoted() or self.word_or_number(previous)
            self.position = token.end
            previous = token
            yield token
        if self.executing:
            raise SqlSyntaxError("an executable comment is not closed")
        yield Token(Kind.END, "", len(self.sql), len(self.sql))

    def skip_to_token(self) -> bool:
        """Step over white space and comments. False: the text is at its end."""
        while self.position < len(self.sql):
            start = self.position
            if found := _SPACE.match(self.sql, start) or _LINE_COMMENT.match(self.sql, start):
                self.position = found.end()
            elif self.sql.startswith("/*", start):
                self.comment()
            elif self.executing and self.sql.startswith("*/", start):
                self.executing = False
                self.position += 2
            else:
                return True
        return False

    def comment(self) -> None:
        """Enter an executable comment, or step over one that is not executed here."""
        opening = _EXECUTABLE.match(self.sql, self.position)
        if opening is None or (opening[1] and not self.dialect.is_mariadb):
            self.position = self.comment_end(self.position + 2, nested=False)
            return
        digits = opening[2] or ""
        if not self.dialect.is_mariadb and self.dialect.version < (8, 0, 0):
            digits = digits[:5]
        if self.is_executed(int(digits or 0), mariadb_only=bool(opening[1])):
            self.executing = True
            self.position = opening.end(1) + 1 + len(digits)
        else:
            self.position = self.comment_end(opening.end(), nested=True)

    def is_executed(self, version: int, *, mariadb_only: bool) -> bool:
        if version > self.dialect.number:
            return False
        return not self.dialect.is_mariadb or mariadb_only or not 50700 <= version <= 99999

    def comment_end(self, position: int, *, nested: bool) -> int:
        """Find the end of a comment; `nested`: it may hold further comments, one level deep."""
        inner = False
        while edge := _COMMENT_EDGE.search(self.sql, position):
            position = edge.end()
            if edge[0] == "/*":
                inner = inner or nested
            elif inner:
                inner = False
            else:
                return position
        raise SqlSyntaxError("a comment is not closed")

    def quoted(self) -> Token | None:
        """Read a string or a quoted name."""
        quote = self.sql[self.position]
        if quote not in self.quotes:
            return None
        kind, pattern = self.quotes[quote]
        found = pattern.match(self.sql, self.position)
        if found is None:
            what = "string" if kind is Kind.STRING else "quoted name"
            raise SqlSyntaxError(f"a {what} is not closed")
        escapes = self.escapes and kind is Kind.STRING
        value = _unescape(found[1], quote) if escapes else found[1].replace(quote * 2, quote)
        return Token(kind, value, self.position, found.end())

    def word_or_number(self, previous: Token) -> Token:
        """Read anything else. A dot behind a name separates names, and digits behind that dot begin one (`db.1st`)."""
        start = self.position
        patterns = _ANYWHERE
        if previous.kind is Kind.PUNCTUATION and previous.value == ".":
            patterns = _AFTER_DOT
        elif previous.end == start and previous.kind in {Kind.WORD, Kind.QUOTED} and self.sql[start] == ".":
            patterns = ()
        for kind, pattern in patterns:
            if found := pattern.match(self.sql, start):
                return Token(kind, found[0], start, found.end())
        return Token(Kind.PUNCTUATION, self.sql[start], start, start + 1)


_Patterns = tuple[tuple[Kind, re.Pattern[str]], ...]
_ANYWHERE: _Patterns = (
    (Kind.NUMBER, _HEX_OR_BITS),
    (Kind.NUMBER, _NUMBER),
    (Kind.WORD, _WORD),
    (Kind.VARIABLE, _VARIABLE),
)
_AFTER_DOT: _Patterns = ((Kind.WORD, _WORD),)


def _unescape(body: str, quote: str) -> str:
    if "\\" not in body:
        return body.replace(quote * 2, quote)
    # A doubled quote and an escape sequence must be read in one pass: `\''` is one escape and half a pair.
    return _ESCAPE_OR_PAIR[quote].sub(lambda found: _ESCAPES.get(found[1], found[1]) if found[1] else quote, body)
