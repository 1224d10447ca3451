"""The client matrix: one test per column, for every client whose public API can express it (columns: `client.py`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bench.client import Group, GroupMember, RawClient
from tests.decoded import Record
from tests.interop.client import Client
from tests.interop.client_matrix import CLIENTS, cells, clients_of
from tests.interop.client_process import ClientError, ClientProcess
from tests.interop.conftest import ClientProcesses, Session
from tests.interop.known_log import SHORT_SESSION_TIMEOUT_MS, KnownLog

_AMPLE_BYTES = 8 << 20  # more than the known log's largest record
_REFUSED_WITHIN_MS = 5_000
_READ_ON = 200  # records behind a time that was looked up
_METADATA = "1709284507|前半, half"
_ACTIVE, _STANDBY = "a-active", "b-standby"
_WATCHED_S = 60.0
_POLL_S = 0.02


@pytest.mark.parametrize("client", clients_of("plain"), indirect=True)
def test_plain(client: Client, session: Session, known_log: KnownLog) -> None:
    _reads(client, session, known_log, "SASL_PLAINTEXT")


@pytest.mark.parametrize("client", clients_of("tls"), indirect=True)
def test_tls(client: Client, session: Session, known_log: KnownLog) -> None:
    _reads(client, session, known_log, "SASL_SSL")


def _reads(client: Client, session: Session, log: KnownLog, security: str) -> None:
    wanted = log.records[:5]
    outcome = session.run("assign", security=security, count=len(wanted), **_from(wanted[0]))
    assert outcome.records == client.by_assignment(wanted)


def _from(record: Record) -> dict[str, Any]:
    """Where to begin: at its offset, or for a client that knows times only, at its second."""
    return {"offset": record.offset, "timestamp": record.timestamp_ms // 1000}


@pytest.mark.parametrize("client", clients_of("topics"), indirect=True)
def test_topics(client: Client, session: Session, known_log: KnownLog) -> None:
    assert session.run("topics").values == {"topics": [known_log.topic]}


@pytest.mark.parametrize("client", clients_of("subscribe"), indirect=True)
def test_subscribe(client: Client, session: Session, known_log: KnownLog) -> None:
    records = known_log.records
    outcome = session.run("group", count=len(records), partition_bytes=_AMPLE_BYTES, **_from(records[0]))
    assert outcome.records == records


@pytest.mark.parametrize("client", clients_of("assign"), indirect=True)
def test_assign(client: Client, session: Session, known_log: KnownLog) -> None:
    """To the end, from the first record of a time in the middle, so that a client that knows times only can do it."""
    wanted = known_log.from_time(known_log.interesting_times_ms[2])
    outcome = session.run("assign", count=len(wanted), partition_bytes=_AMPLE_BYTES, **_from(wanted[0]))
    assert outcome.records == client.by_assignment(wanted)


@pytest.mark.parametrize("client", clients_of("commit"), indirect=True)
def test_commit(client: Client, session: Session, known_log: KnownLog) -> None:
    """Twice: also metadata that is empty replaces what was there."""
    records = known_log.records
    session.run("group", purpose="commit", count=7, metadata=_METADATA)
    committed = session.run("committed", purpose="commit")
    assert committed.values == {"offset": records[6].offset + 1, "metadata": _METADATA}
    session.run("group", purpose="commit", count=3, metadata="")
    assert session.run("committed", purpose="commit").values == {"offset": records[9].offset + 1, "metadata": ""}


@pytest.mark.parametrize("client", clients_of("resume"), indirect=True)
def test_resume(client: Client, session: Session, known_log: KnownLog) -> None:
    records = known_log.records
    half = len(records) // 2
    begin: dict[str, Any] = {"partition_bytes": _AMPLE_BYTES, "metadata": _METADATA, **_from(records[0])}
    assert session.run("group", purpose="resume", count=half, **begin).records == records[:half]
    left = _behind(client, known_log, half)
    assert session.run("group", purpose="resume", count=len(left), **begin).records == left


def _behind(client: Client, log: KnownLog, count: int) -> list[Record]:
    """What is left to a group that has read and committed ``count`` records."""
    records = log.records
    return log.from_time(records[count - 1].timestamp_ms) if client.resumes_by_time else records[count:]


@pytest.mark.parametrize("client", clients_of("seek_seconds"), indirect=True)
def test_seek_seconds(client: Client, session: Session, known_log: KnownLog) -> None:
    for asked_ms in known_log.interesting_times_ms:
        _seeks(client, session, known_log.from_time(asked_ms), asked_ms // 1000, unit_ms=1000)


@pytest.mark.parametrize("client", clients_of("seek_milliseconds"), indirect=True)
def test_seek_milliseconds(client: Client, session: Session, known_log: KnownLog) -> None:
    for asked_ms in known_log.interesting_times_ms:
        _seeks(client, session, known_log.from_time(asked_ms), asked_ms, unit_ms=1)


def _seeks(client: Client, session: Session, expected: list[Record], timestamp: int, *, unit_ms: int) -> None:
    wanted = expected[:_READ_ON]
    outcome = session.run("assign_time", timestamp=timestamp, count=len(wanted), partition_bytes=_AMPLE_BYTES)
    assert outcome.records == wanted
    answer = {"offset": wanted[0].offset, "timestamp": wanted[0].timestamp_ms // unit_ms}
    for shown in client.lookup_answer:
        assert outcome.values[shown] == answer[shown], shown


@pytest.fixture
def active(client: Client, client_processes: ClientProcesses) -> Iterator[ClientProcess]:
    """A second process of the client, there to be killed."""
    process = client_processes.another(client)
    yield process
    process.kill()
    process.close()


@pytest.mark.parametrize("client", clients_of("takeover"), indirect=True)
def test_takeover(client: Client, session: Session, known_log: KnownLog, active: ClientProcess) -> None:
    """Client ids make the active one's member id the smaller: assignors give the partition to the first."""
    records = known_log.records
    half = len(records) // 2
    left = _behind(client, known_log, half)
    login = known_log.login(client.group_id("takeover"))
    common: dict[str, Any] = {
        "session_timeout_ms": SHORT_SESSION_TIMEOUT_MS,
        "partition_bytes": _AMPLE_BYTES,
        "metadata": _METADATA,
        **_from(records[0]),
    }
    held = active.run("hold", **{**login, **common, "client_id": _ACTIVE, "count": half})
    assert held.records == records[:half]
    with ThreadPoolExecutor(1) as pool, known_log.raw_client(client.group_id("takeover")) as raw:
        standby = pool.submit(session.run, "group", purpose="takeover", client_id=_STANDBY, count=len(left), **common)
        try:
            _wait_for_a_standby(raw, client.group_id("takeover"))
        finally:
            active.kill()
        assert standby.result().records == left


