"""What an alert rule, its targets and the ways to tell may be: one set of rules for the configuration file and for
operations.

Owns the values; each broken one is a `ConfigError` with the key, what was found and what is allowed. The address of a
webhook may hold a secret (its path often is one): it is never repeated beyond its host.

What a webhook may point to: any http or https address, also loopback and private ones, on purpose: receivers usually
run inside. Who may make rules may make channels too, which connect to any address; nothing of an answer but its status
is ever shown, and redirects are not followed. Addresses at which clouds serve credentials of a machine are refused
when they are connected to (`alerts/webhook.py`).

Left to others: whether a target can be reached (`test_alert`), types and unknown keys (`config.py`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from broker.config_rules import ConfigError, duration_ms, refused
from broker.listener import Address

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from urllib.parse import SplitResult

    from broker.config import AlertConfig, Config, MailConfig

NAME_CHARACTERS_MAX: Final = 128
TARGETS_MAX: Final = 16
URL_CHARACTERS_MAX: Final = 2048
EMAIL_CHARACTERS_MAX: Final = 254  # RFC 5321, 4.5.3.1.3, less the angle brackets
THRESHOLD_S_MAX: Final = 7 * 86_400
EVERY_GROUP: Final = "*"

USUAL_THRESHOLD_S: Final[Mapping[str, int]] = {"delay": 60, "error": 30, "no_heartbeat": 60}
"""Error: a source that is restarted is back before that, and nobody need get up for it."""
KINDS: Final = tuple(USUAL_THRESHOLD_S)

_COMMAND_NAME: Final = r"[A-Za-z0-9_-]{1,64}"
_CONTROLS: Final = r"[\x00-\x20\x7f]"
_EMAIL: Final = r"[^@\s<>(),;:\"\\]+@[^@\s<>(),;:\"\\]+"


def check_alerts(config: Config) -> None:
    """Hold `[[alerts]]`, `[mail]` and `[alert_commands]` to the rules."""
    for name, argv in config.alert_commands.items():
        _check_command(f"alert_commands.{name}", name, argv)
    if config.mail is not None:
        _check_mail(config.mail)
    for index, alert in enumerate(config.alerts):
        _check_alert(f"alerts[{index}]", alert, config)
    names = [alert.name for alert in config.alerts]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"alerts: found name {name!r} more than once; allowed is each name once")


def threshold_s(kind: str, text: str | None) -> int:
    """The seconds of a threshold of the file, the usual one of the kind if there is none."""
    if text is None:
        return USUAL_THRESHOLD_S[kind]
    return 0 if kind == "error" and re.fullmatch(r"0\s*(s|m|h)", text) else duration_ms(text) // 1000


def check_threshold(path: str, kind: str, seconds: int) -> None:
    """Seconds, up to those for which a channel resumes by itself; only an error counts at once."""
    if not (0 if kind == "error" else 1) <= seconds <= THRESHOLD_S_MAX:
        least = "0 (at once)" if kind == "error" else "1"
        raise refused(path, seconds, f"{least} to {THRESHOLD_S_MAX} seconds")


def check_scope(path: str, kind: str, channel_id: str | None, group_id: str | None) -> None:
    """A group belongs to a channel, and only delay is a group's."""
    if group_id is None:
        return
    if kind != "delay":
        raise ConfigError(f"{path}: found group {group_id!r}, but {kind} is of a channel; leave the group out")
    if group_id != EVERY_GROUP and channel_id is None:
        raise ConfigError(f'{path}: found group {group_id!r} without a channel; name its channel, or every group: "*"')


def check_webhook(path: str, url: str) -> None:
    """An http or https address with a host."""
    allowed = "an address such as https://hooks.example.com/…"
    if len(url) > URL_CHARACTERS_MAX or re.search(_CONTROLS, url):
        raise ConfigError(f"{path}: found a text of {len(url)} characters; allowed is {allowed} without spaces")
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and bool(host_and_port(parts)) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise ConfigError(f"{path}: found a text that is no address of a web server; allowed is {allowed}")
    if parts.fragment:
        raise ConfigError(f"{path}: found an address with a #, which no server would see; leave it and the rest out")


