"""The configuration file: its keys, their rules, and what a person is told when one is broken.

Owns the TOML keys (one struct per table of the file, unknown keys refused), `${NAME}` substitution from the
environment and `password_file`. Every error is one `ConfigError` sentence that names the key path, what was found and
what is allowed; a secret is never repeated in it.

Invariant: a `Config` that `load` or `from_document` returned is valid as a whole; nothing behind it checks keys again.
Durations and sizes stay text in the structs, as typed; the properties give numbers with their units.

Left to others: the rules of the values (`config_rules.py`), whether a source can be reached and read
(`capture/precheck.py`), whether a port is free (`server.py`).
"""

from __future__ import annotations

import os
import re
from datetime import date, datetime
from datetime import time as dt_time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from broker.config_rules import ConfigError, check, delay_ms, duration_ms, refused, size_bytes, source_account
from broker.listener import Address

if TYPE_CHECKING:
    from collections.abc import Mapping

_VARIABLE: Final = r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}"
_MSGSPEC_PATH: Final = r" - at `\$(?:\.?(.*))`\Z"


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
    connections_max: int = 0


class ChannelConfig(_Table, frozen=True):
    """`[[channels]]`: one source and the topic that carries its changes."""

    id: str
    source: Secret
    objects: list[str]
    source_password_file: str | None = None
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
    flush_size: str = "64MiB"
    compression: Literal["none", "gzip", "snappy", "lz4"] = "none"
    record_bytes_max: str = "90MiB"
    before_range: Literal["start", "nothing"] = "start"
    allow_replica: bool = False
    schema_file: str | None = None
    ghost_ddl: Literal["follow", "service"] = "follow"
    row_image: Literal["full", "any"] = "full"
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
    def flush_bytes(self) -> int:
        return size_bytes(self.flush_size)

    @property
    def record_limit_bytes(self) -> int:
        return size_bytes(self.record_bytes_max)


class ListenerConfig(_Table, frozen=True):
    """`[[listeners]]`: one address at which Kafka clients connect."""

    name: str = "public"
    bind: str = "127.0.0.1:18001"
    advertised: str | None = None
    security: Literal["SASL_PLAINTEXT", "SASL_SSL", "PLAINTEXT"] = "SASL_PLAINTEXT"
    tls_cert: str | None = None
    tls_key: str | None = None
    allow_from: list[str] | None = None
    allow_anonymous: bool = False
    dts_quirks: bool = False

    @property
    def bind_address(self) -> Address:
        return Address.parse(self.bind)

    @property
    def advertised_address(self) -> Address | None:
        return None if self.advertised is None else Address.parse(self.advertised)


class ConsoleConfig(_Table, frozen=True):
    """`[console]`: the address of console, REST interface and metrics, and who may use them."""

    bind: str = "127.0.0.1:18080"
    hosts: list[str] = []
    password: Secret | None = None
    password_file: str | None = None
    password_hash: Secret | None = None
    tokens: list[Secret] = []
    tls_cert: str | None = None
    tls_key: str | None = None
    allow_from: list[str] | None = None

    @property
    def bind_address(self) -> Address:
        return Address.parse(self.bind)

    @property
    def needs_login(self) -> bool:
        return self.password is not None or self.password_hash is not None or bool(self.tokens)


class AlertConfig(_Table, frozen=True):
    """`[[alerts]]`: what is an incident, and who is told (`alert_rules.py`)."""

    name: str
    kind: Literal["delay", "error", "no_heartbeat"]
    channel: str | None = None
    group: str | None = None
    threshold: str | None = None
    webhooks: list[Secret] = []
    emails: list[str] = []
    commands: list[str] = []
    enabled: bool = True


class MailConfig(_Table, frozen=True):
    """`[mail]`: the server by which alerts are sent as mail."""

    server: str
    sender: str
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: Secret | None = None
    password_file: str | None = None


class Config(_Table, frozen=True):
    """The whole file. `data_dir` and the files it names are relative to the folder it lies in."""

    data_dir: str = "data"
    group_min_session_timeout: str = "6s"
    group_initial_rebalance_delay: str = "0s"
    listeners: list[ListenerConfig] = msgspec.field(default_factory=lambda: [ListenerConfig()])
    channels: list[ChannelConfig] = []
    console: ConsoleConfig | None = None
    alerts: list[AlertConfig] = []
    mail: MailConfig | None = None
    alert_commands: dict[str, list[str]] = {}

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir)

    @property
    def group_min_session_ms(self) -> int:
        return duration_ms(self.group_min_session_timeout)

    @property
    def group_initial_rebalance_ms(self) -> int:
        return delay_ms(self.group_initial_rebalance_delay)


# --- reading --------------------------------------------------------------------------------------------------------


