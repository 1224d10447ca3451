"""Logins: what is kept of a password, what a reconnect costs, and what guessing costs."""

from __future__ import annotations

import asyncio
import threading
from typing import ClassVar

import pytest

from broker.accounts import VERIFY_WAITERS_MAX, VERIFY_WAITERS_PER_ORIGIN_MAX, Account, Accounts, Verifier
from broker.brake import BRAKE_DELAY_MS, NAME_LIMIT
from broker.principal import AuthFailure, Principal
from tests.fakes import ManualClock, ManualScheduler

HERE = "192.0.2.1"
LOGIN = "dtstest-dtsanalytics01"
PASSWORD = "Secret-123"
REFUSED = AuthFailure(f"Authentication failed: Invalid username or password, username:{LOGIN}")
ACCEPTED = Principal(username=LOGIN, group_id="dtsanalytics01", topics=frozenset({"topic"}))


class Counting(Verifier):
    """A verifier that notes which threads it was asked in."""

    threads: ClassVar[list[str]] = []

    def matches(self, password: str) -> bool:
        self.threads.append(threading.current_thread().name)
        return super().matches(password)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def timers(clock):
    return ManualScheduler(clock)


@pytest.fixture
def accounts(clock, timers):
    accounts = Accounts(clock, timers)
    yield accounts
    accounts.close()


def quick_verifier(password: str = PASSWORD) -> Counting:
    """A verifier that costs microseconds; its form is that of a slow one."""
    from broker.accounts import _scrypt

    Counting.threads = []
    return Counting(1, 1, 1, b"salt" * 4, _scrypt(password, 1, 1, 1, b"salt" * 4, 32))


async def login(accounts, password=PASSWORD, name=LOGIN, origin=HERE):
    return await accounts.authenticate(name, password, origin)


async def test_a_password_given_in_clear_is_right_or_wrong(accounts):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic"), PASSWORD)
    assert await login(accounts) == ACCEPTED
    assert await login(accounts, "Secret-124") == REFUSED


async def test_an_unknown_name_and_a_wrong_password_are_told_alike(accounts):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic"), PASSWORD)
    assert await login(accounts, name="dtstest-other") == AuthFailure(
        "Authentication failed: Invalid username or password, username:dtstest-other"
    )
    assert await login(accounts, name="dtstest") == AuthFailure(
        "Authentication failed: Invalid username or password, username:dtstest"
    )


async def test_what_was_not_sent_is_said(accounts):
    assert await login(accounts, name="") == AuthFailure("Authentication failed: username not specified")
    assert await login(accounts, "") == AuthFailure("Authentication failed: password not specified")


async def test_no_password_is_kept(accounts):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic", quick_verifier()), None)
    accounts.put(Account("other", "dtsother", "topic"), "Other-Secret-1")
    assert await login(accounts) == ACCEPTED
    kept = repr(vars(accounts))
    assert "dtsanalytics01" in kept
    assert PASSWORD not in kept
    assert "Other-Secret-1" not in kept


async def test_a_success_is_remembered_and_not_verified_again(accounts):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic", quick_verifier()))
    assert await login(accounts) == ACCEPTED
    assert await login(accounts) == ACCEPTED
    assert len(Counting.threads) == 1


async def test_verifying_happens_off_the_loop(accounts):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic", quick_verifier()))
    await login(accounts)
    assert Counting.threads[0].startswith("password")


async def test_a_failure_is_not_remembered_as_a_success(accounts):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic", quick_verifier()))
    assert await login(accounts, "wrong") == REFUSED
    assert await login(accounts, "wrong") == REFUSED
    assert len(Counting.threads) == 2


async def test_an_unknown_name_costs_a_verification_where_others_do(accounts, monkeypatch):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic", quick_verifier()))
    monkeypatch.setattr("broker.accounts.SCRYPT_LOG2_N", 1)
    asked: list[str] = []

    def matches(verifier: Verifier, password: str) -> bool:
        asked.append(password)
        return False

    monkeypatch.setattr(Verifier, "matches", matches)
    await login(accounts, name="nobody-dtsx")
    assert asked == [PASSWORD]


