"""Everything at once: a load of every type and kind of transaction under every fault, against what SELECT said of it.

A real server (MySQL 9.7 also a pair that fails over and back), a `binwire serve` process behind proxies that break
connections, a consumer that polls all the while. The process is killed, its connections are cut, its objects change,
the source is killed. At the end every row that was ever committed in a tracked table must stand in the topic once, in
the order of the commits, with the values SELECT showed, and nothing of other tables; and the tables rebuilt from the
records are the server's. `BINWIRE_SEED` repeats a run, `BINWIRE_STEPS` says how long it is.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
import socket
import threading
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import pytest

from storage.verify import verify as verify_log
from tests.capture.fault_proxy import Fault, FaultProxy, Way
from tests.capture.test_live_failover import OPTIONS, Pair
from tests.decoded import decode_value
from tests.server_process import ServerProcess
from tests.torture.mixture import SOMETIMES, TRACKED, UNTRACKED, Change, Expected, Image, Mixture
from tests.torture.scene import LOGIN, PASSWORD, TIMEOUT_S, TOPIC, configuration, read_everything_again
from tests.torture.served import Served
from tests.torture.watcher import NotYet, Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.live_server import LiveServer

_STEPS = 1500
_SETTINGS = ('segment_size = "1MiB"', 'segment_size = "64KiB"\nflush_interval = "50ms"', 'compression = "lz4"')


class Proxies:
    """A proxy before each server, in a thread of their own."""

    def __init__(self, servers: list[LiveServer]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._all = [FaultProxy(server.host, server.port) for server in servers]
        for proxy in self._all:
            self._wait(proxy.accept())

    def _wait(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    @property
    def hosts(self) -> str:
        return ",".join(f"127.0.0.1:{proxy.port}" for proxy in self._all)

    def break_all(self, way: Way, next_after_bytes: int) -> None:
        """Break what is open, and the next connection behind so many bytes unless that is 0."""
        for proxy in self._all:
            faults = iter([Fault(next_after_bytes, way)] if next_after_bytes else [])
            proxy.plan = lambda faults=faults: next(faults, None)  # type: ignore[misc]
            self._loop.call_soon_threadsafe(proxy.break_all, way)

    def close(self) -> None:
        for proxy in self._all:
            self._wait(proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Stage:
    """The capture's side: process, proxies and consumer, and what can go wrong with them."""

    def __init__(self, servers: list[LiveServer], folder: Path, chance: random.Random) -> None:
        self._chance = chance
        self._server = servers[0]
        self._proxies = Proxies(servers)
        file, position = servers[0].binlog_position()
        self._start = f"{file}:{position}"
        self._settings = chance.choice(_SETTINGS)
        self.process = ServerProcess(folder, self._configuration(TRACKED))
        self._address: tuple[str, int] | None = None
        self.watcher = Watcher(lambda: self._address, TOPIC, LOGIN, PASSWORD, Served(folder / "served"))
        self.faults = 0

    def __enter__(self) -> Self:
        self._run()
        self.watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self.process:
            self.watcher.end()
        self.watcher.served.close()
        self._proxies.close()

    def _run(self) -> None:
        self.process.start()
        self._address = self.process.address()

    def _configuration(self, *objects: str) -> str:
        account = self._server.url().partition("@")[0]
        settings = f'row_image = "any"\n{self._settings}'
        return configuration(f"{account}@{self._proxies.hosts}", objects, self._start, settings)

    def fault(self) -> None:
        """Kill the process or break its connections."""
        self.faults += 1
        if self._chance.random() < 0.5:
            self._address = None
            self.process.kill()
            while self._chance.random() < 0.2:
                self.process.launch()
                threading.Event().wait(self._chance.uniform(0, 1.2))
                self.process.kill()
            self._run()
        else:
            way = self._chance.choices((Way.RESET, Way.CLOSE, Way.STALL), (6, 6, 1))[0]
            self._proxies.break_all(way, self._chance.choice((0, 0, self._chance.randint(1, 40_000))))

    def track(self, *objects: str) -> None:
        """Change the objects in the configuration, and have it read again."""
        path = self.process.folder / "binwire.toml"
        data_directory = path.read_text(encoding="utf-8").partition("\n")[0]
        path.write_text(f"{data_directory}\n{self._configuration(*objects)}", encoding="utf-8")
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(TIMEOUT_S)
            control.connect(str(self.process.data_directory / "control.sock"))
            control.sendall(b'{"request": "reload"}\n')
            answer = json.loads(control.makefile("rb").readline())
        assert "reloaded" in answer, answer

    def wait_for(self, load: Mixture) -> None:
        """Until everything the load has committed was served."""
        text = uuid.uuid4().hex
        self.watcher.seek(text.encode())
        load.mark(text)
        self._until(lambda wait_s: self.watcher.wait_for_sought(wait_s))
        offset = self.watcher.wait_for_sought(0)
        self._until(lambda wait_s: self.watcher.wait_for_records(offset + 2, wait_s))

    def _until(self, wait: Callable[[float], object]) -> None:
        """Wait, but not for a channel that stands still for good, or too long."""
        for _ in range(int(TIMEOUT_S)):
            with suppress(NotYet):
                wait(1.0)
                return
            (channel,) = self.process.status()["channels"]
            assert channel["reason"] is None or channel["retried_until_ms"] is not None, channel["reason"]
        raise AssertionError(f"nothing more was served within {TIMEOUT_S:.0f} s: {channel}{self.process.log_tail()}")

    def end(self) -> None:
        """Hold what the consumer was served against what a new one reads, and the log against its own rules."""
        self.watcher.stop()
        read_everything_again(self.process.address(), self.watcher.served)
        assert self.process.stop() == 0
        assert verify_log(self.process.data_directory / "topics" / f"{TOPIC}-0").problems == []

    def transactions(self) -> Iterator[Expected]:
        """Transactions with rows and the load's schema changes, as they were served."""
        current: Expected | None = None
        first_id = None
        for number, record in enumerate(self.watcher.served.records()):
            fields = decode_value(record.value)
            first_id = fields["id"] if first_id is None else first_id
            assert (record.offset, fields["id"]) == (number, first_id + number)
            operation, name = fields["operation"], fields["objectName"]
            match operation:
                case "BEGIN":
                    assert current is None, f"BEGIN at {number} inside a transaction"
                    current = Expected()
                case "COMMIT":
                    assert current is not None, f"COMMIT at {number} without BEGIN"
                    if current.rows:
                        yield current
                    current = None
                case "INSERT" | "UPDATE" | "DELETE":
                    assert current is not None, f"{operation} at {number} outside a transaction"
                    assert not name.startswith(f"{UNTRACKED}."), f"a row of {name} at {number}"
                    if name != f"{TRACKED}.marks":
                        names = [field["name"] for field in fields["fields"]]
                        before, after = _image(names, fields["beforeImages"]), _image(names, fields["afterImages"])
                        current.rows.append(Change(operation, name, before, after, whole=False))
                case "DDL":
                    assert current is None, f"DDL at {number} inside a transaction"
                    _, begin, marker = fields["afterImages"].rpartition("/* change ")
                    if begin:
                        yield Expected(marker=begin + marker)
                case _:
                    assert operation == "HEARTBEAT"
                    assert current is None, f"HEARTBEAT at {number} inside a transaction"
        assert current is None, "the stream ends inside a transaction"


