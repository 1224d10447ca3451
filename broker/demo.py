"""`binwire demo`: a small shop's binlog, replayed as if it happened now, and read back by a real Kafka client.

That binlog (`broker/data/demo-shop.000001`, made on a real MySQL by `python -m tests.tools.record_demo`) goes the way
of every source: channel, log on disk in a temporary directory, a listener with SASL on a free port. What is shown is
what kafka-python receives over TCP, logged in as the printed account and started at the printed time; nothing is taken
from inside the server. The client runs in a thread of its own, because kafka-python blocks.

`binwire demo FILE` plays a file of `binwire record` in its place, once.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shlex
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec.structs import replace

from broker import event_loop, logs
from broker.app import Application
from broker.capturing import CallFailedError, record_decoder, replay_source
from broker.config import ChannelConfig, Config, GroupConfig, ListenerConfig, Secret
from broker.config_rules import ConfigError
from broker.playing import bounds_s, play
from broker.recording import Recording
from broker.render import Style, lines, style_for
from broker.signals import signalled
from storage.words import shown_moment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

RECORDING: Final = Path(__file__).parent / "data" / "demo-shop.000001"
SHOWN_OPERATIONS: Final = frozenset(("INSERT", "UPDATE", "DELETE", "DDL"))
TOPIC: Final = "cn_hangzhou_rm_demo_dtstest_version2"
USERNAME: Final = "dtstest"
SOURCE: Final = "MySQL 9.7"
POLL_MS: Final = 200  # how long the client may take to see that the demo ends
PACE_LIMIT_MS: Final = 1_000  # no pause of the shop's lasts longer


class Connection(NamedTuple):
    """What a consumer needs, under the service's own names."""

    dtsConnectIp: str  # noqa: N815  # the service's spelling
    dtsConnectPort: int  # noqa: N815
    topic: str
    sid: str
    username: str
    password: str
    startTimeStamp: int  # noqa: N815

    @property
    def bootstrap(self) -> str:
        return f"{self.dtsConnectIp}:{self.dtsConnectPort}"

    @property
    def login(self) -> str:
        return f"{self.username}-{self.sid}"


class _Play(NamedTuple):
    """What is played: how it is called, the time it begins with, and what has `app` serve it as a channel. That gives
    the group's id, and what plays until the offset it returns, None for what never ends.
    """

    title: str
    start_s: int
    serve: Callable[[Application, ChannelConfig], Awaitable[tuple[str, Awaitable[int] | None]]]


def run(*, records: int | None, speed: float | None, file: Path | None = None) -> int:
    """Play and show until there are `records` changes or Ctrl-C; the exit status. Without `speed` as fast as it goes.

    Raises ConfigError and RecordingError.
    """
    if file is None and speed is None:
        raise ConfigError("the shop never ends, so it needs a pace; --speed full is for a FILE")
    logs.configure("error", environment=os.environ)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    style = style_for(terminal=sys.stdout.isatty(), environment=os.environ)
    with tempfile.TemporaryDirectory(prefix="binwire-demo-", ignore_cleanup_errors=True) as folder:
        if file is None:
            return event_loop.run(_show(Path(folder), records, _shop(speed or 1.0), style))
        if file.suffix == ".sql":
            return event_loop.run(_show(Path(folder), records, _scenario(file), style))
        with Recording(file) as recording:
            return event_loop.run(_show(Path(folder), records, _recorded(recording, speed), style))


def _shop(speed: float) -> _Play:
    async def serve(app: Application, channel: ChannelConfig) -> tuple[str, None]:
        source = replay_source([RECORDING], speed=speed, gap_ms_max=PACE_LIMIT_MS)
        return (await app.add_channel(replace(channel, objects=["shop"]), source)).group_ids[0], None

    return _Play(
        f"a small shop's binlog, recorded on {SOURCE}, replayed as if it happened now.", int(time.time()), serve
    )