async def test_a_new_password_ends_the_old_one(accounts):
    account = Account("dtstest", "dtsanalytics01", "topic")
    accounts.put(account, PASSWORD)
    assert await login(accounts) == ACCEPTED
    accounts.put(account, "Changed-456")
    assert await login(accounts) == REFUSED
    assert await login(accounts, "Changed-456") == ACCEPTED


async def test_a_removed_group_cannot_log_in(accounts):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic"), PASSWORD)
    assert accounts.group_ids == {"dtsanalytics01"}
    accounts.remove("dtsanalytics01")
    assert accounts.group_ids == set()
    assert await login(accounts) == REFUSED


async def test_an_account_removed_while_its_password_is_verified_cannot_log_in(accounts):
    account = Account("dtstest", "dtsanalytics01", "topic", quick_verifier())
    accounts.put(account)

    async def verify_slowly(verifier, password, origin):
        accounts.remove("dtsanalytics01")
        return True

    accounts._verify = verify_slowly
    assert await login(accounts) == REFUSED
    assert accounts._remembered == {}


async def test_failures_make_each_attempt_wait_and_too_many_are_turned_away_unseen(accounts, timers):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic"), PASSWORD)
    for _ in range(NAME_LIMIT.failures_free):
        assert await login(accounts, "wrong-password") == REFUSED
    waiting = [asyncio.ensure_future(login(accounts)) for _ in range(NAME_LIMIT.waiters_max)]
    await asyncio.sleep(0)
    turned_away = await login(accounts)
    assert turned_away == AuthFailure(f"too many logins of {LOGIN} or from {HERE} wait already", is_final=False)
    timers.advance(BRAKE_DELAY_MS - 1)
    await asyncio.sleep(0)
    assert not any(attempt.done() for attempt in waiting)
    timers.advance(1)
    assert await asyncio.gather(*waiting) == [ACCEPTED] * NAME_LIMIT.waiters_max


async def test_no_thread_is_taken_before_the_brake_lets_go(accounts, timers):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic", quick_verifier()))
    for _ in range(NAME_LIMIT.failures_free):
        assert await login(accounts, "wrong-password") == REFUSED
    looked_at = len(Counting.threads)
    attempt = asyncio.ensure_future(login(accounts))
    await asyncio.sleep(0)
    timers.advance(BRAKE_DELAY_MS - 1)
    await asyncio.sleep(0)
    assert len(Counting.threads) == looked_at
    timers.advance(1)
    assert await attempt == ACCEPTED
    assert len(Counting.threads) == looked_at + 1


class Stuck(Verifier):
    """A verifier whose answer waits for the test."""

    gate: ClassVar[threading.Event]

    def matches(self, password: str) -> bool:
        self.gate.wait(20)
        return password == PASSWORD