def check_email(path: str, address: str) -> None:
    """One plain address: what could be taken for two, or for a header, is refused."""
    if len(address) > EMAIL_CHARACTERS_MAX or not re.fullmatch(_EMAIL, address) or not address.isprintable():
        raise refused(path, address, "one address such as oncall@example.com")


def check_command(path: str, name: str, commands: Collection[str]) -> None:
    """The name of a command that the file defines: what is run comes from the file alone."""
    if name not in commands:
        there = f"one of {', '.join(sorted(commands))}" if commands else "none, for it defines no [alert_commands]"
        raise refused(path, name, f"the name of a command of the configuration file: {there}")


def shown_address(kind: str, address: str) -> str:
    """An address as it may be shown: of a webhook the scheme, host and port."""
    if kind != "webhook":
        return address
    parts = urlsplit(address)
    rest = "" if parts.path in ("", "/") and not parts.query else "/…"
    return f"{parts.scheme}://{host_and_port(parts)}{rest}"


def host_and_port(parts: SplitResult) -> str:
    """Where an address leads, as in a Host header."""
    host = parts.hostname or ""
    if not host.isascii():
        host = host.encode("idna").decode()
    host = f"[{host}]" if ":" in host else host
    return host if parts.port is None else f"{host}:{parts.port}"


def login_of(parts: SplitResult) -> tuple[str, str] | None:
    """User and password of an address."""
    return None if parts.username is None else (unquote(parts.username), unquote(parts.password or ""))


def _check_alert(path: str, alert: AlertConfig, config: Config) -> None:
    if not 1 <= len(alert.name) <= NAME_CHARACTERS_MAX:
        raise refused(f"{path}.name", alert.name, f"1 to {NAME_CHARACTERS_MAX} characters")
    try:
        seconds = threshold_s(alert.kind, alert.threshold)
    except ValueError:
        raise refused(f"{path}.threshold", alert.threshold, 'a duration such as "30s", "5m" or "1h"') from None
    check_threshold(f"{path}.threshold", alert.kind, seconds)
    check_scope(f"{path}.group", alert.kind, alert.channel, alert.group)
    if len(alert.webhooks) + len(alert.emails) + len(alert.commands) > TARGETS_MAX:
        raise ConfigError(f"{path}: found more than {TARGETS_MAX} webhooks, emails and commands; allowed are so many")
    for number, url in enumerate(alert.webhooks):
        check_webhook(f"{path}.webhooks[{number}]", url.reveal())
    for number, address in enumerate(alert.emails):
        check_email(f"{path}.emails[{number}]", address)
    for number, name in enumerate(alert.commands):
        check_command(f"{path}.commands[{number}]", name, config.alert_commands)
    if alert.emails and config.mail is None:
        raise ConfigError(f"{path}.emails: found addresses, but the file has no [mail] that says how mail is sent")


def _check_command(path: str, name: str, argv: list[str]) -> None:
    if not re.fullmatch(_COMMAND_NAME, name):
        raise refused("alert_commands", name, "names of 1 to 64 letters, digits, underscores or hyphens")
    if not argv or not argv[0].startswith("/") or any("\0" in argument for argument in argv):
        allowed = 'a program by its whole path and its arguments, such as ["/usr/local/bin/page", "-v"]'
        raise refused(path, argv[:1], allowed)


def _check_mail(mail: MailConfig) -> None:
    try:
        address = Address.parse(mail.server)
        is_usable = address.port > 0
    except ValueError:
        is_usable = False
    if not is_usable:
        raise refused("mail.server", mail.server, "host:port, such as smtp.example.com:587")
    check_email("mail.sender", mail.sender)
    if (mail.username is None) != (mail.password is None):
        raise ConfigError("mail: found only one of username and password; allowed are both, or none for no login")
    if mail.security == "none" and mail.password is not None and not address.is_loopback:
        raise ConfigError(
            f'mail.security: found none with a password, which would go to {mail.server} readable; allowed is "tls", '
            f'"starttls", or a mail server on this machine'
        )
