"""What `binwire init` writes: a configuration file, and a file of its own for each password.

All of them are readable by their owner only, and none takes the place of a file that is there. A password never stands
in the configuration: `source_password_file` and `password_file` name its file, unless the source's address refers to
the environment (`${NAME}`), which is written as it was typed.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from broker.config import load
from broker.config_rules import ConfigError
from broker.group_rules import broken_password
from broker.render import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broker.listener import Address

_PASSWORD_BYTES: Final = 15  # 20 characters in base64
_EVERY_CLASS: Final = "-aA1"
"""Ends a password for a server, whose rules may ask for one of each."""
_MODE: Final = 0o600


class NewGroup(Struct, frozen=True):
    """A consumer group that the file is to have."""

    id: str
    name: str
    username: str
    password: str


class NewChannel(Struct, frozen=True):
    """A channel that the file is to have; `source` carries no password that `source_password` has."""

    id: str
    region: str
    instance_id: str
    source: str
    source_password: str | None
    objects: tuple[str, ...]
    group: NewGroup
    created: str | None = None
    """The account of the source, if it was made with the file."""


class NewFile(Struct, frozen=True):
    """A file as it will be, and where."""

    path: Path
    listener: Address
    console: Address
    channel: NewChannel | None

    @property
    def data_dir(self) -> str:
        """Beside the file, and another's for a file of another name."""
        return "data" if self.path.stem == "binwire" else f"{self.path.stem}-data"

    @property
    def source_password_path(self) -> Path:
        return self._beside("source-password")

    @property
    def group_password_path(self) -> Path:
        return self._beside("consumer-password")

    def _beside(self, what: str) -> Path:
        assert self.channel is not None
        return self.path.parent / f"{self.channel.id}.{what}"


def require_new(path: Path) -> None:
    """Raises ConfigError if there is such a file already, or none can be written there."""
    if os.path.lexists(path):
        raise ConfigError(
            f"{path} exists already and is left as it is; `binwire serve -c {path}` starts it, or name another with "
            "-c FILE"
        )
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"nothing can be written into the folder {path.parent}; name a file in another with -c FILE")


def write(new: NewFile) -> None:
    """Write the configuration and its passwords, all or none, and see that it is one. Raises ConfigError."""
    files = [(new.path, text(new))]
    if (channel := new.channel) is not None:
        files.append((new.group_password_path, channel.group.password + "\n"))
        if channel.source_password is not None:
            files.append((new.source_password_path, channel.source_password + "\n"))
    written: list[Path] = []
    try:
        for path, content in files:
            _write_new(path, content)
            written.append(path)
        load(new.path)
    except BaseException as error:
        for path in written:
            path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise ConfigError(f"{path} cannot be written: {error.strerror}; nothing was") from None
        raise


def _write_new(path: Path, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        os.fchmod(descriptor, _MODE)
        file.write(content)


def text(new: NewFile) -> str:
    """The configuration file."""
    return "\n".join([*_server_lines(new), *(_channel_lines(new, new.channel) if new.channel is not None else ())])


def _server_lines(new: NewFile) -> Iterator[str]:
    yield f"data_dir = {quoted(new.data_dir)}"
    yield ""
    yield "[[listeners]]  # where Kafka clients connect"
    yield 'name = "public"'
    yield f"bind = {quoted(str(new.listener))}"
    yield ""
    yield "[console]  # in a browser; another address than loopback needs a password (binwire password --console)"
    yield f"bind = {quoted(str(new.console))}"
    yield ""


def _channel_lines(new: NewFile, channel: NewChannel) -> Iterator[str]:
    yield "[[channels]]"
    yield f"id = {quoted(channel.id)}"
    yield f"region = {quoted(channel.region)}"
    yield f"instance_id = {quoted(channel.instance_id)}"
    if channel.created is not None:
        yield f"# made by binwire init; when the channel is released: DROP USER {printable(channel.created)};"
    yield f"source = {quoted(channel.source)}"
    if channel.source_password is not None:
        yield f"source_password_file = {quoted(new.source_password_path.name)}"
    yield f"objects = [{', '.join(map(quoted, channel.objects))}]"
    yield ""
    yield "[[channels.groups]]"
    yield f"name = {quoted(channel.group.name)}"
    yield f"id = {quoted(channel.group.id)}"
    yield f"username = {quoted(channel.group.username)}"
    yield f"password_file = {quoted(new.group_password_path.name)}"
    yield ""


def quoted(value: str) -> str:
    """A text as TOML writes it: JSON's escapes, and one for the control that JSON leaves."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


# ---- values ----


def group_password() -> str:
    """A password that keeps the rules for groups."""
    while broken_password(password := secrets.token_urlsafe(_PASSWORD_BYTES)) is not None:
        pass
    return password


def source_password() -> str:
    """A password that keeps what servers usually ask for."""
    return secrets.token_urlsafe(_PASSWORD_BYTES) + _EVERY_CLASS


def free_address(address: Address, taken: Sequence[int] = ()) -> Address:
    """The address, with another port where somebody listens at this one already."""
    for port in (address.port, 0):
        with socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address.host, port))
            except OSError:
                continue
            found = int(probe.getsockname()[1])
        if found not in taken:
            return type(address)(address.host, found)
    raise ConfigError(f"no port is free at {address.host}")
