"""The certificate of a TLS listener: its two files, what is wrong with them, and the one in force.

A renewed certificate is in force for the next connection: whoever asks for the context has the files looked at first,
at most once in `LOOK_MS`, by their modification times, sizes and inodes (symbolic links are followed, so that certbot
and mounted secrets work). Connections that exist keep theirs. Files that cannot be used leave the old certificate in
force and say so once; certificate and key are two files, so a renewal may be seen half done, and is then looked at
again.

What clients, or all of them together, will or may stumble over is a doubt: files that cannot be used, a slow or new
kind of key, no name of a host, not the name that clients are told to connect to, an end that is near. Doubts are told
when the files are looked at, each once, and the days that are left once a day.

TLS 1.2 and 1.3 with the forward-secret suites of Python's defaults, which Java 8 speaks as it was released.
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
import stat
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from cryptography.x509 import Certificate

    from storage.clock import Clock

LOOK_MS: Final = 1_000
RSA_BITS_QUICK: Final = 3072
"""Up to this size a handshake takes about as long as any other slice of the loop."""
NEAR_THE_END: Final = timedelta(days=14)
"""From when on the end of a certificate is told of; what renews by itself (certbot: 30 days before) has by then."""

_log = logging.getLogger(__name__)


class CertificateError(Exception):
    """The files of a certificate cannot be used; `key` is the configuration key concerned, the message one sentence."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


class _Loaded(NamedTuple):
    """What two files gave: `names` are the hosts that the certificate is for, as its subjectAltName has them; `kind`
    is what is doubtful about its kind of key.
    """

    context: ssl.SSLContext
    kind: str | None
    names: tuple[str, ...]
    expires: datetime


class ServerCertificate:
    """Certificate and key from two PEM files; the certificate file may carry the chain behind the server's own."""

    def __init__(self, cert_file: Path, key_file: Path, clock: Clock, host: str | None = None) -> None:
        """Read them. `host` is what clients are told to connect to, None if that depends on how they come in.

        Raises CertificateError.
        """
        self._cert_file = cert_file
        self._key_file = key_file
        self._clock = clock
        self._host = host
        self._seen = self._signature()
        self._loaded = _load(cert_file, key_file, clock)
        self._looked_ms = clock.monotonic_ms()
        self._fault: str | None = None
        self._told: set[str] = set()

    def context(self) -> ssl.SSLContext:
        """What a new connection is to use."""
        now_ms = self._clock.monotonic_ms()
        if now_ms - self._looked_ms >= LOOK_MS:
            self._looked_ms = now_ms
            self.look()
        return self._loaded.context

    def look(self) -> None:
        """Take the files as they are now, if they changed and can be used; tell what is doubtful about them."""
        signature = self._signature()
        if signature != self._seen:
            self._seen = signature
            self._renew()
        is_urgent = self._fault is not None or self._left() < timedelta()
        level = logging.ERROR if is_urgent else logging.WARNING
        for doubt in self.doubts():
            if doubt not in self._told:
                self._told.add(doubt)
                _log.log(level, "%s", doubt)

    def doubts(self) -> list[str]:
        """What is wrong with the files as they were last seen, and with the certificate in force; one sentence each."""
        kind = None if self._loaded.kind is None else f"the certificate {self._cert_file} {self._loaded.kind}"
        found = (self._fault, kind, self._doubt_about_names(), self._doubt_about_time())
        return [doubt for doubt in found if doubt is not None]

    def _renew(self) -> None:
        try:
            self._loaded = _load(self._cert_file, self._key_file, self._clock)
        except CertificateError as error:
            self._fault = f"the certificate in force stays, the new one cannot be used: {error}"
        else:
            self._fault = None
            self._told.clear()
            _log.info("the certificate %s was renewed, valid until %s", self._cert_file, _day(self._loaded.expires))

    def _doubt_about_names(self) -> str | None:
        names = self._loaded.names
        if not names:
            return (
                f"the certificate {self._cert_file} names no host (it has no subjectAltName) and clients, Python's and "
                "Go's among them, refuse it; make one with -addext subjectAltName=DNS:…,IP:…"
            )
        if self._host is None or any(_covers(name, self._host) for name in names):
            return None
        return (
            f"the certificate {self._cert_file} is for {', '.join(names)} and not for {self._host}, where clients are "
            "told to connect, and they refuse it; make one whose subjectAltName has that too, or set advertised"
        )

    def _doubt_about_time(self) -> str | None:
        left, day = self._left(), _day(self._loaded.expires)
        if left < timedelta():
            return f"the certificate {self._cert_file} expired on {day}; renew it"
        if left > NEAR_THE_END:
            return None
        days = f"{left.days} days" if left.days > 1 else "1 day" if left.days else "less than a day"
        return f"the certificate {self._cert_file} expires on {day}, in {days}; renew it"

    def _left(self) -> timedelta:
        return self._loaded.expires - _now(self._clock)

    def _signature(self) -> tuple[tuple[int, ...] | None, ...]:
        return _file_signature(self._cert_file), _file_signature(self._key_file)


