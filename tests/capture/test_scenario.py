"""Playing statements without a server: sentences and lines, transactions that leave nothing, tables shared with calls.

That the records are a server's is `test_played_scenarios.py`'s.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture import row_journal
from capture.dialect import MYSQL_NEWEST
from capture.embedded_source import EmbeddedSource
from capture.errors import ValueRefused
from capture.scenario import operators, script, texts
from capture.scenario.player import Player
from capture.scenario.refusal import StatementRefused
from tests.fakes import ManualClock

TABLE = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT, name VARCHAR(20));"


class Spy(EmbeddedSource):
    """A source that remembers what was written."""

    def __init__(self) -> None:
        super().__init__(ManualClock(), database="shop")
        self.written: list[tuple[str, str, Any]] = []
        self.transactions: list[list[tuple[str, str, Any]]] = []

    def change_rows(self, changes: Any, **more: Any) -> None:
        super().change_rows(changes, **more)
        if changes:
            self.transactions.append([(kind, table, rows) for kind, table, rows, _ in changes])
            self.written += self.transactions[-1]


@pytest.fixture
def source() -> Spy:
    return Spy()


@pytest.fixture
def player(source: Spy) -> Player:
    return Player(source, ManualClock())


def play(player: Player, text: str) -> int:
    return sum(1 for _ in player.play(text))


def refusal(player: Player, text: str) -> str:
    with pytest.raises(StatementRefused) as caught:
        play(player, text)
    return str(caught.value)


# ---- statements of a file ----


def test_statements_are_told_apart_with_their_lines() -> None:
    text = (
        "-- a; b\nSELECT ';'; # c;\n\n/* d; */ INSERT INTO `a;b`\nVALUES (1) -- e\n;;\n"
        "/*!40101 SET NAMES utf8mb4 */;\nCOMMIT"
    )
    found = [(statement.line, statement.sql) for statement in script.statements(text, MYSQL_NEWEST)]
    assert found == [
        (2, "SELECT ';'"),
        (4, "INSERT INTO `a;b`\nVALUES (1) -- e"),
        (7, "/*!40101 SET NAMES utf8mb4 */"),
        (8, "COMMIT"),
    ]


_PARTS = st.sampled_from(
    ["SELECT 1", "INSERT INTO t VALUES ('a;b')", 'UPDATE `x;y` SET a = "q;"', "DO 1 /* ; */ + 2", "SELECT 'it''s'"]
)


@given(st.lists(_PARTS), st.lists(st.sampled_from(["\n", " ", "-- c;\n", "/* ;\n */", "#x\n"]), min_size=1))
def test_what_stands_between_statements_does_not_count(parts: list[str], between: list[str]) -> None:
    gap = "".join(between)
    text = gap + "".join(f"{part};{gap}" for part in parts)
    found = list(script.statements(text, MYSQL_NEWEST))
    assert [statement.sql for statement in found] == parts
    place = 0
    for statement in found:
        place = text.index(statement.sql, place)
        assert statement.line == text.count("\n", 0, place) + 1
        place += len(statement.sql)


@given(st.text(max_size=60))
def test_any_text_is_played_or_refused_by_a_sentence(text: str) -> None:
    player = Player(EmbeddedSource(ManualClock(), database="shop"), ManualClock())
    try:
        play(player, text)
    except StatementRefused as error:
        assert str(error).startswith("line ")  # noqa: PT017


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("\n\nINSERT INTO nope VALUES (1)", "line 3: there is no table shop.nope"),
        ("INSERT INTO t VALUES ('", "line 1: a string is not closed"),
        ("DELIMITER //\nSELECT 1//", "line 1: DELIMITER introduces stored programs, which are not played"),
        ("CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @a = 1", "line 1: 'CREATE TRIGGER x BEFORE"),
        ("CREATE TEMPORARY TABLE x (id INT)", "line 1: temporary tables are not played"),
        ("UPDATE t SET a = (SELECT 1)", "line 1: a subquery is not played; write its value"),
        ("UPDATE t, u SET a = 1", "line 1: an UPDATE of several tables"),
        ("DELETE t FROM t", "line 1: a DELETE of several tables"),
        ("INSERT INTO t (a) VALUES (SOUNDEX('x'))", "line 1: the function SOUNDEX is not played; write its value"),
        ("INSERT INTO t (a) VALUES (300000000000)", "line 1: 300000000000 does not fit the column a: INT holds "),
        ("INSERT INTO t (nope) VALUES (1)", "line 1: there is no column nope here"),
        ("XA START 'x'", "line 1: XA transactions are not played; BEGIN and COMMIT are"),
        ("SET GLOBAL sql_mode = ''", "line 1: SET GLOBAL sql_mode is not played; leave it out"),
        ("SET sql_mode = 'ANSI_QUOTES'", "line 1: sql_mode ANSI_QUOTES is not played; leave it out"),
        ("SET NAMES latin1", "line 1: a scenario is text in UTF-8; SET NAMES latin1 is not played"),
        ("SET time_zone = 'Europe/Paris'", "line 1: the time zone 'Europe/Paris' is not known here"),
        ("SET sql_log_bin = 0", "line 1: statements under sql_log_bin = 0 leave no record"),
        ("SELECT 1 INTO @a", "line 1: SELECT … INTO is not played"),
        ("\nBEGIN;\nINSERT INTO t VALUES ()", "line 2: the transaction that begins there does not end"),
        ("INSERT INTO t VALUES (" + "(" * 3000 + "1" + ")" * 3000 + ")", "line 1: the statement is nested too deeply"),
    ],
)
def test_what_is_not_played_is_told_with_its_line(player: Player, source: Spy, sql: str, sentence: str) -> None:
    play(player, TABLE)
    before = source.position
    assert refusal(player, sql).startswith(sentence)
    assert source.position == before


# ---- transactions ----


def test_what_was_committed_before_a_refusal_stays_and_the_rest_is_undone(player: Player, source: Spy) -> None:
    play(player, TABLE + "INSERT INTO t (a) VALUES (1), (2)")
    refusal(
        player,
        "INSERT INTO t (a) VALUES (3); BEGIN; DELETE FROM t; UPDATE t SET a = 1; INSERT INTO t (a) VALUES ('x');",
    )
    refusal(player, "UPDATE t SET a = a * 1000000000")
    assert play(player, "DELETE FROM t") == 1
    assert source.transactions[-1] == [("delete", "shop.t", [(1, 1, None), (2, 2, None), (3, 3, None)])]
    assert len(source.transactions) == 3


def test_a_scenario_that_is_left_leaves_no_transaction(player: Player, source: Spy) -> None:
    play(player, TABLE)
    steps = player.play("BEGIN; INSERT INTO t (a) VALUES (1); INSERT INTO t (a) VALUES (2); COMMIT")
    next(steps)
    next(steps)
    steps.close()
    assert source.transactions == []
    play(player, "UPDATE t SET a = 5")
    assert source.transactions == []


def test_what_the_source_refuses_is_undone_too(player: Player, source: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    play(player, TABLE)

    def refused(*changes: Any, **more: Any) -> None:
        raise StatementRefused("no")

    with monkeypatch.context() as patched:
        patched.setattr(source, "change_rows", refused)
        assert refusal(player, "INSERT INTO t (a) VALUES (1)") == "line 1: no"
    play(player, "UPDATE t SET a = 2")
    assert source.transactions == []


def test_rows_have_the_time_of_their_statement(player: Player, source: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(source, "change_rows", lambda changes, **more: seen.extend(change[3] for change in changes))
    play(
        player,
        TABLE + "SET timestamp = 1700000000.75; BEGIN; INSERT INTO t (a) VALUES (1);"
        "SET timestamp = 1700000009; INSERT INTO t (a) VALUES (2); COMMIT",
    )
    assert seen == [1_700_000_000, 1_700_000_009]


# ---- tables that calls change too ----


def test_scenarios_know_the_rows_of_calls(player: Player, source: Spy) -> None:
    source.statement(
        "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, a INT, j JSON, at TIMESTAMP NULL, s SET('x','y'))"
    )
    source.insert("t", {"a": 1, "j": {"k": [1]}, "at": 1_700_000_000, "s": {"x", "y"}}, {"a": 2})
    source.update("t", ({"id": 2, "a": 2}, {"a": 20}))
    source.insert("t", {"a": 3})
    source.delete("t", {"id": 3, "a": 3})
    play(player, "UPDATE t SET a = a + 1, j = JSON_SET(j, '$.k[1]', 2) WHERE s = 'x,y'; INSERT INTO t (a) VALUES (4)")
    source.statement("ALTER TABLE t DROP COLUMN j")
    source.insert("t", {"a": 5})
    play(player, "DELETE FROM t WHERE a <> 5")
    _, (_, _, inserted), (_, _, deleted) = source.written[-3:]
    assert inserted[0][:2] == (4, 4)
    assert [row[:2] for row in deleted] == [(1, 2), (2, 20), (4, 4)]


def test_rows_by_call_that_came_to_nothing_are_not_known(player: Player, source: Spy) -> None:
    play(player, TABLE)
    with pytest.raises(ValueRefused), source.transaction():  # noqa: PT012
        source.insert("t", {"a": 1})
        source.insert("t", {"a": "x"})
    play(player, "UPDATE t SET a = 2")
    assert source.transactions == []


def test_rows_beyond_those_that_are_kept_are_not_guessed(
    player: Player, source: Spy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_journal, "ROWS_MAX", 3)
    source.statement(TABLE)
    source.insert("t", *({"a": number} for number in range(4)))
    assert "play scenarios on a channel of their own" in refusal(player, "UPDATE t SET a = 2")


# ---- texts ----


@pytest.mark.parametrize(
    ("first", "second", "collation", "are_equal"),
    [
        ("a", "A", "utf8mb4_0900_ai_ci", True),
        ("a", "A", "utf8mb4_bin", False),
        ("a", "A", "utf8mb4_0900_as_cs", False),
        ("a ", "a", "utf8mb4_general_ci", True),
        ("a ", "a", "utf8mb4_0900_ai_ci", False),
        ("茶", "龙井茶", "utf8mb4_0900_ai_ci", False),
        ("é", "é", "utf8mb4_0900_ai_ci", True),
        ("é", "e", "utf8mb4_0900_ai_ci", None),
        ("é", "e", "utf8mb4_bin", False),
        ("straße", "STRASSE", "utf8mb4_0900_ai_ci", None),
        ("Müller", "Schmidt", "utf8mb4_0900_ai_ci", False),
        ("дом", "ДОМ", "utf8mb4_general_ci", True),
    ],
)
def test_texts_are_equal_as_far_as_is_certain(first: str, second: str, collation: str, are_equal: bool | None) -> None:
    for pair in ((first, second), (second, first)):
        if are_equal is None:
            with pytest.raises(StatementRefused, match="is not known here"):
                texts.are_equal(*pair, collation)
        else:
            assert texts.are_equal(*pair, collation) is are_equal


# ---- values beyond what can be computed ----


@pytest.mark.parametrize(
    "expression",
    [
        *("POW(10, 400)", "POW(0, -1)", "FROM_UNIXTIME(1e18)", "NOW(9)", "NOW('x')", "CAST('1' AS DECIMAL(10, 200))"),
        *("CAST('9999-12-31 23:59:59.9' AS DATETIME)", "CAST('2020-01-01' AS DATETIME(9))", "1e400", "-1e400"),
        *("9" * 5000, "'1e999999999'", "ROUND(1.5, -1e30)", "CEILING(1e400)", "VALUES(a)", "CONCAT(1e15)"),
        *("CAST('7.9' AS SIGNED)", "JSON_ARRAY(1e400)"),
    ],
)
def test_what_is_beyond_computing_is_refused_with_its_line(player: Player, source: Spy, expression: str) -> None:
    play(player, TABLE)
    assert refusal(player, f"SELECT 1;\nINSERT INTO t (a) VALUES ({expression})").startswith("line 2: ")
    assert refusal(player, f"SELECT 1;\nSET timestamp = {expression}").startswith("line 2: ")
    assert not source.written


@pytest.mark.parametrize("zone", ["+14:01", "-14:00", "+99:99", "+05:60"])
def test_a_time_zone_that_no_server_takes_is_refused(player: Player, zone: str) -> None:
    assert "is not known here" in refusal(player, f"SET time_zone = '{zone}'")


def test_an_end_of_a_transaction_that_ends_the_session_is_refused(player: Player) -> None:
    play(player, TABLE)
    assert "leave RELEASE out" in refusal(player, "BEGIN; INSERT INTO t (a) VALUES (1); COMMIT RELEASE")


def test_json_is_checked_as_dumps_of_mariadb_have_it(player: Player, source: Spy) -> None:
    """Its type JSON is text with a CHECK."""
    play(player, "CREATE TABLE t (id INT, d LONGTEXT CHECK (json_valid(`d`)), j JSON, CHECK (json_valid(j)))")
    play(player, """INSERT INTO t VALUES (1, '{"a": [1]}', '{}'), (2, NULL, NULL), (3, '"text"', '1')""")
    for text in ("{a", "", "NaN"):
        assert "CHECK" in refusal(player, f"INSERT INTO t (d) VALUES ('{text}')")
    assert "is played for texts" in refusal(player, "INSERT INTO t (id) VALUES (JSON_VALID(1))")


def test_a_pattern_of_many_parts_is_looked_for_once() -> None:
    text = "a" * 3000
    assert operators.is_like(text, "%a" * 30 + "%b", "\\", "utf8mb4_bin") is False
    assert operators.is_like(text + "b", "%a" * 30 + "%b", "\\", "utf8mb4_bin") is True
    assert operators.is_like("50%", "50|%", "|", "utf8mb4_bin") is True
    assert operators.is_like("aXbXc", "a%X%c", "\\", "utf8mb4_bin") is True
    assert operators.is_like("abab", "%ab", "\\", "utf8mb4_bin") is True
    assert operators.is_like("aba", "ab%ba", "\\", "utf8mb4_bin") is False


@given(st.text("ab", max_size=12), st.text("ab%_", max_size=8))
def test_patterns_match_as_the_plain_expression_does(text: str, pattern: str) -> None:
    plain = pattern.replace("%", ".*").replace("_", ".")
    assert operators.is_like(text, pattern, "\\", "utf8mb4_bin") is (re.fullmatch(plain, text) is not None)


def test_rows_by_call_of_many_bytes_are_not_kept(player: Player, source: Spy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_journal, "BYTES_MAX", 1000)
    play(player, "CREATE TABLE b (id INT PRIMARY KEY, v BLOB)")
    source.insert("b", {"id": 1, "v": b"x" * 500})
    first = source.journal.is_whole
    source.insert("b", {"id": 2, "v": b"x" * 500})
    assert (first, source.journal.is_whole) == (True, False)
    assert "on a channel of their own" in refusal(player, "DELETE FROM b")
