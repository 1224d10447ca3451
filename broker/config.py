"""The configuration file: its keys, their rules, and what a person is told when one is broken.

Owns the TOML keys (one struct per table of the file, unknown keys refused), `${NAME}` substitution from the
environment, `password_file`, and the service's own rules for consumer groups. Every error is one `ConfigError` sentence
that names the key path, what was found and what is allowed; a secret is never repeated in it.

Invariant: a `Config` that `load` or `from_document` returned is valid as a whole; nothing behind it checks keys again.
Durations and sizes stay text in the structs, as typed; the properties give numbers with their units.

Left to others: whether a source can be reached and read (`capture/precheck.py`), whether a port is free (`server.py`).
"""

from __future__ import annotations

import os
import re
import tomllib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from broker.listener import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUPS_PER_CHANNEL_MAX: Final = 20
GROUP_NAME_CHARACTERS_MAX: Final = 128
USERNAME_CHARACTERS_MAX: Final = 16
PASSWORD_CHARACTERS_MIN: Final = 8
PASSWORD_CHARACTERS_MAX: Final = 32
PASSWORD_CLASSES_MIN: Final = 2
TOPIC_CHARACTERS_MAX: Final = 249  # Kafka's limit on a topic name

DURATION_UNITS_MS: Final[Mapping[str, int]] = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SIZE_UNITS_BYTES: Final[Mapping[str, int]] = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
SOURCE_SCHEMES: Final = ("mysql", "mariadb", "polardb", "file")

_CHANNEL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_GROUP_ID = re.compile(r"[A-Za-z0-9_]{1,64}\Z")
_USERNAME = re.compile(rf"[A-Za-z0-9_]{{1,{USERNAME_CHARACTERS_MAX}}}\Z")
_TOPIC = re.compile(rf"(?!\.{{1,2}}\Z)[A-Za-z0-9._-]{{1,{TOPIC_CHARACTERS_MAX}}}\Z")
_TOPIC_PART = re.compile(r"[A-Za-z0-9_-]{1,100}\Z")
_FILE_AND_POSITION = re.compile(r"[^:/\s]+\.\d+:\d+\Z")
_GTID_SET = re.compile(r"[0-9A-Fa-f-]{36}:\S+\Z|\d+-\d+-\d+(,\d+-\d+-\d+)*\Z")
_NUMBER_WITH_UNIT = re.compile(r"(\d+)\s*([A-Za-z]+)\Z")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^:/@]*):.*(?=@)")
_MSGSPEC_PATH = re.compile(r" - at `\$(?:\.?(.*))`\Z")


class ConfigError(Exception):
    """The configuration cannot be used; the message is one sentence for the person who wrote it."""


class Secret:
    """A text that is used and never shown: `reveal()` gives it, every other way of printing it does not."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "<secret>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file: what is not one of its keys is refused."""


class GroupConfig(_Table, frozen=True):
    """`[[channels.groups]]`: a consumer group, which is also the account that may read the channel."""

    name: str
    username: str
    id: str | None = None
    password: Secret | None = None
    password_file: str | None = None
    password_hash: Secret | None = None


class ChannelConfig(_Table, frozen=True):
    """`[[channels]]`: one source and the topic that carries its changes."""

    id: str
    source: Secret
    objects: list[str]
    name: str | None = None
    region: str | None = None
    instance_id: str | None = None
    topic: str | None = None
    server_id: int = 0
    data_types: list[Literal["dml", "ddl"]] = msgspec.field(default_factory=lambda: ["dml", "ddl"])
    start: str | int = "now"
    retention: str = "24h"
    retention_size: str | None = None
    segment_size: str = "256MiB"
    flush: Literal["interval", "before-visible"] = "interval"
    flush_interval: str = "1s"
    groups: list[GroupConfig] = []

    @property
    def display_name(self) -> str:
        return self.name if self.name is not None else self.id

    @property
    def topic_name(self) -> str:
        """The topic as given, or made from region and instance in the service's pattern."""
        if self.topic is not None:
            return self.topic
        account = re.sub(r"[^A-Za-z0-9_]", "_", source_account(self.source.reveal())) or "dtsacct"
        return f"{self.region}_{self.instance_id}_{account}_version2"

    @property
    def retention_ms(self) -> int:
        return duration_ms(self.retention)

    @property
    def retention_bytes(self) -> int | None:
        return None if self.retention_size is None else size_bytes(self.retention_size)

    @property
    def segment_bytes(self) -> int:
        return size_bytes(self.segment_size)

    @property
    def flush_interval_ms(self) -> int:
        return duration_ms(self.flush_interval)

    @property
    def source_shown(self) -> str:
        """The source's address with its password left out."""
        return without_password(self.source.reveal())


