"""kill -9 in the middle of a load: nothing missing, doubled or reordered; no half transaction, no changed offset.

The server is killed (or stopped in order) while a real MySQL commits small and large transactions, and started again on
the same data directory. All the while a consumer polls and remembers every byte. At the end the stream must equal an
independent reading of the binlog, transaction by transaction. A kill comes while records are served, at a random moment
of the load, or while the server starts and recovers. A seed and a number of kills make a run; `make test` has a short
one, `make torture` a thousand over channels of several settings (`BINWIRE_KILLS`, `BINWIRE_SEED`).
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.decoded import Record, decode_batches, decode_value, has_right_checksum, split_batches
from tests.live_server import LiveServer
from tests.torture.load import LARGE_TRANSACTION, Load
from tests.torture.scene import TIMEOUT_S, USUAL_SETTINGS, Scene

_KILLS_SHORT = 5
_KILLS_LONG = 1000
_ORDERLY_SHARE = 0.1
_START_UP_SHARE = 0.25
_START_UP_S = 1.2
"""Longer than a start takes: kills hit every part of it, and what follows."""
_RECORDS_BETWEEN_KILLS = (1, 800)
_KILL_DELAY_MAX_S = 0.15
_LARGE_TRANSACTION_ROWS = 40_000
_UNFINISHED_BYTES = 2 << 20
_MUCH_BYTES = 16 << 20
"""Twice of what retention keeps."""

_SETTINGS = {
    "usual": USUAL_SETTINGS,
    "small-segments": 'segment_size = "64KiB"\nflush_interval = "50ms"',
    "before-visible": 'segment_size = "1MiB"\nflush = "before-visible"',
    "retention": 'segment_size = "256KiB"\nretention_size = "8MiB"\nflush_interval = "100ms"',
    "compressed": 'segment_size = "128KiB"\ncompression = "lz4"',
}

ServerFactory = Callable[..., LiveServer]


def test_few_kills(server_factory: ServerFactory, tmp_path: Path) -> None:
    _restart_again_and_again(Scene(server_factory, tmp_path), _KILLS_SHORT, seed=1)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("settings", _SETTINGS)
def test_many_kills(settings: str, server_factory: ServerFactory, tmp_path: Path) -> None:
    kills = -(-int(os.environ.get("BINWIRE_KILLS", _KILLS_LONG)) // len(_SETTINGS))
    seed = int(os.environ.get("BINWIRE_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"BINWIRE_SEED={seed} {settings}: {kills} kills")
    scene = Scene(server_factory, tmp_path, _SETTINGS[settings])
    _restart_again_and_again(scene, kills, seed)
    if settings == "retention" and scene.watcher.served.size_bytes > _MUCH_BYTES:
        assert int(scene.segments()[0].stem) > 0, "retention deleted nothing"


def _restart_again_and_again(scene: Scene, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    load = Load(scene.mysql, scene.database, seed)
    with scene:
        load.start()
        while scene.kills < kills:
            more = chance.randint(*_RECORDS_BETWEEN_KILLS)
            load.allow(more)
            scene.watcher.wait_for_records(scene.watcher.end_offset + more, TIMEOUT_S)
            _wait_for_nothing(chance.uniform(0, _KILL_DELAY_MAX_S))
            scene.end(kill=chance.random() > _ORDERLY_SHARE)
            while chance.random() < _START_UP_SHARE:
                scene.start_and_kill(lambda: _wait_for_nothing(chance.uniform(0, _START_UP_S)))
            scene.start()
        load.allow(1)
        scene.watcher.wait_for_records(scene.watcher.end_offset + 1, TIMEOUT_S)
        load.stop()
        scene.verify()
    print(
        f"{scene.kills} kills, {scene.starts} starts, {scene.compared} of {load.transactions} transactions compared, "
        f"{scene.watcher.end_offset} records"
    )


def _wait_for_nothing(seconds: float) -> None:
    """A moment that nothing in the server is in step with."""
    threading.Event().wait(seconds)


@pytest.mark.parametrize("kill", [True, False], ids=["kill", "stop"])
def test_end_inside_a_large_transaction(kill: bool, server_factory: ServerFactory, tmp_path: Path) -> None:
    """Megabytes of a transaction lie in several segments, none of it was visible, and it comes again as a whole."""
    with Scene(server_factory, tmp_path) as scene:
        visible = scene.watcher.end_offset
        wanted = sum(map(len, _written_batches(scene))) + _UNFINISHED_BYTES
        commit = threading.Thread(target=_commit_large_transaction, args=(scene,))
        commit.start()
        scene.server.wait_for(lambda: sum(map(len, _written_batches(scene))) >= wanted, "inside the transaction")
        scene.end(kill=kill)
        if kill:
            assert decode_value(_last_record(_written_batches(scene)).value)["operation"] == "INSERT", (
                "the kill came behind the transaction"
            )
            assert len(scene.segments()) > 1
        scene.start()
        commit.join()
        scene.verify()
    assert scene.watcher.end_offset > visible + _LARGE_TRANSACTION_ROWS


def _commit_large_transaction(scene: Scene) -> None:
    with scene.mysql.connect(database=scene.database) as connection, connection.cursor() as cursor:
        cursor.execute("SET cte_max_recursion_depth = %s", (_LARGE_TRANSACTION_ROWS,))
        cursor.execute(LARGE_TRANSACTION, (_LARGE_TRANSACTION_ROWS,))


def _last_record(batches: list[bytes]) -> Record:
    """The last record of the last whole batch: a kill may leave the one that was being written in part."""
    if has_right_checksum(batches[-1]):
        return decode_batches(batches[-1])[-1]
    return decode_batches(batches[-2])[-1]


def _written_batches(scene: Scene) -> list[bytes]:
    """The record batches in the log's files, visible or not."""
    return [batch for segment in scene.segments() for batch in split_batches(segment.read_bytes())]
