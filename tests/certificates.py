"""A certificate authority of the tests' own, a server certificate of it, and a truststore that Java reads.

`make(folder)` writes everything; nothing is shared between runs and nothing lives longer than a month.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

KEY_BITS = 2048
TRUSTSTORE_PASSWORD = "truststore-password"
VALID_FOR = timedelta(days=30)
LOOPBACK = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)


class Certificates(NamedTuple):
    """The files: `cert` and `key` for a server on localhost, 127.0.0.1 and ::1, the rest for its clients."""

    ca: Path
    cert: Path
    key: Path
    truststore: Path
    truststore_password: str

    def client_context(self) -> ssl.SSLContext:
        """What a Python client verifies the server with."""
        return ssl.create_default_context(cafile=self.ca)

    def listener(self, name: str = "tls", bind: str = "127.0.0.1:0") -> str:
        """A `[[listeners]]` table with these files."""
        return (
            f'[[listeners]]\nname = "{name}"\nbind = "{bind}"\nsecurity = "SASL_SSL"\n'
            f'tls_cert = "{self.cert}"\ntls_key = "{self.key}"\n'
        )


class Authority:
    """A certificate authority: its key, and the certificates it signs."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Binwire test CA")])
        begins = datetime.now(UTC) - timedelta(hours=1)
        self.certificate = (
            _builder(self._name, self._name, self._key, begins, begins + VALID_FOR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def issue(
        self,
        cert: Path,
        key: Path,
        *,
        begins: datetime | None = None,
        valid_for: timedelta = VALID_FOR,
        hosts: Sequence[x509.GeneralName] = LOOPBACK,
    ) -> x509.Certificate:
        """Write a new server certificate and its key; without `hosts` it has no subjectAltName."""
        begins = begins or datetime.now(UTC) - timedelta(hours=1)
        private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = _builder(name, self._name, private, begins, begins + valid_for)
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        write_key(key, private)
        return certificate


def make(folder: Path) -> Certificates:
    """Write a CA, a server certificate of it and a truststore into `folder`."""
    authority = Authority()
    return make_with(authority, folder)


def make_with(authority: Authority, folder: Path) -> Certificates:
    """Write what `make` writes, by an authority that signs more than this."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Certificates(
        ca=folder / "ca.pem",
        cert=folder / "server.pem",
        key=folder / "server.key",
        truststore=folder / "truststore.p12",
        truststore_password=TRUSTSTORE_PASSWORD,
    )
    files.ca.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    authority.issue(files.cert, files.key)
    entry = pkcs12.PKCS12Certificate(authority.certificate, b"binwire-test-ca")
    files.truststore.write_bytes(
        pkcs12.serialize_java_truststore([entry], serialization.BestAvailableEncryption(TRUSTSTORE_PASSWORD.encode()))
    )
    return files


def write_key(file: Path, private: rsa.RSAPrivateKey, password: bytes | None = None) -> None:
    """Write a private key, readable by its owner only."""
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem = private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    file.touch(mode=0o600)
    file.write_bytes(pem)


def _builder(
    name: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, begins: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