def _wait_for_a_standby(raw: RawClient, group_id: str) -> None:
    """Until both are members and the one that was there first has the partition again."""
    wanted = {GroupMember(_ACTIVE, holds_partition=True), GroupMember(_STANDBY, holds_partition=False)}
    deadline = time.monotonic() + _WATCHED_S
    group = Group("", ())
    while time.monotonic() < deadline:
        group = raw.group(group_id)
        if group.state == "Stable" and set(group.members) == wanted:
            return
        time.sleep(_POLL_S)
    pytest.fail(f"there is no standby behind an active consumer, but {group}")


@pytest.mark.parametrize("client", clients_of("wrong_password"), indirect=True)
def test_wrong_password(client: Client, session: Session, known_log: KnownLog) -> None:
    first = known_log.records[0]
    with pytest.raises(ClientError, match=client.wrong_password):
        session.run("group", count=1, password="Wr0ng-secret", deadline_ms=_REFUSED_WITHIN_MS, **_from(first))
    outcome = session.run("assign", count=1, **_from(first))
    assert outcome.records == client.by_assignment([first]), "the right password is refused after it"


@pytest.mark.parametrize("client", cells([c for c in CLIENTS if c.refuses], pytest.mark.cell()), indirect=True)
def test_refuses(
    client: Client, session: Session, known_log: KnownLog, record_property: Callable[[str, object], None]
) -> None:
    """All columns of a client that refuses a broker of this age on its own account."""
    assert client.refuses is not None
    with pytest.raises(ClientError, match=client.refuses) as refusal:
        session.run("assign", count=1, **_from(known_log.records[0]))
    record_property("cell", f"refused: {str(refusal.value).splitlines()[0]}")
