"""What a configuration may say: the values of its keys, the limits, and the service's rules for consumer groups.

Owns every rule that a type does not express; each broken one is a `ConfigError` naming the key path, what was found and
what is allowed. The limits on groups are the service's own (at most 20 of them, names up to 128 characters, user
names of 1 to 16 and passwords of 8 to 32 characters, two kinds of character in a password).

Left to others: reading the file, types and unknown keys (`config.py`).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

from broker.group_rules import GROUPS_PER_CHANNEL_MAX, allowed_name, allowed_username, broken_password
from broker.listener import Address, address_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.config import ChannelConfig, Config, GroupConfig, ListenerConfig

TOPIC_CHARACTERS_MAX: Final = 249  # Kafka's limit on a topic name
SEGMENT_BYTES_MAX: Final = 2 << 30  # positions in an index are 32 bits
RECORD_BYTES_MIN: Final = 1 << 10  # BEGIN, COMMIT and HEARTBEAT records stay below it
RECORD_BYTES_MAX: Final = 1 << 30  # MySQL sends no larger event (max_allowed_packet); Kafka's sizes end at twice that
GROUP_TIME_MS_MAX: Final = 300_000  # no session or rebalance of a default client is longer

DURATION_UNITS_MS: Final[Mapping[str, int]] = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SIZE_UNITS_BYTES: Final[Mapping[str, int]] = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
SOURCE_SCHEMES: Final = ("mysql", "mariadb", "polardb", "file")

_CHANNEL_ID: Final = r"[A-Za-z0-9_-]{1,64}"
_GROUP_ID: Final = r"[A-Za-z0-9_]{1,64}"
_TOPIC: Final = rf"(?!\.{{1,2}}$)[A-Za-z0-9._-]{{1,{TOPIC_CHARACTERS_MAX}}}"
_TOPIC_PART: Final = r"[A-Za-z0-9_-]{1,100}"
_FILE_AND_POSITION: Final = r"[^:/\s]+\.\d+:\d+"
_GTID_SET: Final = r"[0-9A-Fa-f-]{36}:\S+|\d+-\d+-\d+(,\d+-\d+-\d+)*"
_SECONDS: Final = r"[1-9][0-9]{0,11}"
_NUMBER_WITH_UNIT: Final = r"(\d+)\s*([A-Za-z]+)"


class ConfigError(Exception):
    """The configuration cannot be used; the message is one sentence for the person who wrote it."""


# --- values ---------------------------------------------------------------------------------------------------------


def duration_ms(text: str) -> int:
    """Milliseconds of a duration such as `250ms`, `90s`, `15m`, `24h`, `7d`; `ValueError` if it is not one."""
    return _number_with_unit(text, DURATION_UNITS_MS)


def delay_ms(text: str) -> int:
    """Milliseconds of a duration that may also be none at all, such as `0s`; `ValueError` if it is not one."""
    match = re.fullmatch(_NUMBER_WITH_UNIT, text)
    nothing = match is not None and match[2] in DURATION_UNITS_MS and int(match[1]) == 0
    return 0 if nothing else duration_ms(text)


def size_bytes(text: str) -> int:
    """Bytes of a size such as `512MiB` or `8GiB`; `ValueError` if it is not one."""
    return _number_with_unit(text, SIZE_UNITS_BYTES)


def _segment_bytes(text: str) -> int:
    size = size_bytes(text)
    if size > SEGMENT_BYTES_MAX:
        raise ValueError(text)
    return size


def _record_bytes(text: str) -> int:
    size = size_bytes(text)
    if not RECORD_BYTES_MIN <= size <= RECORD_BYTES_MAX:
        raise ValueError(text)
    return size


def _number_with_unit(text: str, units: Mapping[str, int]) -> int:
    match = re.fullmatch(_NUMBER_WITH_UNIT, text)
    if match is None or match[2] not in units or int(match[1]) == 0:
        raise ValueError(text)
    return int(match[1]) * units[match[2]]


def source_account(source: str) -> str:
    """The user name in a source address, "" if there is none."""
    from urllib.parse import unquote

    # Not urlsplit: a password may hold what it takes for a delimiter.
    scheme, _, rest = source.partition("://")
    return "" if scheme == "file" else unquote(rest.rpartition("@")[0].partition(":")[0])


# --- rules ----------------------------------------------------------------------------------------------------------


def check(config: Config) -> None:
    """Hold a configuration to the rules; `ConfigError` for the first that is broken."""
    _check_unique("listeners", "name", [listener.name for listener in config.listeners])
    if not config.listeners:
        raise ConfigError("listeners: found an empty list; allowed is at least one listener")
    for index, listener in enumerate(config.listeners):
        _check_listener(f"listeners[{index}]", listener)
    _check_unique("listeners", "bind", [item.bind for item in config.listeners if item.bind_address.port])
    _check_group_times(config)
    if config.console is not None:
        from broker.console_rules import check_console

        check_console(config, config.console)
    for index, channel in enumerate(config.channels):
        check_channel(f"channels[{index}]", channel)
    _check_unique("channels", "id", [channel.id for channel in config.channels])
    _check_unique("channels", "topic", [channel.topic_name for channel in config.channels])
    groups = [group.id for channel in config.channels for group in channel.groups if group.id is not None]
    _check_unique("channels.groups", "id", groups)
    if config.alerts or config.mail is not None or config.alert_commands:
        from broker.alert_rules import check_alerts  # a start without them needs none of it

        check_alerts(config)


def _check_group_times(config: Config) -> None:
    for key, parse, allowed in (
        ("group_min_session_timeout", duration_ms, 'a duration up to 5m such as "6s" or "500ms"'),
        ("group_initial_rebalance_delay", delay_ms, 'a duration up to 5m such as "3s", or "0s" for none'),
    ):
        text = getattr(config, key)
        try:
            valid = parse(text) <= GROUP_TIME_MS_MAX
        except ValueError:
            valid = False
        if not valid:
            raise refused(key, text, allowed)


def _check_listener(path: str, listener: ListenerConfig) -> None:
    if not listener.name:
        raise refused(f"{path}.name", listener.name, "a name such as public, classic or vpc")
    for key in ("bind", "advertised"):
        text = getattr(listener, key)
        try:
            address = None if text is None else Address.parse(text)
        except ValueError:
            raise refused(f"{path}.{key}", text, "host:port, such as 127.0.0.1:18001 or [::1]:18001") from None
        if key == "advertised" and address is not None and (address.host in ("0.0.0.0", "::") or address.port == 0):  # noqa: S104
            raise refused(
                f"{path}.advertised", text, "an address clients can connect to, not a wildcard and not port 0"
            )
    if listener.security == "PLAINTEXT" and not listener.allow_anonymous and not listener.bind_address.is_loopback:
        raise ConfigError(
            f"{path}.security: found PLAINTEXT on {listener.bind}, where anybody could read every topic; "
            "allowed is SASL_PLAINTEXT, SASL_SSL, a loopback address, or allow_anonymous = true"
        )
    _check_tls_keys(path, listener)
    check_ranges(path, listener.allow_from)


def check_ranges(path: str, allow_from: list[str] | None) -> None:
    """Hold the addresses that may connect to the rules; `ConfigError` under `path`."""
    if allow_from == []:
        # Nobody, or everybody? Who empties the list may mean either, and one of them opens the door.
        raise refused(
            f"{path}.allow_from", [], "one range of addresses or more; leave the key out to let everybody connect"
        )
    for index, text in enumerate(allow_from or ()):
        try:
            address_range(text)
        except ValueError:
            allowed = "an address or a range of addresses such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
            raise refused(f"{path}.allow_from[{index}]", text, allowed) from None


def _check_tls_keys(path: str, listener: ListenerConfig) -> None:
    for key in ("tls_cert", "tls_key"):
        given = getattr(listener, key)
        if listener.security == "SASL_SSL" and not given:
            raise ConfigError(f"{path}.{key}: found nothing; SASL_SSL needs tls_cert and tls_key, files in PEM form")
        if listener.security != "SASL_SSL" and given is not None:
            raise ConfigError(
                f"{path}.{key}: found a file, but security is {listener.security}, which uses none; set security = "
                f'"SASL_SSL", or leave {key} out'
            )


def check_channel(path: str, channel: ChannelConfig) -> None:
    """Hold one channel to the rules; `ConfigError` under `path` for the first that is broken."""
    _match(f"{path}.id", channel.id, _CHANNEL_ID, "1 to 64 letters, digits, underscores or hyphens")
    _check_topic(path, channel)
    _check_source(f"{path}.source", channel.source.reveal())
    if not 0 <= channel.server_id < 1 << 32:
        raise refused(f"{path}.server_id", channel.server_id, "0 (random, kept) or a number from 1 to 4294967295")
    _check_objects(f"{path}.objects", channel.objects)
    if not channel.data_types:
        raise refused(f"{path}.data_types", channel.data_types, 'one or both of "dml" and "ddl"')
    _check_start(f"{path}.start", channel.start)
    for key, parse, allowed in (
        ("retention", duration_ms, 'a duration such as "90s", "15m", "24h" or "7d"'),
        ("flush_interval", duration_ms, 'a duration such as "250ms" or "1s"'),
        ("flush_size", size_bytes, 'a size such as "1MiB" or "64MiB"'),
        ("retention_size", size_bytes, 'a size such as "512MiB" or "8GiB"'),
        ("segment_size", _segment_bytes, 'a size up to 2GiB such as "64MiB" or "1GiB"'),
        ("record_bytes_max", _record_bytes, 'a size from 1KiB to 1GiB, the largest event MySQL sends, such as "90MiB"'),
    ):
        text = getattr(channel, key)
        try:
            _ = None if text is None else parse(text)
        except ValueError:
            raise refused(f"{path}.{key}", text, allowed) from None
    _check_groups(path, channel.groups)


def _check_topic(path: str, channel: ChannelConfig) -> None:
    if channel.topic is not None:
        allowed = f"1 to {TOPIC_CHARACTERS_MAX} letters, digits, dots, underscores or hyphens"
        _match(f"{path}.topic", channel.topic, _TOPIC, allowed)
        return
    for key in ("region", "instance_id"):
        text = getattr(channel, key)
        if text is None:
            raise ConfigError(f"{path}: found neither topic nor {key}; give topic, or region and instance_id")
        _match(f"{path}.{key}", text, _TOPIC_PART, "1 to 100 letters, digits, underscores or hyphens")


def _check_source(path: str, source: str) -> None:
    scheme, separator, rest = source.partition("://")
    if not separator or scheme not in SOURCE_SCHEMES or not rest:
        allowed = "mysql://user:password@host:3306, mariadb://…, polardb://… or file:///folder/mysql-bin.000001"
        shown = f"{scheme}://…" if separator else "a text without ://"
        raise ConfigError(f"{path}: found {shown}; allowed is {allowed}")
    if scheme != "file" and "@" in rest.partition("?")[2]:
        raise ConfigError(f"{path}: found a ? before the last @; in a user name or password it is written %3F")


def _check_objects(path: str, objects: list[str]) -> None:
    if not objects:
        raise refused(path, objects, 'a list of databases and tables such as ["shop", "crm.customer"]')
    for index, name in enumerate(objects):
        if not name:
            raise refused(f"{path}[{index}]", name, "a database such as shop, or one table such as crm.customer")


def _check_start(path: str, start: str | int) -> None:
    allowed = '"now", "earliest", a time in seconds or as 2026-01-31T08:00:00Z, "file.000001:position" or a GTID set'
    if isinstance(start, int):
        valid = start > 0
    else:
        patterns = (_FILE_AND_POSITION, _GTID_SET, _SECONDS)
        named = start in ("now", "earliest") or any(re.fullmatch(pattern, start) for pattern in patterns)
        valid = named or _is_moment(start)
    if not valid:
        raise refused(path, start, allowed)


def _is_moment(text: str) -> bool:
    """Whether this is a date and time with its offset, ISO 8601."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _check_groups(path: str, groups: list[GroupConfig]) -> None:
    if len(groups) > GROUPS_PER_CHANNEL_MAX:
        raise ConfigError(f"{path}.groups: found {len(groups)} groups; allowed are at most {GROUPS_PER_CHANNEL_MAX}")
    for index, group in enumerate(groups):
        here = f"{path}.groups[{index}]"
        if (allowed := allowed_name(group.name)) is not None:
            raise refused(f"{here}.name", group.name, allowed)
        if (allowed := allowed_username(group.username)) is not None:
            raise refused(f"{here}.username", group.username, allowed)
        if group.id is not None:
            _match(f"{here}.id", group.id, _GROUP_ID, "1 to 64 letters, digits or underscores")
        if group.connections_max < 0:
            raise refused(f"{here}.connections_max", group.connections_max, "0 (unlimited) or a number from 1 on")
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
        raise ConfigError(f"{path}: found a text of {len(text)} characters; allowed is {allowed}") from None


def check_password(path: str, password: str) -> None:
    """The service's rule for a group's password; `ConfigError` says how it is broken without repeating it."""
    if (broken := broken_password(password)) is not None:
        raise ConfigError(f"{path}: {broken}")


# --- errors ---------------------------------------------------------------------------------------------------------


def refused(path: str, found: object, allowed: str) -> ConfigError:
    """The error for one key: where, what was found, what is allowed."""
    return ConfigError(f"{path}: found {found!r}; allowed is {allowed}")


def _match(path: str, found: str, pattern: str, allowed: str) -> None:
    if not re.fullmatch(pattern, found):
        raise refused(path, found, allowed)


def _check_unique(path: str, key: str, values: list[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ConfigError(f"{path}: found {key} {value!r} more than once; allowed is each {key} once")