def _recorded(recording: Recording, speed: float | None) -> _Play:
    first_s, last_s = bounds_s(recording)

    async def serve(app: Application, channel: ChannelConfig) -> tuple[str, Awaitable[int]]:
        embedded = await app.add_embedded(channel, [], "")

        async def play_all() -> int:
            await play(recording, embedded.interject, _pause, app.clock, speed=speed, moves_times=True)
            return embedded.log.high_watermark

        return embedded.group_id, play_all()

    now_s = int(time.time())
    recorded = f"{recording.facts.topic or 'records'} of {shown_moment(first_s * 1000)}"
    start_s = now_s if speed is not None else now_s - (last_s - first_s)
    return _Play(f"{recording.path}, {recorded}, played as if it happened now.", start_s, serve)


def _scenario(file: Path) -> _Play:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (
            "it is no UTF-8; have mysqldump write it with --hex-blob"
            if isinstance(error, UnicodeDecodeError)
            else os.strerror(error.errno or 0)
        )
        raise ConfigError(f"{file} cannot be played: {reason}") from None

    async def serve(app: Application, channel: ChannelConfig) -> tuple[str, Awaitable[int]]:
        embedded = await app.add_embedded(channel, [], "test")

        async def play_all() -> int:
            try:
                await embedded.play(text)
            except CallFailedError as error:
                raise ConfigError(f"{file}, {error}") from None
            return embedded.log.high_watermark

        return embedded.group_id, play_all()

    # From the first record on: the statements may set their times.
    return _Play(f"{file}, its statements played as if a server ran them now.", 1, serve)


async def _pause(pause_ms: int) -> None:
    await asyncio.sleep(pause_ms / 1000)


async def _show(folder: Path, records: int | None, shown: _Play, style: Style) -> int:
    stop = signalled()
    app = Application(Config(data_dir=str(folder / "data"), listeners=[ListenerConfig(bind="127.0.0.1:0")]))
    await app.start()
    try:
        password = f"Demo-{secrets.token_hex(6)}"
        group_id, playing = await shown.serve(app, _channel(password))
        host, port = app.addresses["public"].host, app.addresses["public"].port
        connection = Connection(host, port, TOPIC, group_id, USERNAME, password, shown.start_s)
        print(*_heading(shown.title, connection, style), sep="\n", flush=True)
        viewer = _Viewer(connection, records, style, _setter(stop))
        viewer.start()
        if playing is not None:
            playing = asyncio.ensure_future(playing)
            playing.add_done_callback(lambda played: viewer.note_end(played, stop))
        await stop.wait()
        status = await viewer.end()
        if playing is not None:
            playing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await playing
        return status
    finally:
        await asyncio.shield(app.close())


def _channel(password: str) -> ChannelConfig:
    return ChannelConfig(
        id="demo",
        name="demo shop",
        topic=TOPIC,
        source=Secret(f"file://{RECORDING}"),
        objects=[],
        start="earliest",
        groups=[GroupConfig(name="demo", username=USERNAME, password=Secret(password))],
    )


def _setter(event: asyncio.Event) -> Callable[[], None]:
    """A function that sets the event from any thread."""
    loop = asyncio.get_running_loop()

    def set_event() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            loop.call_soon_threadsafe(event.set)

    return set_event


def _heading(title: str, connection: Connection, style: Style) -> Iterator[str]:
    yield f"{style.bold}Binwire demo{style.end}: {title}"
    yield ""
    for name, value in connection._asdict().items():
        yield f"  {style.dim}{name:<14}{style.end}  {value}"
    yield ""
    yield "Consume it from another terminal, in this folder; Kafka clients log in as <username>-<sid>:"
    yield ""
    # Not indented: Python would not take it when pasted.
    yield from kcat_command(connection)
    yield ""
    yield from python_command(connection)
    yield ""


def kcat_command(connection: Connection) -> Iterator[str]:
    """A kcat command to paste: as a group member, offset, time and size of each record."""
    yield f"kcat -b {connection.bootstrap} -X security.protocol=SASL_PLAINTEXT -X sasl.mechanisms=PLAIN \\"
    yield f"  -X sasl.username={connection.login} -X sasl.password={connection.password} \\"
    yield f"  -X auto.offset.reset=earliest -f '%o %T %S bytes\\n' -G {connection.sid} {connection.topic}"