def _image(names: list[str], image: Any) -> Image | None:
    if image is None:
        return None
    return {name: _cell(value) for name, value in zip(names, image, strict=True)}


def _cell(value: Any) -> Any:
    """(class, content); Ellipsis for a column that the image lacks."""
    if value is None:
        return None
    if isinstance(value, str) or isinstance(value[1], str):
        return ...
    return value[0].rpartition(".")[2], value[1]


def compare(found: Iterator[Expected], load: Mixture) -> int:
    """Assert that the records are what was committed, and that tables made of them are the server's; how many rows."""
    states: dict[str, dict[int, Image]] = {}
    count = 0
    for number, (ours, theirs) in enumerate(itertools.zip_longest(found, load.expected)):
        assert ours is not None, f"transaction {number} and what follows is missing: {theirs}"
        assert theirs is not None, f"transaction {number} and what follows is too much: {ours}"
        assert ours.marker == theirs.marker, f"transaction {number}: {ours} for {theirs}"
        if ours.marker:
            load.changes[ours.marker](states)
        for row, wanted in itertools.zip_longest(ours.rows, theirs.rows):
            where = f"transaction {number}: {row} for {wanted}"
            assert row is not None, where
            assert wanted is not None, where
            assert (row.operation, row.table) == (wanted.operation, wanted.table), where
            for image, wanted_image in ((row.before, wanted.before), (row.after, wanted.after)):
                _check(image, wanted_image, wanted.whole, where)
            _apply(row, states[row.table])
            count += 1
    for table, rows in load.states().items():
        assert set(states[table]) == set(rows), table
        for key, row in rows.items():
            for name, cell in row.items():
                assert states[table][key].get(name, ...) in (cell, ...), f"{table}.{name} of {key}"
    return count


