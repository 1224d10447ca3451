"""Logins: what is kept of a password, what a reconnect costs, and what guessing costs."""

from __future__ import annotations

import asyncio
import threading
from typing import ClassVar

import pytest

from broker.accounts import (
    BRAKE_DELAY_S,
    BRAKE_WAITERS_MAX,
    FAILURE_WINDOW_MS,
    FREE_FAILURES,
    Account,
    Accounts,
    Verifier,
)
from broker.listener import Address, Listener, Security
from broker.principal import AuthFailure, Principal
from tests.fakes import ManualClock

LISTENER = Listener("public", Address("127.0.0.1", 0), Security.SASL_PLAINTEXT)
LOGIN = "dtstest-dtsanalytics01"
PASSWORD = "Secret-123"
REFUSED = AuthFailure(f"Authentication failed: Invalid username or password, username:{LOGIN}")
ACCEPTED = Principal(username=LOGIN, group_id="dtsanalytics01", topics=frozenset({"topic"}))


class Sleeper:
    """Sleeps that end when the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.waiting: list[asyncio.Future[None]] = []

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        await future

    def wake_all(self) -> None:
        for future in self.waiting:
            future.set_result(None)
        self.waiting.clear()


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
def sleeper():
    return Sleeper()


@pytest.fixture
def accounts(clock, sleeper):
    accounts = Accounts(clock, sleeper)
    yield accounts
    accounts.close()


def quick_verifier(password: str = PASSWORD) -> Counting:
    """A verifier that costs microseconds; its form is that of a slow one."""
    from broker.accounts import _scrypt

    Counting.threads = []
    return Counting(1, 1, 1, b"salt" * 4, _scrypt(password, 1, 1, 1, b"salt" * 4, 32))


async def login(accounts, password=PASSWORD, name=LOGIN):
    return await accounts.authenticate(name, password, LISTENER)


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

    async def verify_slowly(verifier, password):
        accounts.remove("dtsanalytics01")
        return True

    accounts._verify = verify_slowly
    assert await login(accounts) == REFUSED
    assert accounts._remembered == {}


async def fail(accounts, times):
    for _ in range(times):
        assert await login(accounts, "wrong-password") == REFUSED


async def test_after_some_failures_each_attempt_waits(accounts, sleeper):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic"), PASSWORD)
    await fail(accounts, FREE_FAILURES)
    assert sleeper.asked == []
    attempt = asyncio.ensure_future(login(accounts))
    await asyncio.sleep(0)
    assert sleeper.asked == [BRAKE_DELAY_S]
    assert not attempt.done()
    sleeper.wake_all()
    assert await attempt == ACCEPTED


async def test_only_so_many_attempts_wait(accounts, sleeper):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic"), PASSWORD)
    await fail(accounts, FREE_FAILURES)
    waiting = [asyncio.ensure_future(login(accounts)) for _ in range(BRAKE_WAITERS_MAX)]
    await asyncio.sleep(0)
    assert await login(accounts) == REFUSED
    sleeper.wake_all()
    assert await asyncio.gather(*waiting) == [ACCEPTED] * BRAKE_WAITERS_MAX


async def test_the_brake_is_let_go_with_time_and_holds_only_that_name(accounts, sleeper, clock):
    accounts.put(Account("dtstest", "dtsanalytics01", "topic"), PASSWORD)
    accounts.put(Account("other", "dtsother", "topic"), PASSWORD)
    await fail(accounts, FREE_FAILURES)
    assert isinstance(await login(accounts, name="other-dtsother"), Principal)
    clock.advance(FAILURE_WINDOW_MS)
    assert await login(accounts) == ACCEPTED
    assert sleeper.asked == []


async def test_names_that_failed_are_forgotten_before_they_fill_the_memory(accounts, monkeypatch):
    monkeypatch.setattr("broker.accounts.BRAKED_NAMES_MAX", 3)
    for number in range(10):
        await login(accounts, name=f"u-{number}")
    assert len(accounts._brake._by_name) == 3


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