async def test_the_threads_are_for_everybody_and_what_finds_none_is_turned_away_unseen(accounts):
    Stuck.gate = threading.Event()
    accounts.put(Account("dtstest", "dtsanalytics01", "topic", Stuck(*quick_verifier())))
    attempts = {
        origin: [asyncio.ensure_future(login(accounts, origin=origin)) for _ in range(VERIFY_WAITERS_PER_ORIGIN_MAX)]
        for origin in map(str, range(VERIFY_WAITERS_MAX // VERIFY_WAITERS_PER_ORIGIN_MAX))
    }
    await asyncio.sleep(0)
    for origin in ("0", "another"):
        assert (await login(accounts, origin=origin)).is_final is False
    Stuck.gate.set()
    for of_origin in attempts.values():
        assert await asyncio.gather(*of_origin) == [ACCEPTED] * VERIFY_WAITERS_PER_ORIGIN_MAX
    assert accounts._verifying == {}


async def test_one_origin_has_its_share_of_the_threads_only(accounts):
    Stuck.gate = threading.Event()
    accounts.put(Account("dtstest", "dtsanalytics01", "topic", Stuck(*quick_verifier())))
    guesses = [
        asyncio.ensure_future(login(accounts, "guess-123", origin="guesser"))
        for _ in range(VERIFY_WAITERS_PER_ORIGIN_MAX)
    ]
    await asyncio.sleep(0)
    assert (await login(accounts, origin="guesser")).is_final is False
    rightful = asyncio.ensure_future(login(accounts))
    await asyncio.sleep(0)
    Stuck.gate.set()
    assert await rightful == ACCEPTED
    assert await asyncio.gather(*guesses) == [REFUSED] * VERIFY_WAITERS_PER_ORIGIN_MAX


async def test_guesses_that_do_not_wait_for_their_answer_are_braked_too(accounts, timers):
    Stuck.gate = threading.Event()
    accounts.put(Account("dtstest", "dtsanalytics01", "topic", Stuck(*quick_verifier())))
    for _ in range(NAME_LIMIT.failures_free):
        guess = asyncio.ensure_future(login(accounts, "guess-123"))
        await asyncio.sleep(0)
        guess.cancel()
        with pytest.raises(asyncio.CancelledError):
            await guess
    Stuck.gate.set()
    rightful = asyncio.ensure_future(login(accounts))
    await asyncio.sleep(0)
    assert timers.pending == 1
    timers.advance(BRAKE_DELAY_MS)
    assert await rightful == ACCEPTED


async def test_putting_the_same_again_changes_nothing_and_keeps_the_success(accounts):
    account = Account("dtstest", "dtsanalytics01", "topic", quick_verifier())
    assert accounts.put(account)
    assert await login(accounts) == ACCEPTED
    assert not accounts.put(account._replace(connections_max=3))
    assert await login(accounts) == Principal(LOGIN, "dtsanalytics01", frozenset({"topic"}), connections_max=3)
    assert len(Counting.threads) == 1
    in_clear = Account("dtstest", "dtsother", "topic")
    assert accounts.put(in_clear, PASSWORD)
    assert not accounts.put(in_clear, PASSWORD)
    assert accounts.put(in_clear, PASSWORD + "!")


async def test_what_changes_is_dropped_from_the_memory_of_successes(accounts):
    account = Account("dtstest", "dtsanalytics01", "topic", quick_verifier())
    accounts.put(account)
    assert await login(accounts) == ACCEPTED
    assert set(accounts._remembered) == {LOGIN}
    assert accounts.put(account._replace(verifier=quick_verifier("Changed-456")))
    assert accounts._remembered == {}
    assert await login(accounts) == REFUSED


async def test_a_group_with_a_new_user_name_loses_the_old_one(accounts):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic"), PASSWORD)
    assert accounts.put(Account("renamed", "dtsanalytics01", "topic"), PASSWORD)
    assert await login(accounts) == REFUSED
    assert isinstance(await login(accounts, name="renamed-dtsanalytics01"), Principal)
    assert accounts.group_ids == {"dtsanalytics01"}


def test_a_verifier_survives_its_text_form():
    verifier = Verifier.create(PASSWORD)
    assert str(verifier).startswith("$scrypt$ln=14,r=8,p=1$")
    again = Verifier.parse(str(verifier))
    assert again == verifier
    assert again.matches(PASSWORD)
    assert not again.matches(PASSWORD + "x")


def test_a_verifier_of_another_implementation_is_read():
    # RFC 7914, section 12, third vector: N 16384, r 8, p 1, "pleaseletmein", salt "SodiumChloride".
    digest = bytes.fromhex(
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
    )
    assert Verifier(14, 8, 1, b"SodiumChloride", digest).matches("pleaseletmein")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "$scrypt$ln=14,r=8,p=1$c2FsdHNhbHQ",
        "$scrypt$ln=20,r=8,p=1$c2FsdHNhbHQ$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh",
        "$scrypt$ln=14,r=9,p=1$c2FsdHNhbHQ$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh",
        "$argon2id$v=19$m=1,t=1,p=1$c2FsdHNhbHQ$YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh",
    ],
)
def test_what_is_no_verifier(text):
    with pytest.raises(ValueError, match="scrypt"):
        Verifier.parse(text)


def test_a_verifier_does_not_show_its_hash():
    assert repr(quick_verifier()) == "<scrypt verifier>"
