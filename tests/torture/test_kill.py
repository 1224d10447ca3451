"""kill -9 in the middle of a load: nothing missing, doubled or reordered; no half transaction, no changed offset.

The server is killed (or stopped in order) while a real MySQL commits small and large transactions, and started again on
the same data directory. All the while a consumer polls and remembers every byte. At the end the stream must equal an
independent reading of the binlog, transaction by transaction. A seed and a number of restarts make a run; `make test`
has a short one, `make torture` long ones (`BINWIRE_KILLS`, `BINWIRE_SEED`).
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.decoded import decode_batches, decode_value, split_batches
from tests.live_server import LiveServer
from tests.torture.load import LARGE_TRANSACTION, Load
from tests.torture.scene import TIMEOUT_S, Scene

_KILLS_SHORT = 4
_KILLS_LONG = 40
_ORDERLY_SHARE = 0.2
_RECORDS_BETWEEN_KILLS = (500, 6_000)
_KILL_DELAY_MAX_S = 0.15
_LARGE_TRANSACTION_ROWS = 40_000
_UNFINISHED_BYTES = 2 << 20

ServerFactory = Callable[..., LiveServer]


def test_few_kills(server_factory: ServerFactory, tmp_path: Path) -> None:
    _restart_again_and_again(Scene(server_factory, tmp_path), _KILLS_SHORT, seed=1)


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_many_kills(server_factory: ServerFactory, tmp_path: Path) -> None:
    kills = int(os.environ.get("BINWIRE_KILLS", _KILLS_LONG))
    seed = int(os.environ.get("BINWIRE_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"BINWIRE_KILLS={kills} BINWIRE_SEED={seed}")
    _restart_again_and_again(Scene(server_factory, tmp_path), kills, seed)


def _restart_again_and_again(scene: Scene, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    load = Load(scene.mysql, scene.database, seed)
    with scene:
        load.start()
        for _ in range(kills):
            more = chance.randint(*_RECORDS_BETWEEN_KILLS)
            scene.watcher.wait_for_records(len(scene.watcher.records) + more, TIMEOUT_S)
            # Not waiting for anything: a moment that nothing in the server is in step with.
            threading.Event().wait(chance.uniform(0, _KILL_DELAY_MAX_S))
            scene.end(kill=chance.random() > _ORDERLY_SHARE)
            scene.start()
        scene.watcher.wait_for_records(len(scene.watcher.records) + 1, TIMEOUT_S)
        load.stop()
        scene.verify()


@pytest.mark.parametrize("kill", [True, False], ids=["kill", "stop"])
def test_end_inside_a_large_transaction(kill: bool, server_factory: ServerFactory, tmp_path: Path) -> None:
    """Megabytes of a transaction lie in several segments, none of it was visible, and it comes again as a whole."""
    with Scene(server_factory, tmp_path) as scene:
        visible = len(scene.watcher.records)
        wanted = sum(map(len, _written_batches(scene))) + _UNFINISHED_BYTES
        commit = threading.Thread(target=_commit_large_transaction, args=(scene,))
        commit.start()
        scene.server.wait_for(lambda: sum(map(len, _written_batches(scene))) >= wanted, "inside the transaction")
        scene.end(kill=kill)
        if kill:
            (*_, last) = decode_batches(_written_batches(scene)[-1])
            assert decode_value(last.value)["operation"] == "INSERT", "the kill came behind the transaction"
            assert len(scene.segments()) > 1
        scene.start()
        commit.join()
        scene.verify()
    assert len(scene.watcher.records) > visible + _LARGE_TRANSACTION_ROWS


def _commit_large_transaction(scene: Scene) -> None:
    with scene.mysql.connect(database=scene.database) as connection, connection.cursor() as cursor:
        cursor.execute("SET cte_max_recursion_depth = %s", (_LARGE_TRANSACTION_ROWS,))
        cursor.execute(LARGE_TRANSACTION, (_LARGE_TRANSACTION_ROWS,))


def _written_batches(scene: Scene) -> list[bytes]:
    """The record batches in the log's files, visible or not."""
    return [batch for segment in scene.segments() for batch in split_batches(segment.read_bytes())]
