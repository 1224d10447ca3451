"""Log lines of strangers' making: once in a while, with what was left out."""

from __future__ import annotations

import logging

import pytest

from broker import notices as notices_module
from broker.notices import QUIET_MS, Notices
from tests.fakes import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG)
    return caplog


def test_a_kind_is_told_once_and_then_with_its_count(clock: ManualClock, told: pytest.LogCaptureFixture) -> None:
    notices = Notices(clock)
    for _ in range(5):
        notices.tell(logging.INFO, "a", "it happened")
    notices.tell(logging.WARNING, "b", "something else")
    clock.advance(QUIET_MS)
    notices.tell(logging.INFO, "a", "it happened")
    clock.advance(QUIET_MS)
    notices.tell(logging.INFO, "a", "it happened")
    assert told.messages == [
        "it happened",
        "something else",
        "it happened (and 4 more times since the last such line)",
        "it happened",
    ]
    assert [record.levelname for record in told.records] == ["INFO", "WARNING", "INFO", "INFO"]


def test_so_many_kinds_that_they_do_not_fit_are_told_as_one(
    clock: ManualClock, told: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notices_module, "KEYS_MAX", 3)
    notices = Notices(clock)
    for number in range(50):
        notices.tell(logging.INFO, number, f"{number}")
    assert told.messages == ["0", "1", "2", "3"]
    assert len(notices._told) == 4
    clock.advance(QUIET_MS)
    notices.tell(logging.INFO, 50, "50")
    assert told.messages[4:] == ["50"]
    assert len(notices._told) == 1


def test_a_percent_sign_of_a_stranger_is_not_a_format(clock: ManualClock, told: pytest.LogCaptureFixture) -> None:
    Notices(clock).tell(logging.INFO, "a", "100 %s")
    assert told.messages == ["100 %s"]