class ListenerConfig(_Table, frozen=True):
    """`[[listeners]]`: one address at which Kafka clients connect."""

    name: str = "public"
    bind: str = "127.0.0.1:18001"
    advertised: str | None = None
    security: Literal["SASL_PLAINTEXT", "PLAINTEXT"] = "SASL_PLAINTEXT"
    allow_anonymous: bool = False

    @property
    def bind_address(self) -> Address:
        return Address.parse(self.bind)

    @property
    def advertised_address(self) -> Address | None:
        return None if self.advertised is None else Address.parse(self.advertised)


class Config(_Table, frozen=True):
    """The whole file. `data_dir` and `password_file` are relative to the folder the file lies in."""

    data_dir: str = "data"
    listeners: list[ListenerConfig] = msgspec.field(default_factory=lambda: [ListenerConfig()])
    channels: list[ChannelConfig] = []

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir)


# --- reading --------------------------------------------------------------------------------------------------------


def load(path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """Read and check a configuration file; `ConfigError` if it is missing, not TOML or breaks a rule."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"The configuration file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The configuration file {path} is not valid TOML: {error}.") from None
    try:
        return from_document(document, path.parent, os.environ if environment is None else environment)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def from_document(document: dict[str, Any], folder: Path, environment: Mapping[str, str]) -> Config:
    """Make a `Config` of a parsed document; relative paths are taken from `folder`. `ConfigError` names the key."""
    document = _substituted(document, "", environment)
    try:
        config = msgspec.convert(document, Config, dec_hook=_secret)
    except msgspec.ValidationError as error:
        raise _explained(str(error), document) from None
    channels = [_with_passwords(channel, index, folder) for index, channel in enumerate(config.channels)]
    config = msgspec.structs.replace(config, channels=channels, data_dir=str(folder / config.data_dir))
    _check(config)
    return config


def _secret(kind: type[Any], value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError(f"Expected `str`, got `{_type_name(value)}`")


def _substituted(value: Any, path: str, environment: Mapping[str, str]) -> Any:
    """`value` with `${NAME}` replaced in every text below it, percent-encoded in an address; a point in time as seconds."""
    if isinstance(value, dict):
        return {key: _substituted(item, f"{path}.{key}" if path else key, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [_substituted(item, f"{path}[{index}]", environment) for index, item in enumerate(value)]
    if isinstance(value, datetime) and value.tzinfo is not None:
        return int(value.timestamp())
    if not isinstance(value, str) or "${" not in value:
        return value

    def replacement(match: re.Match[str]) -> str:
        found = environment.get(match[1])
        if found is None:
            raise ConfigError(f"{path}: found ${{{match[1]}}}, but the environment has no variable {match[1]}; set it.")
        if not path.endswith(".source"):
            return found
        from urllib.parse import quote

        return quote(found, safe="")

    return _VARIABLE.sub(replacement, value)


def _with_passwords(channel: ChannelConfig, index: int, folder: Path) -> ChannelConfig:
    groups = []
    for number, group in enumerate(channel.groups):
        path = f"channels[{index}].groups[{number}]"
        ways = [key for key in ("password", "password_file", "password_hash") if getattr(group, key) is not None]
        if len(ways) != 1:
            found = f"both {' and '.join(ways)}" if ways else "none"
            raise ConfigError(
                f"{path}: found {found}; allowed is exactly one of password, password_file, password_hash."
            )
        if group.password_file is not None:
            file = folder / group.password_file
            try:
                text = file.read_text("utf-8").rstrip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
                raise ConfigError(f"{path}.password_file: the file {file} cannot be read: {why}.") from None
            group = msgspec.structs.replace(group, password=Secret(text))
        groups.append(group)
    return msgspec.structs.replace(channel, groups=groups)


# --- values ---------------------------------------------------------------------------------------------------------


def duration_ms(text: str) -> int:
    """Milliseconds of a duration such as `250ms`, `90s`, `15m`, `24h`, `7d`; `ValueError` if it is not one."""
    return _number_with_unit(text, DURATION_UNITS_MS)


def size_bytes(text: str) -> int:
    """Bytes of a size such as `512MiB` or `8GiB`; `ValueError` if it is not one."""
    return _number_with_unit(text, SIZE_UNITS_BYTES)


def _number_with_unit(text: str, units: Mapping[str, int]) -> int:
    match = _NUMBER_WITH_UNIT.match(text)
    if match is None or match[2] not in units or int(match[1]) == 0:
        raise ValueError(text)
    return int(match[1]) * units[match[2]]


def source_account(source: str) -> str:
    """The user name in a source address, "" if there is none."""
    from urllib.parse import unquote, urlsplit

    return unquote(urlsplit(source).username or "")


def without_password(source: str) -> str:
    """A source address as it may be shown: the password in it, if any, replaced by `***`."""
    return _PASSWORD_IN_URL.sub(r"\1:***", source)


# --- rules ----------------------------------------------------------------------------------------------------------


def _check(config: Config) -> None:
    _check_unique("listeners", "name", [listener.name for listener in config.listeners])
    if not config.listeners:
        raise ConfigError("listeners: found an empty list; allowed is at least one listener.")
    for index, listener in enumerate(config.listeners):
        _check_listener(f"listeners[{index}]", listener)
    _check_unique("listeners", "bind", [item.bind for item in config.listeners if item.bind_address.port])
    for index, channel in enumerate(config.channels):
        _check_channel(f"channels[{index}]", channel)
    _check_unique("channels", "id", [channel.id for channel in config.channels])
    _check_unique("channels", "topic", [channel.topic_name for channel in config.channels])
    groups = [group.id for channel in config.channels for group in channel.groups if group.id is not None]
    _check_unique("channels.groups", "id", groups)


def _check_listener(path: str, listener: ListenerConfig) -> None:
    if not listener.name:
        raise _refused(f"{path}.name", listener.name, "a name such as public, classic or vpc")
    for key in ("bind", "advertised"):
        text = getattr(listener, key)
        try:
            address = None if text is None else Address.parse(text)
        except ValueError:
            raise _refused(f"{path}.{key}", text, "host:port, such as 127.0.0.1:18001 or [::1]:18001") from None
        if key == "advertised" and address is not None and (address.host in ("0.0.0.0", "::") or address.port == 0):  # noqa: S104
            raise _refused(
                f"{path}.advertised", text, "an address clients can connect to, not a wildcard and not port 0"
            )
    if listener.security == "PLAINTEXT" and not listener.allow_anonymous and not listener.bind_address.is_loopback:
        raise ConfigError(
            f"{path}.security: found PLAINTEXT on {listener.bind}, where anybody could read every topic; "
            "allowed is SASL_PLAINTEXT, a loopback address, or allow_anonymous = true."
        )


def _check_channel(path: str, channel: ChannelConfig) -> None:
    _match(f"{path}.id", channel.id, _CHANNEL_ID, "1 to 64 letters, digits, underscores or hyphens")
    _check_topic(path, channel)
    _check_source(f"{path}.source", channel.source.reveal())
    if not 0 <= channel.server_id < 1 << 32:
        raise _refused(f"{path}.server_id", channel.server_id, "0 (random, kept) or a number from 1 to 4294967295")
    _check_objects(f"{path}.objects", channel.objects)
    if not channel.data_types:
        raise _refused(f"{path}.data_types", channel.data_types, 'one or both of "dml" and "ddl"')
    _check_start(f"{path}.start", channel.start)
    for key, parse, allowed in (
        ("retention", duration_ms, 'a duration such as "90s", "15m", "24h" or "7d"'),
        ("flush_interval", duration_ms, 'a duration such as "250ms" or "1s"'),
        ("retention_size", size_bytes, 'a size such as "512MiB" or "8GiB"'),
        ("segment_size", size_bytes, 'a size such as "64MiB" or "1GiB"'),
    ):
        text = getattr(channel, key)
        try:
            _ = None if text is None else parse(text)
        except ValueError:
            raise _refused(f"{path}.{key}", text, allowed) from None
    _check_groups(path, channel.groups)


def _check_topic(path: str, channel: ChannelConfig) -> None:
    if channel.topic is not None:
        allowed = f"1 to {TOPIC_CHARACTERS_MAX} letters, digits, dots, underscores or hyphens"
        _match(f"{path}.topic", channel.topic, _TOPIC, allowed)
        return
    for key in ("region", "instance_id"):
        text = getattr(channel, key)
        if text is None:
            raise ConfigError(f"{path}: found neither topic nor {key}; give topic, or region and instance_id.")
        _match(f"{path}.{key}", text, _TOPIC_PART, "1 to 100 letters, digits, underscores or hyphens")


def _check_source(path: str, source: str) -> None:
    scheme, separator, rest = source.partition("://")
    if not separator or scheme not in SOURCE_SCHEMES or not rest:
        allowed = "mysql://user:password@host:3306, mariadb://…, polardb://… or file:///folder/mysql-bin.000001"
        raise _refused(path, without_password(source) if separator else "a text without ://", allowed)


def _check_objects(path: str, objects: list[str]) -> None:
    if not objects:
        raise _refused(path, objects, 'a list of databases and tables such as ["shop", "crm.customer"]')
    for index, name in enumerate(objects):
        database, dot, table = name.partition(".")
        if not database or (dot and not table) or "." in table:
            raise _refused(f"{path}[{index}]", name, "a database such as shop, or one table such as crm.customer")


def _check_start(path: str, start: str | int) -> None:
    allowed = '"now", "earliest", a time in seconds or as 2026-01-31T08:00:00Z, "file.000001:position" or a GTID set'
    if isinstance(start, str):
        if start not in ("now", "earliest") and not _FILE_AND_POSITION.match(start) and not _GTID_SET.match(start):
            raise _refused(path, start, allowed)
    elif isinstance(start, int) and start <= 0:
        raise _refused(path, start, allowed)


def _check_groups(path: str, groups: list[GroupConfig]) -> None:
    if len(groups) > GROUPS_PER_CHANNEL_MAX:
        raise ConfigError(f"{path}.groups: found {len(groups)} groups; allowed are at most {GROUPS_PER_CHANNEL_MAX}.")
    for index, group in enumerate(groups):
        here = f"{path}.groups[{index}]"
        if not 1 <= len(group.name) <= GROUP_NAME_CHARACTERS_MAX:
            raise _refused(f"{here}.name", group.name, f"1 to {GROUP_NAME_CHARACTERS_MAX} characters")
        allowed = f"1 to {USERNAME_CHARACTERS_MAX} letters, digits or underscores"
        _match(f"{here}.username", group.username, _USERNAME, allowed)
        if group.id is not None:
            _match(f"{here}.id", group.id, _GROUP_ID, "1 to 64 letters, digits or underscores")
        if group.password is not None:
            key = "password" if group.password_file is None else "password_file"
            check_password(f"{here}.{key}", group.password.reveal())
        if group.password_hash is not None:
            _check_password_hash(f"{here}.password_hash", group.password_hash.reveal())
    _check_unique(f"{path}.groups", "name", [group.name for group in groups])


def _check_password_hash(path: str, text: str) -> None:
    from broker.accounts import Verifier

    try:
        Verifier.parse(text)
    except ValueError:
        allowed = "$scrypt$ln=14,r=8,p=1$<salt>$<hash>, salt and hash in base64 without padding"
        raise ConfigError(f"{path}: found a text of {len(text)} characters; allowed is {allowed}.") from None


def check_password(path: str, password: str) -> None:
    """The service's rule for a group's password; `ConfigError` says how it is broken without repeating it."""
    classes = sum(
        (
            any("A" <= character <= "Z" for character in password),
            any("a" <= character <= "z" for character in password),
            any("0" <= character <= "9" for character in password),
            any(not (character.isascii() and character.isalnum()) for character in password),
        )
    )
    if PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX and classes >= PASSWORD_CLASSES_MIN:
        return
    kinds = "kind" if classes == 1 else "kinds"
    raise ConfigError(
        f"{path}: found a password of {len(password)} characters and {classes} {kinds} of character; allowed are "
        f"{PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters with at least {PASSWORD_CLASSES_MIN} of "
        "upper case, lower case, digits and special characters."
    )


# --- errors ---------------------------------------------------------------------------------------------------------


def _refused(path: str, found: object, allowed: str) -> ConfigError:
    return ConfigError(f"{path}: found {found!r}; allowed is {allowed}.")


def _match(path: str, found: str, pattern: re.Pattern[str], allowed: str) -> None:
    if not pattern.match(found):
        raise _refused(path, found, allowed)


def _check_unique(path: str, key: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ConfigError(f"{path}: found {key} {value!r} more than once; allowed is each {key} once.")


def _explained(message: str, document: dict[str, Any]) -> ConfigError:
    """A refusal of msgspec's in the house's form: the key path, what was found there, what is allowed."""
    match = _MSGSPEC_PATH.search(message)
    path = match[1] if match is not None else ""
    text = message[: match.start()] if match is not None else message
    if unknown := re.match(r"Object contains unknown field `(.*)`", text):
        keys = ", ".join(_struct_at(path).__struct_fields__)
        return ConfigError(f"{_joined(path, unknown[1])}: this key is not known; allowed are {keys}.")
    if missing := re.match(r"Object missing required field `(.*)`", text):
        return ConfigError(f"{_joined(path, missing[1])}: found nothing; this key is required.")
    found = _value_at(document, path)
    if re.match(r"Invalid enum value", text):
        return _refused(path, found, _choices(path))
    expected = re.match(r"Expected `([^`]*)`", text)
    kind = expected[1] if expected is not None else "another type"
    secret = path.rpartition(".")[2] in ("source", "password", "password_hash")
    shown = f"a value of type {_type_name(found)}" if secret else repr(found)
    return ConfigError(f"{path or 'the file'}: found {shown}; allowed is {_ALLOWED_TYPES.get(kind, kind)}.")


_ALLOWED_TYPES: Final[Mapping[str, str]] = {
    "str": "a text in quotes",
    "str | null": "a text in quotes",
    "int": "a whole number",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
    "int | str": "a text, a whole number or a date and time with its offset",
}


def _type_name(value: object) -> str:
    names = {str: "text", bool: "boolean", int: "whole number", float: "number", list: "list", dict: "table"}
    return names.get(type(value), type(value).__name__)


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _struct_at(path: str) -> type[msgspec.Struct]:
    if ".groups[" in path:
        return GroupConfig
    if path.startswith("channels["):
        return ChannelConfig
    return ListenerConfig if path.startswith("listeners[") else Config


def _choices(path: str) -> str:
    key = re.sub(r"\[\d+\]", "", path).rpartition(".")[2]
    choices = {
        "security": ("SASL_PLAINTEXT", "PLAINTEXT"),
        "data_types": ("dml", "ddl"),
        "flush": ("interval", "before-visible"),
    }[key]
    return " or ".join(choices)


def _value_at(document: Any, path: str) -> Any:
    value = document
    for step in re.findall(r"[^.\[\]]+", path):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value