def python_command(connection: Connection) -> Iterator[str]:
    """The same with kafka-python, which the Python that runs the demo has and another one may not have."""
    yield f"{shlex.quote(_python())} -c 'from kafka import KafkaConsumer"
    yield f'for record in KafkaConsumer("{connection.topic}", bootstrap_servers="{connection.bootstrap}",'
    yield '    security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", auto_offset_reset="earliest",'
    yield f'    group_id="{connection.sid}", sasl_plain_username="{connection.login}",'
    yield f'    sasl_plain_password="{connection.password}"):'
    yield "    print(record.offset, record.timestamp, len(record.value))'"


def _python() -> str:
    """The Python that runs this, as it is called from the current folder."""
    return called_from_here(Path(sys.executable))


def called_from_here(program: Path) -> str:
    """A program by its path from the current folder, or whole where it lies elsewhere."""
    folder = Path.cwd()
    return str(program.relative_to(folder) if program.is_relative_to(folder) else program)


class _Viewer:
    """The Kafka client, in its thread: shows changes until it has enough, is told to end, or fails."""

    def __init__(self, connection: Connection, records: int | None, style: Style, done: Callable[[], None]) -> None:
        self._connection = connection
        self._remaining = records
        self._style = style
        self._done = done
        self._ending = threading.Event()
        self._end_offset: int | None = None
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="demo-consumer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def note_end(self, played: asyncio.Future[int], stop: asyncio.Event) -> None:
        """What is played ended, or failed."""
        if played.cancelled() or played.exception() is not None:
            stop.set()
        else:
            self._end_offset = played.result()

    async def end(self) -> int:
        """Have the thread end and wait for it; the exit status."""
        self._ending.set()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)
        if isinstance(self._failure, BrokenPipeError):
            raise self._failure
        if self._failure is not None:
            print(f"binwire: the Kafka client failed: {self._failure!r}", file=sys.stderr)
            return 1
        return 0

    def _run(self) -> None:
        try:
            self._consume()
        except Exception as error:
            self._failure = error
        finally:
            self._done()

    def _consume(self) -> None:
        import kafka

        decode = record_decoder()
        consumer = kafka.KafkaConsumer(**consumer_settings(self._connection))
        try:
            partition = kafka.TopicPartition(self._connection.topic, 0)
            consumer.assign([partition])
            seek_to_time(consumer, partition, self._connection.startTimeStamp)
            self._show(f"Changes as kafka-python {kafka.__version__} receives them; Ctrl-C ends.")
            while not self._ending.is_set():
                for message in consumer.poll(timeout_ms=POLL_MS).get(partition, ()):
                    self._show_change(message.offset, decode(message.value))
                    if self._remaining == 0 or self._ending.is_set():
                        return
                if self._end_offset is not None and consumer.position(partition) >= self._end_offset:
                    self._show("", "That was all; it can be consumed until Ctrl-C.")
                    self._end_offset = None
        finally:
            consumer.close()

    def _show_change(self, offset: int, record: dict[str, Any]) -> None:
        if record["operation"] not in SHOWN_OPERATIONS:
            return
        self._show("", *lines(offset, record, self._style))
        if self._remaining is not None:
            self._remaining -= 1

    def _show(self, *texts: str) -> None:
        print(*texts, sep="\n", flush=True)


def consumer_settings(connection: Connection) -> dict[str, Any]:
    """kafka-python's settings for the printed values."""
    return {
        "bootstrap_servers": connection.bootstrap,
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "PLAIN",
        "sasl_plain_username": connection.login,
        "sasl_plain_password": connection.password,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
    }


def seek_to_time(consumer: Any, partition: Any, start_s: int) -> None:
    """Start where the service's consumers start: at the first record of a time, or else at the beginning."""
    found = consumer.offsets_for_times({partition: start_s * 1000})[partition]
    if found is None:
        consumer.seek_to_beginning(partition)
    else:
        consumer.seek(partition, found.offset)
