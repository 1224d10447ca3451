"""The journal of changes by call: what is taken back leaves no trace."""

from __future__ import annotations

from capture.row_journal import BYTES_MAX, NotedRows, RowJournal

TABLE = ("d", "t")


def test_too_much_that_is_taken_back_was_never_there():
    journal = RowJournal()
    journal.rows("insert", TABLE, [1], 10)
    restore = journal.checkpoint()
    journal.rows("insert", TABLE, [2], BYTES_MAX)
    found = [journal.is_whole]
    restore()
    assert [*found, journal.is_whole] == [False, True]
    journal.rows("insert", TABLE, [3], 10)
    assert journal.take() == [NotedRows("insert", TABLE, [1]), NotedRows("insert", TABLE, [3])]


def test_too_much_that_stays_keeps_only_statements():
    journal = RowJournal()
    journal.rows("insert", TABLE, [1], 10)
    journal.statements([], "DROP TABLE u", "d")
    journal.rows("insert", TABLE, [2], BYTES_MAX)
    restore = journal.checkpoint()
    journal.rows("insert", TABLE, [3], 10)
    restore()
    assert not journal.is_whole
    assert [type(entry).__name__ for entry in journal.take()] == ["NotedStatements"]
