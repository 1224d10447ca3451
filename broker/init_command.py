"""`binwire init`: from the address of a source to a running channel, or from nothing to a running console.

Asks what it was not told, looks before it writes, writes once (`init_file.py`), and starts what it wrote in this very
process. When the channel streams it prints lines that consume it. Left to others: how it asks (`init_dialogue.py`), the
way to the source (`init_source.py`), serving (`cli.py`).
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from broker.config import from_document
from broker.demo import Connection, called_from_here, kcat_command
from broker.init_dialogue import Dialogue, at_terminal
from broker.init_file import NewChannel, NewFile, NewGroup, free_address, group_password, require_new, write
from broker.init_source import Found, Reaching, channel_config, precheck
from broker.listener import Address
from broker.provision import new_group_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broker.app import Application

LISTENER: Final = Address("127.0.0.1", 18001)
CONSOLE: Final = Address("127.0.0.1", 18080)
REGION: Final = "local"
GROUP_NAME: Final = "first"
GROUP_USERNAME: Final = "consumer"
_ID_CHARACTERS_MAX: Final = 32
_WAITING: Final = frozenset({"Not Started", "Prechecking", "Performing Initial Change Tracking"})


class InitOptions(Struct, frozen=True):
    """What the command line says."""

    path: Path
    source: str | None
    objects: tuple[str, ...]
    channel_id: str | None
    region: str
    administrator: str | None
    listener: Address | None
    console: Address | None
    is_agreed: bool
    is_started: bool


def run(options: InitOptions, serve: Callable[..., int], dialogue: Dialogue | None = None) -> int:
    """Write and start; `serve` serves a file until it is signalled, and calls back when it has started."""
    require_new(options.path)
    _require_names(options)
    dialogue = at_terminal() if dialogue is None else dialogue
    listener = free_address(options.listener or LISTENER)
    console = free_address(options.console or CONSOLE, (listener.port,))
    found, channel = None, None
    if options.source is not None:
        found = _reach(options, options.source, dialogue)
        channel = _channel(options, found)
    new = NewFile(options.path, listener, console, channel)
    try:
        if found is not None and channel is not None:
            names = {"channel_id": channel.id, "region": channel.region, "instance_id": channel.instance_id}
            precheck(channel_config(found, **names), options.path.parent / new.data_dir, dialogue)
        write(new)
    except BaseException:
        if found is not None and found.created is not None:
            dialogue.say("", f"The account that was made stays at the source: DROP USER {found.created};")
        raise
    dialogue.say(*_written(new), "")
    if not options.is_started:
        dialogue.say(f"Start it: {_binwire()} serve{_file_option(new)}")
        return 0
    return serve(options.path, lambda app: _greet(app, new, found, dialogue))


def _require_names(options: InitOptions) -> None:
    """Say what is wrong with a name before anything is made at a source. Raises ConfigError."""
    names = {"id": options.channel_id or "id", "region": options.region, "instance_id": options.channel_id or "id"}
    channel = {**names, "source": "mysql://user@host", "objects": list(options.objects) or ["shop"]}
    from_document({"channels": [channel]}, options.path.parent, {})


def _reach(options: InitOptions, source: str, dialogue: Dialogue) -> Found:
    from broker.capturing import source_desk

    return Reaching(
        source_desk(),
        dialogue,
        objects=options.objects,
        administrator=options.administrator,
        is_agreed=options.is_agreed,
    ).reach(source)


def _channel(options: InitOptions, found: Found) -> NewChannel:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", found.objects[0].split(".")[0].strip("`")).strip("_")
    channel_id = options.channel_id or name[:_ID_CHARACTERS_MAX] or "channel"
    written = found.source.written
    return NewChannel(
        id=channel_id,
        region=options.region,
        instance_id=re.sub(r"[^A-Za-z0-9_-]", "_", channel_id),
        source=written,
        source_password=(found.password or None) if written == found.source.url(None) else None,
        objects=found.objects,
        created=found.created,
        group=NewGroup(new_group_id(), GROUP_NAME, GROUP_USERNAME, group_password()),
    )


# ---- what is told ----


def _written(new: NewFile) -> Iterator[str]:
    yield f"{new.path} is written; only you may read it."
    if new.channel is not None:
        passwords = [new.group_password_path]
        if new.channel.source_password is not None:
            passwords.insert(0, new.source_password_path)
        yield f"Passwords are in files of their own: {', '.join(map(str, passwords))}"


async def _greet(app: Application, new: NewFile, found: Found | None, dialogue: Dialogue) -> None:
    """Tell where everything is, when the channel streams or stands still."""
    if found is not None and found.created is not None:
        from broker.capturing import source_desk
        from broker.operations.sources import note_created

        shown = source_desk().shown(found.source.url(None))
        await app.catalog.run(note_created, app.catalog, shown, found.created)
    if new.channel is not None:
        await _tell_channel(app, new, new.channel, dialogue)
    dialogue.say(f"Console: http://{app.addresses['console']}/")
    dialogue.say(f"Ctrl-C ends it; {_binwire()} serve{_file_option(new)} starts it again.")


async def _tell_channel(app: Application, new: NewFile, channel: NewChannel, dialogue: Dialogue) -> None:
    [served] = [served for served in app.channels if served.id == channel.id]
    settled = asyncio.Event()
    end = served.channel.subscribe(settled.set)
    try:
        while str(served.channel.status().state) in _WAITING:
            settled.clear()
            await settled.wait()
    finally:
        end()
    status = served.channel.status()
    if status.reason is not None:
        dialogue.say(f"Channel {channel.id} is in {status.state}: {status.reason}")
    else:
        dialogue.say(
            f"Channel {channel.id} is {status.state}: every change of {', '.join(channel.objects)} from now on."
        )
    dialogue.say("", "Consume it (a record is Avro; `tail` decodes):", "")
    dialogue.say(*consumer_lines(new, channel, served.log.topic, app.addresses["public"]), "")


def consumer_lines(new: NewFile, channel: NewChannel, topic: str, address: Address) -> Iterator[str]:
    """Commands that read the channel: Binwire's own, kcat, and Python with a Kafka client; a line between two."""
    password = f'"$(cat {shlex.quote(str(new.group_password_path))})"'
    group = channel.group
    connection = Connection(address.host, address.port, topic, group.id, group.username, password, 0)
    yield f"{_binwire()} tail {topic} -f{_file_option(new)}"
    yield ""
    yield from kcat_command(connection)
    yield ""
    yield f"{shlex.quote(sys.executable or 'python3')} -c 'import sys; from kafka import KafkaConsumer"
    yield "for record in KafkaConsumer(sys.argv[1], bootstrap_servers=sys.argv[2], group_id=sys.argv[3],"
    yield '    security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN", auto_offset_reset="earliest",'
    yield "    sasl_plain_username=sys.argv[4], sasl_plain_password=sys.argv[5]):"
    yield "    print(record.offset, record.timestamp, len(record.value), flush=True)' \\"
    yield f"  {topic} {connection.bootstrap} {group.id} {connection.login} {password}"


def _binwire() -> str:
    """The command as it can be pasted: a virtual environment's is seldom on the PATH."""
    program = Path(sys.executable).with_name("binwire")
    if shutil.which("binwire") is not None or not program.is_file():
        return "binwire"
    return shlex.quote(called_from_here(program))


def _file_option(new: NewFile) -> str:
    from broker.cli import CONFIG_FILE

    return "" if str(new.path) == CONFIG_FILE else f" -c {shlex.quote(str(new.path))}"
