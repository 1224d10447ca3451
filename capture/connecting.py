"""What keeps a connection to a MySQL server from coming about, in words that say where to look.

Four places: the TLS files named in the source's address, the way to the host, what answers there, and the TLS
handshake. The system's own texts name file descriptors and address tuples; here they become host, port and what to
check. Errors that a server answers with are the business of `capture/server_errors.py`.
"""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from typing import TYPE_CHECKING

from capture.errors import SourceRefused, SourceUnavailable
from capture.source import Tls, show_host

if TYPE_CHECKING:
    from capture.errors import CaptureError
    from capture.source import SourceAddress

PROTOCOL_VERSION = 10
"""The first byte of a greeting, of every server since MySQL 3.21."""

_CLOSED = frozenset({errno.EBADF, errno.ECONNRESET, errno.ECONNABORTED, errno.ENOTCONN, errno.EPIPE, errno.EINVAL})
"""How the system words a connection that the other side closed while it was being set up."""

_CONNECTION_LOST = 2013
_OTHER_NAMES = frozenset({62, 64})
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL."""
_NUMBER = re.compile(r"\[Errno (\d+)\]")
_CHECKS = {
    errno.ECONNREFUSED: "check host, port and that the server runs",
    errno.ENETUNREACH: "check the host and this machine's network",
    errno.EHOSTUNREACH: "check the host and this machine's network",
}


class NotMysql(SourceUnavailable):
    """Something answers, and not as a MySQL server does. Retried: another service may have the port for a while."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"what answers at {show_host(host, port)} is not a MySQL server; check host and port")


def greeting_failure(host: str, port: int, error: Exception) -> Exception:
    """What it means that no greeting could be read; `error` itself if a server said no in its place."""
    code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if code == _CONNECTION_LOST:
        return _closed(host, port)
    return error if code else NotMysql(host, port)


def _closed(host: str, port: int) -> SourceUnavailable:
    """Not `NotMysql`: a proxy in front of a server that is still starting does the same."""
    return SourceUnavailable(
        f"what answers at {show_host(host, port)} closes the connection without the greeting of a MySQL server; "
        f"check host and port, and that the server has started"
    )


def failure_to_connect(address: SourceAddress, host: str, port: int, error: Exception) -> CaptureError | None:
    """The sentence for the system's error in or behind `error`; None if there is none."""
    reason = system_reason(error)
    if reason is None:
        return None
    if isinstance(reason, ssl.SSLCertVerificationError):
        message, check = reason.verify_message.rstrip("."), "see tls_ca"
        if reason.verify_code in _OTHER_NAMES:
            check = "name the host as its certificate does, or take tls=verify_ca, which leaves names alone"
        return SourceRefused(f"the certificate of {address} is not trusted: {message}; {check}")
    if isinstance(reason, ssl.SSLError):
        return SourceUnavailable(
            f"TLS with the source {address} does not come about: {in_words(reason)}; check the TLS settings of the "
            f"server, or tls in the source address"
        )
    if reason.errno in _CLOSED:
        return _closed(host, port)
    check = _CHECKS.get(_number(reason) or 0, "check host, port and firewall")
    if isinstance(reason, socket.gaierror):
        check = f"check the host name {host!r} and the name service of this machine"
    return SourceUnavailable(f"the source {address} cannot be reached: {in_words(reason)}; {check}")


def system_reason(error: Exception) -> OSError | None:
    """The system's error in or behind `error`: asyncmy wraps those of connecting."""
    if isinstance(error, OSError):
        return error
    return error.__cause__ if isinstance(error.__cause__, OSError) else None


def in_words(error: OSError) -> str:
    """The system's own words for an error's number, without the addresses that event loops add to them."""
    if isinstance(error, socket.gaierror):
        return f"its name is not found ({error.strerror or error})"
    if isinstance(error, ssl.SSLError):
        return (error.reason or error.strerror or str(error)).replace("_", " ").lower()
    number = _number(error)
    if number in (None, errno.ETIMEDOUT) and isinstance(error, TimeoutError):
        return "no answer in time"
    text = error.strerror or str(error) or type(error).__name__
    return text if number is None else os.strerror(number).lower()


def _number(error: OSError) -> int | None:
    """The error's number; of several addresses that all failed, which only the text tells, that of the last."""
    numbers = _NUMBER.findall(str(error))
    return error.errno or (int(numbers[-1]) if numbers else None)


# ---- TLS files ----


def tls_context(address: SourceAddress) -> ssl.SSLContext | None:
    """How to verify the server and who we are to it. Raises SourceRefused for a file that cannot be used."""
    if address.tls is Tls.DISABLED:
        return None
    _require_readable(address)
    try:
        context = ssl.create_default_context(cafile=address.tls_ca)
    except ssl.SSLError:
        raise _unusable(address, "tls_ca", address.tls_ca, "holds no certificate in PEM form") from None
    context.check_hostname = address.tls is Tls.VERIFY_IDENTITY
    if address.tls in (Tls.PREFERRED, Tls.REQUIRED):
        context.verify_mode = ssl.CERT_NONE
    if address.tls_cert is not None:
        try:
            context.load_cert_chain(address.tls_cert, address.tls_key)
        except ssl.SSLError as error:
            what = f"does not go with tls_key={address.tls_key or address.tls_cert} ({in_words(error)})"
            raise _unusable(address, "tls_cert", address.tls_cert, what) from None
    return context


def _require_readable(address: SourceAddress) -> None:
    """`ssl` says that a file is missing, not which."""
    for option in ("tls_ca", "tls_cert", "tls_key"):
        path: str | None = getattr(address, option)
        try:
            if path is not None:
                os.close(os.open(path, os.O_RDONLY))
        except OSError as error:
            raise _unusable(address, option, path, f"cannot be read: {in_words(error)}") from None


def _unusable(address: SourceAddress, option: str, path: str | None, what: str) -> SourceRefused:
    return SourceRefused(f"{option}={path} of the source {address} {what}; correct {option} in the source address")