def _check(image: Image | None, wanted: Image | None, whole: bool, where: str) -> None:
    if image is None or wanted is None:
        assert image is wanted, where
        return
    assert sorted(image) == sorted(wanted), where
    for name, cell in image.items():
        if cell is ...:
            assert not whole, f"{name} is absent; {where}"
        else:
            assert cell == wanted[name], f"{name}: {where}"


def _apply(row: Change, rows: dict[int, Image]) -> None:
    """The row's change on a table that is being rebuilt; what an image lacks stays as it was."""
    before = rows.pop(_key(row.before), {}) if row.before is not None else {}
    if row.after is not None:
        present = {name: cell for name, cell in row.after.items() if cell is not ...}
        image = {name: before.get(name, ...) for name in row.after} | present
        key = _key(row.after) if row.after["id"] is not ... else _key(row.before or {})
        rows[key] = image


def _key(image: Image) -> int:
    cell = image["id"]
    assert isinstance(cell, tuple)
    return int(cell[1]["value"])


def _run(servers: list[LiveServer], folder: Path, seed: int, steps: int, turn: Callable[[Mixture], None]) -> None:
    """`turn`: have another server take over, or the source restarted."""
    chance = random.Random(seed)
    with Stage(servers, folder, chance) as stage:
        load = Mixture(servers[0], random.Random(seed + 1))
        for _ in range(steps):
            load.step()
            if chance.random() < 0.015:
                stage.fault()
            if chance.random() < 0.006:
                stage.wait_for(load)
                load.captures_sometimes = not load.captures_sometimes
                stage.track(TRACKED, *([SOMETIMES] if load.captures_sometimes else []))
            if chance.random() < 0.004:
                turn(load)
        load.finish()
        stage.wait_for(load)
        stage.end()
        rows = compare(stage.transactions(), load)
        print(f"{stage.faults} faults, {len(load.expected)} transactions and schema changes, {rows} rows")
        assert rows > steps // 10


def _numbers(steps: int) -> tuple[int, int]:
    seed = int(os.environ.get("BINWIRE_SEED") or random.SystemRandom().randrange(1 << 32))
    steps = int(os.environ.get("BINWIRE_STEPS") or steps)
    print(f"BINWIRE_SEED={seed} BINWIRE_STEPS={steps}", flush=True)
    return seed, steps


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.server(kind)) for kind in ("mysql97", "mysql56", "mariadb1011")]
)
def test_everything_at_once(kind: str, server_factory: Callable[..., LiveServer], tmp_path: Path) -> None:
    server = server_factory(kind)
    seed, steps = _numbers(_STEPS)
    chance = random.Random(seed + 2)

    def turn(load: Mixture) -> None:
        load.leave()
        server.kill() if chance.random() < 0.5 else server.stop()
        server.start()
        load.move(server)

    _run([server], tmp_path, seed, steps, turn)


@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.server("mysql97")
def test_everything_at_once_while_the_source_fails_over(
    server_factory: Callable[..., LiveServer], tmp_path: Path
) -> None:
    pair = Pair("mysql97", server_factory)
    seed, steps = _numbers(_STEPS)
    chance = random.Random(seed + 2)
    current, other = pair.first, pair.second
    ids = {pair.first: 11, pair.second: 12}

    def turn(load: Mixture) -> None:
        nonlocal current, other
        load.leave()
        pair.wait_equal(other, current)
        pair.stop_following(other)
        current.kill() if chance.random() < 0.5 else current.stop()
        load.move(other)
        for _ in range(chance.randrange(5)):
            load.step()
        current.start(f"--server-id={ids[current]}", *OPTIONS["mysql97"])
        pair.follow(current, other)
        current, other = other, current

    _run([current, other], tmp_path, seed, steps, turn)