def load(path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """Read and check a configuration file; `ConfigError` if it is missing, not TOML or breaks a rule."""
    document = _parsed(path)
    try:
        return from_document(document, path.parent, os.environ if environment is None else environment)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def data_directory(path: Path) -> Path:
    """The data directory that a configuration file names, for commands that need nothing else of it."""
    data_dir = _parsed(path).get("data_dir", Config().data_dir)
    if not isinstance(data_dir, str):
        raise ConfigError(f"{path}: data_dir: found {data_dir!r}; allowed is a text in quotes")
    return path.parent / data_dir


def _parsed(path: Path) -> dict[str, Any]:
    import tomllib  # 2 ms of a start, of which the embedded fixture has no use

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no configuration file {path}; write one, or name another with -c FILE") from None
    except OSError as error:
        raise ConfigError(f"the configuration file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"the configuration file {path} is not UTF-8 text; save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the configuration file {path} is not valid TOML: {error}") from None


def from_document(document: dict[str, Any], folder: Path, environment: Mapping[str, str]) -> Config:
    """Make a `Config` of a parsed document; relative paths are taken from `folder`. `ConfigError` names the key."""
    document = _substituted(document, "", environment)
    try:
        config = msgspec.convert(document, Config, dec_hook=_secret)
    except msgspec.ValidationError as error:
        raise _explained(str(error), document) from None
    if not config.data_dir:
        raise refused("data_dir", config.data_dir, 'a folder such as "data"')
    channels = [_with_passwords(channel, index, folder) for index, channel in enumerate(config.channels)]
    channels = [_with_source_password(channel, index, folder) for index, channel in enumerate(channels)]
    channels = [_with_schema_file(channel, index, folder) for index, channel in enumerate(channels)]
    listeners = [_with_folder(listener, folder) for listener in config.listeners]
    mail = None if config.mail is None else _with_mail_password(config.mail, folder)
    console = config.console
    if console is not None:
        from broker.console_rules import with_files

        console = with_files(console, folder)
    config = msgspec.structs.replace(
        config,
        listeners=listeners,
        channels=channels,
        mail=mail,
        console=console,
        data_dir=str(folder / config.data_dir),
    )
    check(config)
    return config


def _secret(kind: type[Any], value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError(f"Expected `str`, got `{_type_name(value)}`")


def _substituted(value: Any, path: str, environment: Mapping[str, str]) -> Any:
    """`value` with `${NAME}` replaced in every text of it, percent-encoded in an address; points in time as seconds."""
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
            raise ConfigError(f"{path}: found ${{{match[1]}}}, but the environment has no variable {match[1]}; set it")
        if not path.endswith(".source"):
            return found
        from urllib.parse import quote

        return quote(found, safe="")

    return re.sub(_VARIABLE, replacement, value)


def _with_folder(listener: ListenerConfig, folder: Path) -> ListenerConfig:
    named = {key: getattr(listener, key) for key in ("tls_cert", "tls_key")}
    return msgspec.structs.replace(listener, **{key: str(folder / file) for key, file in named.items() if file})


def _with_source_password(channel: ChannelConfig, index: int, folder: Path) -> ChannelConfig:
    if channel.source_password_file is None:
        return channel
    path, key = f"channels[{index}]", "source_password_file"
    scheme, _, rest = channel.source.reveal().partition("://")
    user, at, location = rest.rpartition("@")
    if not at or not user or ":" in user or scheme == "file":
        raise ConfigError(
            f"{path}.{key}: found a file; allowed is one where source names a server and a user without a password"
        )
    from urllib.parse import quote

    password = quote(password_of(path, folder / channel.source_password_file, key).reveal(), safe="")
    source = Secret(f"{scheme}://{user}:{password}@{location}")
    return msgspec.structs.replace(channel, source=source, source_password_file=None)


def _with_schema_file(channel: ChannelConfig, index: int, folder: Path) -> ChannelConfig:
    if channel.schema_file is None:
        return channel
    file = folder / channel.schema_file
    if not channel.schema_file or not file.is_file():
        raise ConfigError(
            f"channels[{index}].schema_file: there is no file {file}; name a file of CREATE TABLE statements, such as "
            f"mysqldump --no-data --databases writes, or leave the key out: a channel that has begun does not need it"
        )
    return msgspec.structs.replace(channel, schema_file=str(file))


def _with_passwords(channel: ChannelConfig, index: int, folder: Path) -> ChannelConfig:
    groups = []
    for number, group in enumerate(channel.groups):
        path = f"channels[{index}].groups[{number}]"
        ways = [key for key in ("password", "password_file", "password_hash") if getattr(group, key) is not None]
        if len(ways) != 1:
            found = f"both {' and '.join(ways)}" if ways else "no password"
            raise ConfigError(
                f"{path}: found {found}; allowed is exactly one of password, password_file, password_hash"
            )
        if group.password_file is not None:
            group = msgspec.structs.replace(group, password=password_of(path, folder / group.password_file))
        groups.append(group)
    return msgspec.structs.replace(channel, groups=groups)


def password_of(path: str, file: Path, key: str = "password_file") -> Secret:
    """What the file that `key` names holds, without the end of its line."""
    try:
        return Secret(file.read_text("utf-8").rstrip("\r\n"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{path}.{key}: the file {file} cannot be read: {why}") from None


def _with_mail_password(mail: MailConfig, folder: Path) -> MailConfig:
    if mail.password_file is None:
        return mail
    if mail.password is not None:
        raise ConfigError("mail: found both password and password_file; allowed is one of them")
    return msgspec.structs.replace(mail, password=password_of("mail", folder / mail.password_file))


# --- errors ---------------------------------------------------------------------------------------------------------


def _explained(message: str, document: dict[str, Any]) -> ConfigError:
    """A refusal of msgspec's in the house's form: the key path, what was found there, what is allowed."""
    match = re.search(_MSGSPEC_PATH, message)
    path = match[1] if match is not None else ""
    text = message[: match.start()] if match is not None else message
    if unknown := re.match(r"Object contains unknown field `(.*)`", text):
        keys = ", ".join(_struct_at(path).__struct_fields__)
        return ConfigError(f"{_joined(path, unknown[1])}: this key is not known; allowed are {keys}")
    if missing := re.match(r"Object missing required field `(.*)`", text):
        return ConfigError(f"{_joined(path, missing[1])}: found nothing; this key is required")
    found = _value_at(document, path)
    if re.match(r"Invalid enum value", text):
        return refused(path, found, _choices(path))
    expected = re.match(r"Expected `([^`]*)`", text)
    kind = expected[1] if expected is not None else "another type"
    allowed = _allowed_tables(path) if kind == "array" else None
    return ConfigError(f"{path}: found {_shown(path, found)}; allowed is {allowed or _ALLOWED_TYPES.get(kind, kind)}")


_ALLOWED_TYPES: Final[Mapping[str, str]] = {
    "str": "a text in quotes",
    "str | null": "a text in quotes",
    "int": "a whole number",
    "bool": "true or false",
    "array": 'a list in square brackets, such as ["a", "b"]',
    "array | null": 'a list in square brackets, such as ["a", "b"]',
    "object": "a table",
    "int | str": "a text, a whole number or a date and time with its offset",
}


_TABLES: Final = ("listeners", "channels", "groups", "alerts")


def _allowed_tables(path: str) -> str | None:
    """How tables are written that a key has several of; None for a key whose list is of something else."""
    heading = re.sub(r"\[\d+\]", "", path)
    return f"one table or more, each headed [[{heading}]]" if heading.rpartition(".")[2] in _TABLES else None


def _shown(path: str, value: object) -> str:
    """A value of the file as an error may repeat it: nothing that is, or may hold, a secret."""
    if path.rpartition(".")[2].partition("[")[0] in ("source", "password", "password_hash", "tokens"):
        return f"a value of type {_type_name(value)}"
    if isinstance(value, (dict, list)):
        return f"a {_type_name(value)}"
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, (date, dt_time)) else repr(value)


def _type_name(value: object) -> str:
    names = {str: "text", bool: "boolean", int: "whole number", float: "number", list: "list", dict: "table"}
    return names.get(type(value), type(value).__name__)


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _struct_at(path: str) -> type[msgspec.Struct]:
    if ".groups[" in path:
        return GroupConfig
    if path.startswith("console"):
        return ConsoleConfig
    if path.startswith("channels["):
        return ChannelConfig
    if path.startswith("alerts["):
        return AlertConfig
    if path == "mail" or path.startswith("mail."):
        return MailConfig
    return ListenerConfig if path.startswith("listeners[") else Config


def _choices(path: str) -> str:
    if path == "mail.security":
        return "starttls or tls or none"
    key = re.sub(r"\[\d+\]", "", path).rpartition(".")[2]
    choices = {
        "security": ("SASL_PLAINTEXT", "SASL_SSL", "PLAINTEXT"),
        "data_types": ("dml", "ddl"),
        "flush": ("interval", "before-visible"),
        "compression": ("none", "gzip", "snappy", "lz4"),
        "before_range": ("start", "nothing"),
        "row_image": ("full", "any"),
        "ghost_ddl": ("follow", "service"),
        "kind": ("delay", "error", "no_heartbeat"),
    }[key]
    return " or ".join(choices)


def _value_at(document: Any, path: str) -> Any:
    value = document
    for step in re.findall(r"[^.\[\]]+", path):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value
