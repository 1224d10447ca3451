"""The tokenizer: MySQL's lexical rules case by case, and that no text makes it loop or miss its end."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.dialect import Dialect
from capture.sql import Kind, SqlMode, SqlSyntaxError, Token, quote_identifier, quote_string, tokenize

MYSQL = Dialect("mysql", (8, 0, 34))
MYSQL56 = Dialect("mysql", (5, 6, 24))
MARIADB = Dialect("mariadb", (10, 11, 6))


def words(sql, sql_mode=0, dialect=MYSQL):
    return [token.value for token in tokenize(sql, sql_mode, dialect)][:-1]


def kinds(sql, sql_mode=0, dialect=MYSQL):
    return [token.kind for token in tokenize(sql, sql_mode, dialect)][:-1]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (" \t\r\n\v\f", []),
        ("a b", ["a", "b"]),
        ("a.b", ["a", ".", "b"]),
        ("db.1st", ["db", ".", "1st"]),
        ("t.1e5", ["t", ".", "1e5"]),
        ("1st 2 3.5 .5 1e5 1.5e-3", ["1st", "2", "3.5", ".5", "1e5", "1.5e-3"]),
        ("0xFF 0b01 x'ff' B'01' 0xFG", ["0xFF", "0b01", "x'ff'", "B'01'", "0xFG"]),
        ("a$b _c ünï 中文 😀", ["a$b", "_c", "ünï", "中文", "😀"]),
        ("`a``b` `x.y`", ["a`b", "x.y"]),
        ("'it''s' 'a\\'b' '\\\\' '\\n\\t\\0\\Z\\q\\%'", ["it's", "a'b", "\\", "\n\t\0\x1aq\\%"]),
        ("'\\''''", ["''"]),
        ('"it""s" "a\'b"', ['it"s', "a'b"]),
        ("a -- b\nc", ["a", "c"]),
        ("a --b", ["a", "-", "-", "b"]),
        ("a --", ["a"]),
        ("a # b ' `\nc", ["a", "c"]),
        ("a /* ' ` */ b", ["a", "b"]),
        ("a/**/b", ["a", "b"]),
        ("a /* /* */ b", ["a", "b"]),
        ("SELECT /*+ NO_INDEX(t) */ 1", ["SELECT", "1"]),
        ("@a @@global.b @`c d` @'e' @", ["@a", "@@global.b", "@`c d`", "@'e'", "@"]),
        ("a=1;b", ["a", "=", "1", ";", "b"]),
        ("\0", ["\0"]),
    ],
)
def test_tokens(sql, expected):
    assert words(sql) == expected


def test_kinds():
    sql = "word `quoted` 'string' 5 @variable ("
    assert kinds(sql) == [Kind.WORD, Kind.QUOTED, Kind.STRING, Kind.NUMBER, Kind.VARIABLE, Kind.PUNCTUATION]


def test_ansi_quotes_make_double_quotes_identifiers():
    assert kinds('"a"') == [Kind.STRING]
    assert kinds('"a""b"', SqlMode.ANSI_QUOTES) == [Kind.QUOTED]
    assert words('"a\\"', SqlMode.ANSI_QUOTES) == ["a\\"]


def test_no_backslash_escapes():
    mode = SqlMode.NO_BACKSLASH_ESCAPES
    assert words("'a\\' 'b'", mode) == ["a\\", "b"]
    assert words("'a''b\\n'", mode) == ["a'b\\n"]


@pytest.mark.parametrize(
    ("sql", "dialect", "expected"),
    [
        ("/*! a */ b", MYSQL, ["a", "b"]),
        ("/*!50001 a */ b", MYSQL, ["a", "b"]),
        ("/*!50001a */ b", MYSQL, ["a", "b"]),
        ("/*!080034 a */ b", MYSQL, ["a", "b"]),
        ("/*!080035 a */ b", MYSQL, ["b"]),
        ("/*!80035 a */ b", MYSQL, ["b"]),
        ("/*!99999 a /* c */ d */ b", MYSQL, ["b"]),
        ("/*!50001 a /* c */ d */ b", MYSQL, ["a", "d", "b"]),
        ("/*!506241 a */", MYSQL56, ["1", "a"]),
        ("/*M! a */ b", MYSQL, ["b"]),
        ("/*M! a */ b", MARIADB, ["a", "b"]),
        ("/*M!100301 a */ b", MARIADB, ["a", "b"]),
        ("/*M!110000 a */ b", MARIADB, ["b"]),
        ("/*!50701 a */ b", MARIADB, ["b"]),
        ("/*!50699 a */ /*!100100 c */ b", MARIADB, ["a", "c", "b"]),
        ("/*!50001 'x */' */ b", MYSQL, ["x */", "b"]),
    ],
)
def test_executable_comments(sql, dialect, expected):
    assert words(sql, 0, dialect) == expected


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("'abc", "a string is not closed"),
        ("'abc\\'", "a string is not closed"),
        ('"abc', "a string is not closed"),
        ("`abc", "a quoted name is not closed"),
        ("a /* b", "a comment is not closed"),
        ("/*!99999 a /* */ b", "a comment is not closed"),
        ("/*! a", "an executable comment is not closed"),
    ],
)
def test_what_does_not_end(sql, what):
    with pytest.raises(SqlSyntaxError, match=what):
        words(sql)


def test_positions_cover_the_text():
    sql = "ALTER /* c */ TABLE `a``b` ADD 'x\\'y'"
    assert [sql[token.start : token.end] for token in tokenize(sql)] == [
        "ALTER",
        "TABLE",
        "`a``b`",
        "ADD",
        "'x\\'y'",
        "",
    ]


def test_tokens_come_as_they_are_asked_for():
    tokens = tokenize("CREATE FUNCTION f AS 'never closed")
    assert [next(tokens).value for _ in range(4)] == ["CREATE", "FUNCTION", "f", "AS"]


sql_text = st.text(alphabet=st.sampled_from("aZ09_$.'\"`\\/*!#-@;(), \n\x00é中5xb+"), max_size=60)
modes = st.sampled_from([0, SqlMode.ANSI_QUOTES, SqlMode.NO_BACKSLASH_ESCAPES])
dialects = st.sampled_from([MYSQL, MYSQL56, MARIADB])


@given(sql_text, modes, dialects)
def test_every_text_ends_in_tokens_or_one_clear_error(sql, mode, dialect):
    tokens: list[Token] = []
    error = None
    try:
        tokens.extend(tokenize(sql, mode, dialect))
    except SqlSyntaxError as caught:
        error = str(caught)
    if error is not None:
        assert error.endswith("is not closed")
        return
    assert tokens[-1] == (Kind.END, "", len(sql), len(sql))
    assert all(token.start < token.end for token in tokens[:-1])
    assert all(before.end <= after.start for before, after in itertools.pairwise(tokens))


@given(st.text(max_size=30), modes)
def test_quoted_names_read_back(name, mode):
    assert words(quote_identifier(name), mode) == [name]


@given(st.text(max_size=30), st.sampled_from([0, SqlMode.ANSI_QUOTES]))
def test_quoted_strings_read_back(text, mode):
    assert words(quote_string(text), mode) == [text]


@given(st.lists(st.text(max_size=10), max_size=5))
def test_neighbouring_strings_stay_apart(texts):
    assert words(" ".join(map(quote_string, texts))) == texts


@given(sql_text, st.text(alphabet="ab' `\"", max_size=8))
def test_a_comment_hides_what_is_in_it(sql, hidden):
    try:
        expected = words(sql)
    except SqlSyntaxError:
        return
    assert words(f"/* {hidden} */{sql}") == expected
