"""What the table `[console]` may say, and the files it names.

Owns the rule that keeps the control plane from the network: an address that is not loopback needs a password or a
token. Each broken rule is a `ConfigError` naming the key path, what was found and what is allowed, without repeating a
secret. Loaded where there is such a table only.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import structs

from broker.accounts import Verifier
from broker.config import password_of
from broker.config_rules import ConfigError, check_ranges, refused
from broker.listener import Address, Listener, Security, address_range, public_address

if TYPE_CHECKING:
    from broker.certificate import ServerCertificate
    from broker.config import Config, ConsoleConfig, Secret
    from storage.clock import Clock

NAME: Final = "console"
PASSWORD_CHARACTERS_MIN: Final = 8
PASSWORD_CHARACTERS_MAX: Final = 1024
TOKENS_MAX: Final = 16
"""A token that was not seen before is held to each: so many hashes."""
TOKEN_BYTES: Final = 24
_PASSWORD_KEYS: Final = ("password", "password_file", "password_hash")
_HOST: Final = r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|[0-9A-Fa-f:.]+"


def with_files(console: ConsoleConfig, folder: Path) -> ConsoleConfig:
    """The table with the password of its file, and its other files as paths; `folder` is what they are relative to."""
    ways = [key for key in _PASSWORD_KEYS if getattr(console, key) is not None]
    if len(ways) > 1:
        raise ConfigError(f"{NAME}: found both {' and '.join(ways)}; allowed is one of {', '.join(_PASSWORD_KEYS)}")
    password = console.password
    if console.password_file is not None:
        password = password_of(NAME, folder / console.password_file)
    files = {key: str(folder / file) for key in ("tls_cert", "tls_key") if (file := getattr(console, key))}
    return structs.replace(console, password=password, **files)


def check_console(config: Config, console: ConsoleConfig) -> None:
    """Hold the table to the rules; `ConfigError` for the first that is broken."""
    try:
        address = Address.parse(console.bind)
    except ValueError:
        raise refused(f"{NAME}.bind", console.bind, "host:port, such as 127.0.0.1:18080 or [::1]:18080") from None
    if any(listener.name == NAME for listener in config.listeners):
        raise ConfigError(f'listeners: found name "{NAME}", which is the name of the address of [console]')
    if address.port and console.bind in [listener.bind for listener in config.listeners]:
        raise ConfigError(
            f"{NAME}.bind: found {console.bind!r}, which is a listener's bind; allowed is another address"
        )
    for index, host in enumerate(console.hosts):
        if not re.fullmatch(_HOST, host):
            raise refused(f"{NAME}.hosts[{index}]", host, "a host's name or address without a port")
    _check_secrets(console)
    if not console.needs_login and not address.is_loopback:
        raise ConfigError(
            f"{NAME}.bind: found {console.bind} without a password, where anybody could change and read everything; "
            "allowed is a loopback address, or a password, password_file, password_hash or tokens"
        )
    if (console.tls_cert is None) != (console.tls_key is None):
        given, missing = ("tls_cert", "tls_key") if console.tls_key is None else ("tls_key", "tls_cert")
        raise ConfigError(f"{NAME}.{missing}: found nothing, but {given}; TLS needs both, files in PEM form")
    check_ranges(NAME, console.allow_from)


def _check_secrets(console: ConsoleConfig) -> None:
    if console.password is not None:
        key = "password" if console.password_file is None else "password_file"
        check_console_password(f"{NAME}.{key}", console.password.reveal())
    if console.password_hash is not None:
        _check_hash(f"{NAME}.password_hash", console.password_hash)
    if len(console.tokens) > TOKENS_MAX:
        raise ConfigError(f"{NAME}.tokens: found {len(console.tokens)} tokens; allowed are at most {TOKENS_MAX}")
    for index, token in enumerate(console.tokens):
        _check_hash(f"{NAME}.tokens[{index}]", token)


def check_console_password(path: str, password: str) -> None:
    """The rule for the console's password; `ConfigError` says how it is broken without repeating it."""
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        allowed = f"{PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters"
        raise ConfigError(f"{path}: found a password of {len(password)} characters; allowed are {allowed}")


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def _check_hash(path: str, secret: Secret) -> None:
    text = secret.reveal()
    try:
        Verifier.parse(text)
    except ValueError:
        raise ConfigError(
            f"{path}: found a text of {len(text)} characters; allowed is a hash as `binwire password --console` and "
            "`binwire token` make it"
        ) from None


# --- the listener of it -----------------------------------------------------------------------------------------------


def console_listener(console: ConsoleConfig, clock: Clock) -> Listener:
    """Where the console listens, with its certificate; `ConfigError` if that cannot be used."""
    return Listener(
        name=NAME,
        bind=console.bind_address,
        security=Security.PLAINTEXT,
        certificate=_certificate(console, clock),
        allow_from=tuple(address_range(text) for text in console.allow_from or ()),
    )


def exposure(listener: Listener, bound: Address) -> str | None:
    """A sentence for who runs a console, bound here, whose clear text can be read on its way; else None."""
    public = None if listener.certificate is not None else public_address(bound)
    if public is None:
        return None
    return (
        f"the console sends passwords and data in clear text to whoever reaches {public}; use tls_cert and tls_key, or "
        "bind a private address"
    )


def _certificate(console: ConsoleConfig, clock: Clock) -> ServerCertificate | None:
    if console.tls_cert is None or console.tls_key is None:
        return None
    from broker.certificate import CertificateError, ServerCertificate

    host = console.hosts[0] if console.hosts else None
    try:
        return ServerCertificate(Path(console.tls_cert), Path(console.tls_key), clock, host)
    except CertificateError as error:
        raise ConfigError(f"{NAME}.{error.key}: {error}") from None
