"""An hour of ordinary work: half of what the machine can do, twenty clients of all families, one server process.

First it is measured how fast rows reach the slowest of the clients; then rows are written at half of that rate for
`BINWIRE_SOAK_MINUTES` (60). Held is: the server's private memory, descriptors and threads are as flat in the last third
as in the second; no client falls behind more and more; and in the end every client was served every record once, in
order, the same bytes as the watcher, whose stream `Scene.verify` compares with an independent reading of the binlog.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import statistics
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest

from tests.interop.client_matrix import CLIENTS
from tests.tools.workplace import ToolError
from tests.torture.follower import Digest, Follower
from tests.torture.load import LARGE_TRANSACTION
from tests.torture.memory import private_bytes
from tests.torture.scene import GROUP_ID, PASSWORD, TIMEOUT_S, TOPIC, USERNAME, Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.interop.client import Client
    from tests.live_server import LiveServer

_MINUTES: Final = 60.0
_FOLLOWERS: Final = 20
_KINDS: Final = (
    "java-0.10.2.2", "java-1.1.1", "confluent-kafka-2.16.1-librdkafka-2.16.0", "kafka-python-2.0.2", "aiokafka-0.14.0",
    "sarama-1.61.1-V1_0_0_0", "franz-go-1.22.2", "kafkajs-2.2.4", "c-librdkafka-0.11.6", "kafka-python-2.3.3",
)  # fmt: skip
"""Clients, each of them once in a group and once by assignment; one that cannot be had here is replaced by the rest."""
_MEASURED_ROWS: Final = 20_000
_TICK_S: Final = 0.05
_ROWS_PER_TRANSACTION_MAX: Final = 500
_LOOK_S: Final = 2.0
_GROWTH: Final = 1.10
_GROWTH_BYTES: Final = 4 << 20
_LAG_ALWAYS_ALLOWED_S: Final = 5.0


class Look(NamedTuple):
    """The server and the clients at one moment."""

    private_bytes: int
    descriptors: int
    threads: int
    lags: tuple[int, ...]
    """Records between what was served to the watcher and to each client."""


class PacedWriter(threading.Thread):
    """Inserts rows at a steady rate until it is ended, a transaction each tick, several when the rate asks for it."""

    def __init__(self, scene: Scene, rows_per_s: float) -> None:
        super().__init__(name="writer", daemon=True)
        self.rows = 0
        self._failure: BaseException | None = None
        self._ending = threading.Event()
        self._rows_per_s = rows_per_s
        self._connection = scene.mysql.connect(database=scene.database, autocommit=True)

    def run(self) -> None:
        start = time.monotonic()
        try:
            with self._connection.cursor() as cursor:
                while not self._ending.wait(_TICK_S):
                    due = int((time.monotonic() - start) * self._rows_per_s)
                    while self.rows < due and not self._ending.is_set():
                        count = min(due - self.rows, _ROWS_PER_TRANSACTION_MAX)
                        cursor.execute(LARGE_TRANSACTION, (count,))
                        self.rows += count
        except BaseException as failure:
            self._failure = failure

    def end(self) -> None:
        self._ending.set()
        self.join()
        self._connection.close()
        if self._failure is not None:
            raise self._failure


def _had() -> list[Client]:
    """The clients of `_KINDS` that can be had here."""
    found, by_name = [], {client.name: client for client in CLIENTS}
    for name in _KINDS:
        try:
            by_name[name].command()
        except ToolError as error:
            print(f"without {name}: {error}")
        else:
            found.append(by_name[name])
    return found


def _settings(group_ids: Sequence[str]) -> str:
    """Segments that close often, and a group for each client beside that of the watcher."""
    groups = "".join(
        f'\n[[channels.groups]]\nname = "{group_id}"\nid = "{group_id}"\n'
        f'username = "{USERNAME}"\npassword = "{PASSWORD}"'
        for group_id in group_ids
    )
    return f'segment_size = "16MiB"{groups}'


@contextlib.contextmanager
def _following(scene: Scene, clients: Sequence[Client], group_ids: Sequence[str], folder: Path) -> Any:
    """Twenty clients that follow the topic, each in a group of its own."""
    kinds = itertools.islice(itertools.cycle(itertools.product(("group", "assign"), clients)), _FOLLOWERS)
    followers: list[Follower] = []
    with contextlib.ExitStack() as stack:
        for number, ((scenario, client), group_id) in enumerate(zip(kinds, group_ids, strict=True)):
            login = {
                "bootstrap": scene.server.bootstrap(),
                "topic": TOPIC,
                "group": group_id,
                "username": f"{USERNAME}-{group_id}",
                "account": USERNAME,
                "password": PASSWORD,
                "client_id": f"soak-{number}",
                "session_timeout_ms": 30_000,
                "security": "SASL_PLAINTEXT",
            }
            followers.append(Follower(client, scenario, login, folder / f"client-{number}"))
            stack.callback(followers[-1].end)
            followers[-1].start()
        yield followers


def _wait_until_all_have(followers: Sequence[Follower], count: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while any(follower.digest.next_offset < count for follower in followers):
        for follower in followers:
            assert follower.failure is None, f"{follower.name}: {follower.failure}"
        behind = {follower.name: follower.digest.next_offset for follower in followers}
        assert time.monotonic() < deadline, f"{count} records are not served after {timeout_s:.0f} s: {behind}"
        time.sleep(_TICK_S)


def _rate(scene: Scene, followers: Sequence[Follower]) -> float:
    """Rows a second from the source to the slowest of the clients, when they come as fast as they can."""
    _wait_until_all_have(followers, scene.watcher.end_offset, TIMEOUT_S)  # all have started
    start, before = time.monotonic(), scene.watcher.end_offset
    for _ in range(_MEASURED_ROWS // _ROWS_PER_TRANSACTION_MAX):
        scene.mysql.execute(LARGE_TRANSACTION, (_ROWS_PER_TRANSACTION_MAX,), database=scene.database)
    _wait_until_all_have(followers, before + _MEASURED_ROWS, TIMEOUT_S)
    return _MEASURED_ROWS / (time.monotonic() - start)


def _look(scene: Scene, followers: Sequence[Follower]) -> Look:
    process = Path(f"/proc/{scene.server.pid}")
    served = scene.watcher.end_offset
    return Look(
        private_bytes(scene.server.pid),
        len(list((process / "fd").iterdir())),
        len(list((process / "task").iterdir())),
        tuple(max(0, served - follower.digest.next_offset) for follower in followers),
    )


def _check(looks: Sequence[Look], followers: Sequence[Follower], records_per_s: float) -> None:
    third = len(looks) // 3
    earlier, later = looks[third : 2 * third], looks[2 * third :]
    highest = max(look.private_bytes for look in earlier)
    assert max(look.private_bytes for look in later) <= highest * _GROWTH + _GROWTH_BYTES, "private memory grows"
    # A segment that is opened or closed at that moment.
    assert max(look.threads for look in later) <= max(look.threads for look in earlier) + 1
    assert max(look.descriptors for look in later) <= max(look.descriptors for look in earlier) + 4
    for number, follower in enumerate(followers):
        before, after = (statistics.median(look.lags[number] for look in part) for part in (earlier, later))
        assert after <= max(2 * before, _LAG_ALWAYS_ALLOWED_S * records_per_s), f"{follower.name} falls behind"


def _compare(followers: Sequence[Follower], scene: Scene) -> None:
    """What each client was served, against the watcher's stream up to the same offset."""
    ends = {follower.digest.next_offset for follower in followers}
    expected, marks = {}, Digest()
    for record in scene.watcher.served.records():
        marks.take(record)
        if marks.next_offset in ends:
            expected[marks.next_offset] = marks.checksum
    for follower in followers:
        digest = follower.digest
        pairs = zip(digest.marks, marks.marks, strict=False)
        different = next((number for number, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
        assert different is None, f"{follower.name} was served other values from about offset {different}000 on"
        assert digest.checksum == expected[digest.next_offset], f"{follower.name} was served another end"


@pytest.mark.torture
@pytest.mark.timeout(4 * 3600)
@pytest.mark.server("mysql97")
def test_an_hour_at_half_the_rate_with_twenty_clients(
    server_factory: Callable[..., LiveServer], tmp_path: Path
) -> None:
    minutes = float(os.environ.get("BINWIRE_SOAK_MINUTES") or _MINUTES)
    clients = _had()
    assert clients, "no client can be had here"
    group_ids = [GROUP_ID, *(f"dtssoak{number:02d}" for number in range(1, _FOLLOWERS))]
    with Scene(server_factory, tmp_path, _settings(group_ids[1:])) as scene:
        with _following(scene, clients, group_ids, tmp_path) as followers:
            rows_per_s = _rate(scene, followers) / 2
            print(f"\n{2 * rows_per_s:,.0f} rows/s at most; {minutes:g} minutes at {rows_per_s:,.0f}", flush=True)
            writer = PacedWriter(scene, rows_per_s)
            writer.start()
            looks = []
            ends = time.monotonic() + minutes * 60
            while time.monotonic() < ends:
                time.sleep(_LOOK_S)
                looks.append(_look(scene, followers))
                assert all(follower.failure is None for follower in followers), [f.failure for f in followers]
            writer.end()
            _check(looks, followers, rows_per_s)
            _wait_until_all_have(followers, scene.watcher.end_offset, TIMEOUT_S)
        scene.verify()
        _compare(followers, scene)
        private = [look.private_bytes / 1e6 for look in looks]
        tenths = private[:: max(1, len(private) // 10)]
        print(
            f"{writer.rows:,} rows, {scene.watcher.end_offset:,} records to {len(followers)} clients of {len(clients)} "
            f"kinds; private memory over time {', '.join(f'{megabytes:.0f}' for megabytes in tenths)} MB; the "
            f"largest lag {max(max(look.lags) for look in looks):,} records"
        )
