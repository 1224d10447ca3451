"""What `binwire check` looks at on this machine: the data directory and its disk, the listeners and their certificates.

Nothing is changed. A listener's port is bound for a moment, unless the running server of this data directory has it.
What clients are told to connect to is tried from here: while the port is ours for that moment, a connection to the
advertised address must come out at it (we hear the word that we say there); with a server running, what answers must
be a Kafka server. A router that lets nobody back in from inside makes a false alarm, so that is a warning.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker.control import PrecheckItem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broker.config import Config
    from broker.listener import Address, Listener

CONNECT_TIMEOUT_S: Final = 3
WORD_BYTES: Final = 16
_SEGMENTS_EACH: Final = 2  # of a channel: the one that is written to, and the next
_API_VERSIONS: Final = bytes.fromhex("0012 0000 00000007 ffff")  # key 18, version 0, correlation id 7, no client id


def look(config: Config, listeners: Sequence[Listener]) -> list[PrecheckItem]:
    """Every item of this machine."""
    items = [_data_directory(config.data_path), _disk(config)]
    running = _running(config.data_path)
    for listener in listeners:
        items += _listener(listener, running)
    return items


# --- the data directory -----------------------------------------------------------------------------------------------


def _data_directory(path: Path) -> PrecheckItem:
    name = "data directory"
    if path.exists():
        if path.is_dir() and os.access(path, os.R_OK | os.W_OK | os.X_OK):
            return PrecheckItem(name, "passed", "writable")
        found = f"{path} is {'not writable' if path.is_dir() else 'no directory'}"
    else:
        parent = _existing(path)
        if os.access(parent, os.W_OK | os.X_OK):
            return PrecheckItem(name, "passed", "will be made")
        found = f"{path} is not there, and {parent} is not writable"
    remedy = f'data_dir = "…"  # at the top of the configuration: a directory that the user {os.getuid()} may write'
    return PrecheckItem(name, "failed", found, "nothing that is captured could be kept", remedy)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())


def _disk(config: Config) -> PrecheckItem:
    free = shutil.disk_usage(_existing(config.data_path)).free
    needed = sum(_SEGMENTS_EACH * channel.segment_bytes for channel in config.channels)
    found = f"{free / (1 << 30):.1f} GiB free"
    if free >= needed:
        return PrecheckItem("disk", "passed", found)
    return PrecheckItem(
        "disk",
        "warning",
        f"{found}, less than {_SEGMENTS_EACH} segments of each channel ({needed / (1 << 30):.1f} GiB)",
        "a full disk stops the channels until there is room",
        'segment_size = "64MiB"  # in each of [[channels]], with a smaller retention; or put data_dir on a larger disk',
    )


# --- listeners --------------------------------------------------------------------------------------------------------


def _running(path: Path) -> Mapping[str, str]:
    """The addresses at which the server of this data directory listens, by name; none without one."""
    try:
        ready = json.loads((path / "ready.json").read_text("utf-8"))
        os.kill(ready["pid"], 0)
        return dict(ready["listeners"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _listener(listener: Listener, running: Mapping[str, str]) -> Iterator[PrecheckItem]:
    name = f"listener {listener.name}"
    if listener.name in running:
        yield PrecheckItem(name, "passed", f"{running[listener.name]}, where the running server has it")
        if listener.advertised is not None:
            yield _advertised(listener, listener.advertised, None)
    else:
        yield from _unused_listener(listener, name)
    if (exposed := _exposure(listener)) is not None:
        yield _doubt(name, exposed)
    if listener.certificate is not None:
        for doubt in listener.certificate.doubts():
            yield _doubt(f"certificate {listener.name}", doubt)


def _exposure(listener: Listener) -> str | None:
    from broker import console_rules

    is_console = listener.name == console_rules.NAME
    return console_rules.exposure(listener, listener.bind) if is_console else listener.exposure(listener.bind)


def _doubt(name: str, sentence: str) -> PrecheckItem:
    """What can be served as it is and yet is hardly meant so; the sentence says what to do behind its semicolon."""
    found, _, remedy = sentence.rpartition("; ")
    return PrecheckItem(name, "warning", found or sentence, None, f"# {remedy}")


def _unused_listener(listener: Listener, name: str) -> Iterator[PrecheckItem]:
    try:
        bound = _bind(listener.bind)
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = 'bind = "127.0.0.1:0"  # of this listener: an address of this machine, a free port (0: any)'
        yield PrecheckItem(name, "failed", f"{listener.bind}: {reason}", "clients could not connect", remedy)
        return
    with closing(bound):
        yield PrecheckItem(name, "passed", f"{listener.bind} is free")
        if listener.advertised is not None:
            yield _advertised(listener, listener.advertised, bound)


def _bind(address: Address) -> socket.socket:
    """Listen there for a moment. Raises OSError."""
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, target = min(found, key=lambda each: each[0] != socket.AF_INET)
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(target)
        bound.listen(1)
        bound.settimeout(CONNECT_TIMEOUT_S)
    except BaseException:
        bound.close()
        raise
    return bound


def _advertised(listener: Listener, address: Address, bound: socket.socket | None) -> PrecheckItem:
    """Whether a connection to the advertised address comes out at this listener."""
    name = f"advertised {listener.name}"
    try:
        with socket.create_connection((address.host, address.port), CONNECT_TIMEOUT_S) as connection:
            answers = _is_kafka(connection, listener) if bound is None else _comes_out(connection, bound)
    except OSError as error:
        found = f"{address} cannot be reached from here: {error.strerror or error}"
    else:
        if answers:
            return PrecheckItem(name, "passed", f"{address} leads to this listener")
        found = f"{address} is answered by something else than this listener"
    return PrecheckItem(
        name,
        "warning",
        found,
        "clients are told to connect there for everything behind their first question",
        'advertised = "host:port"  # of this listener, as clients reach it; left out: the address they came in at',
    )


def _comes_out(connection: socket.socket, bound: socket.socket) -> bool:
    """Say a word where the connection ends, and hear it here."""
    word = os.urandom(WORD_BYTES)
    try:
        accepted, _ = bound.accept()
        with closing(accepted):
            accepted.sendall(word)
            return connection.recv(WORD_BYTES) == word
    except OSError:
        return False


def _is_kafka(connection: socket.socket, listener: Listener) -> bool:
    """Whether a question is answered under its number; behind TLS it is enough that somebody is there."""
    if listener.certificate is not None:
        return True
    try:
        connection.sendall(len(_API_VERSIONS).to_bytes(4, "big") + _API_VERSIONS)
        head = connection.recv(8)
    except OSError:
        return False
    return head[4:] == _API_VERSIONS[4:8]