def _file_signature(file: Path) -> tuple[int, ...] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode


def _load(cert_file: Path, key_file: Path, clock: Clock) -> _Loaded:
    certificate = _read_certificate(cert_file, clock)
    _read(key_file, "tls_key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_password)
    except _EncryptedKeyError:
        raise CertificateError(
            "tls_key", f"the key {key_file} is protected by a password; store it without (openssl pkey -in … -out …)"
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(
                "tls_key",
                f"the key {key_file} does not belong to the certificate {cert_file}; give the pair, the server's own "
                "certificate first in its file",
            ) from None
        if error.reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"):
            raise CertificateError(
                "tls_cert", f"the certificate {cert_file} is too weak for today's clients; make one with RSA 2048 or EC"
            ) from None
        raise CertificateError("tls_key", f"the file {key_file} holds no private key in PEM form") from None
    _check_mode(key_file)
    return _Loaded(context, _doubt_about_kind(certificate), _names(certificate), certificate.not_valid_after_utc)


def _read_certificate(file: Path, clock: Clock) -> Certificate:
    """The first certificate of a file; it must be valid now."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        certificate = load_pem_x509_certificates(_read(file, "tls_cert"))[0]
    except ValueError:
        raise CertificateError("tls_cert", f"the file {file} holds no certificate in PEM form") from None
    begins, expires = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if _now(clock) > expires:
        raise CertificateError("tls_cert", f"the certificate {file} expired on {_day(expires)}; renew it")
    if _now(clock) < begins:
        raise CertificateError(
            "tls_cert", f"the certificate {file} is not valid before {_day(begins)}; is this machine's clock right?"
        )
    return certificate


def _doubt_about_kind(certificate: Certificate) -> str | None:
    from cryptography.hazmat.primitives.asymmetric import ed448, ed25519, rsa

    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey) and key.key_size > RSA_BITS_QUICK:
        return (
            f"has an RSA key of {key.key_size} bits, which holds the whole server for some 8 ms with every new "
            "connection; make one with EC P-256 (0.3 ms) or RSA 2048 (0.5 ms)"
        )
    if isinstance(key, (ed25519.Ed25519PublicKey, ed448.Ed448PublicKey)):
        return "has an Edwards key, which Java before 15 does not know; make one with EC P-256 or RSA 2048"
    return None


def _names(certificate: Certificate) -> tuple[str, ...]:
    """The hosts that a certificate is for."""
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return ()
    return (
        *found.get_values_for_type(x509.DNSName),
        *(str(address) for address in found.get_values_for_type(x509.IPAddress)),
    )


def _covers(name: str, host: str) -> bool:
    """Whether a name of a certificate stands for this host (RFC 6125: `*.` for one label, never for an address)."""
    try:
        return str(ipaddress.ip_address(host)) == name
    except ValueError:
        name, host = name.lower(), host.lower()
        return name == host or (name.startswith("*.") and name[1:] == "." + host.partition(".")[2])


def _check_mode(file: Path) -> None:
    """Refuse a key that is everybody's; checked last, so that no other file is taken for an open key."""
    if file.stat().st_mode & stat.S_IROTH:
        raise CertificateError("tls_key", f"everybody on this machine may read the key {file}; do: chmod o= {file}")


def _read(file: Path, key: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CertificateError(key, f"the file {file} cannot be read: {error.strerror}") from None


class _EncryptedKeyError(Exception):
    """The key asks for a password."""


def _no_password() -> str:
    raise _EncryptedKeyError


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.now_ms() / 1000, UTC)


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")
