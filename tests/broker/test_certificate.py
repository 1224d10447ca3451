"""A listener's certificate: what is wrong with its files, and how a renewed one comes into force."""

from __future__ import annotations

import ipaddress
import logging
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from broker.certificate import LOOK_MS, CertificateError, ServerCertificate
from storage.clock import SystemClock
from tests import certificates
from tests.certificates import Authority, Certificates
from tests.fakes import ManualClock
from tests.tools.workplace import CHECKOUT


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def files(authority: Authority, tmp_path: Path) -> Certificates:
    return certificates.make_with(authority, tmp_path)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(now_ms=SystemClock().now_ms())


def other_key(files: Certificates, authority: Authority) -> None:
    authority.issue(files.cert.with_name("other.pem"), files.key)


def expired(files: Certificates, authority: Authority) -> None:
    begins = datetime(2020, 1, 1, tzinfo=UTC)
    authority.issue(files.cert, files.key, begins=begins, valid_for=timedelta(days=30))


def not_yet(files: Certificates, authority: Authority) -> None:
    authority.issue(files.cert, files.key, begins=datetime(2999, 1, 1, tzinfo=UTC))


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def protected(files: Certificates, authority: Authority) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    certificates.write_key(files.key, key, b"password")


MISTAKES = {
    "no certificate": (
        lambda files, _: files.cert.unlink(),
        "tls_cert",
        "the file {cert} cannot be read: No such",
    ),
    "no key": (lambda files, _: files.key.unlink(), "tls_key", "the file {key} cannot be read: No such file"),
    "not a certificate": (
        lambda files, _: files.cert.write_text("hello"),
        "tls_cert",
        "the file {cert} holds no certificate in PEM form",
    ),
    "key and certificate mixed up": (
        lambda files, _: shutil.copy(files.key, files.cert),
        "tls_cert",
        "the file {cert} holds no certificate in PEM form",
    ),
    "not a key": (
        lambda files, _: files.key.write_text("hello"),
        "tls_key",
        "the file {key} holds no private key in PEM form",
    ),
    "another key": (other_key, "tls_key", "the key {key} does not belong to the certificate {cert}; give the pair"),
    "certificate given twice": (
        lambda files, _: shutil.copy(files.cert, files.key),
        "tls_key",
        "the file {key} holds no private key in PEM form",
    ),
    "chain the wrong way round": (
        lambda files, _: files.cert.write_bytes(files.ca.read_bytes() + files.cert.read_bytes()),
        "tls_key",
        "the key {key} does not belong to the certificate {cert}; give the pair, the server's own certificate first",
    ),
    "a folder": (lambda files, _: folder(files.cert), "tls_cert", "the file {cert} cannot be read: Is a directory"),
    "expired": (expired, "tls_cert", "the certificate {cert} expired on 2020-01-31 00:00 UTC; renew it"),
    "not yet valid": (not_yet, "tls_cert", "the certificate {cert} is not valid before 2999-01-01 00:00 UTC; is this"),
    "protected": (protected, "tls_key", "the key {key} is protected by a password; store it without"),
    "readable": (
        lambda files, _: files.key.chmod(0o644),
        "tls_key",
        "everybody on this machine may read the key",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_has_its_sentence(
    mistake: str, files: Certificates, authority: Authority, clock: ManualClock
) -> None:
    make, key, words = MISTAKES[mistake]
    make(files, authority)
    with pytest.raises(CertificateError) as raised:
        ServerCertificate(files.cert, files.key, clock)
    assert raised.value.key == key
    assert str(raised.value).startswith(words.format(cert=files.cert, key=files.key))


@pytest.mark.parametrize("command", ["check", "serve"])
def test_check_and_serve_say_it_alike_and_end(command: str, files: Certificates, tmp_path: Path) -> None:
    files.key.unlink()
    configuration = tmp_path / "binwire.toml"
    listener = files.listener().replace(str(files.cert), "server.pem").replace(str(files.key), "server.key")
    configuration.write_text(listener, "utf-8")
    ended = check_or_serve(command, configuration)
    sentence = f"listeners[0].tls_key: the file {files.key} cannot be read: No such file or directory"
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"binwire: {configuration}: {sentence}\n"


def check_or_serve(command: str, configuration: Path) -> subprocess.CompletedProcess[str]:
    """`binwire check`, or a `serve` that ends by itself."""
    arguments = [sys.executable, "-m", "binwire", command, "-c", str(configuration)]
    return subprocess.run(arguments, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)


def changed(file: Path) -> None:
    """Give a file another modification time, also on file systems that keep it coarsely."""
    found = file.stat()
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + 1_000_000_000))


def test_a_renewed_certificate_is_in_force_for_who_asks_next(
    files: Certificates, authority: Authority, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    certificate = ServerCertificate(files.cert, files.key, clock)
    before = certificate.context()
    authority.issue(files.cert, files.key)
    changed(files.cert)
    assert certificate.context() is before, "the files are looked at now and then, not each time"
    clock.advance(LOOK_MS)
    after = certificate.context()
    assert after is not before
    clock.advance(LOOK_MS)
    assert certificate.context() is after
    assert [record.message.partition(",")[0] for record in caplog.records] == [
        f"the certificate {files.cert} was renewed"
    ]


def test_files_that_cannot_be_used_leave_the_old_one_in_force_and_say_so_once(
    files: Certificates, authority: Authority, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = ServerCertificate(files.cert, files.key, clock)
    before = certificate.context()
    new_cert, new_key = files.cert.with_name("new.pem"), files.key.with_name("new.key")
    authority.issue(new_cert, new_key)
    new_cert.replace(files.cert)
    for _ in range(3):
        clock.advance(LOOK_MS)
        assert certificate.context() is before
    reason = f"the key {files.key} does not belong to the certificate {files.cert}; give the pair, the server's own "
    reason += "certificate first in its file"
    assert caplog.messages == [f"the certificate in force stays, the new one cannot be used: {reason}"]
    new_key.replace(files.key)
    clock.advance(LOOK_MS)
    assert certificate.context() is not before


def test_a_link_that_leads_elsewhere_is_a_change(
    files: Certificates, authority: Authority, clock: ManualClock, tmp_path: Path
) -> None:
    versions = [tmp_path / "1", tmp_path / "2"]
    for folder in versions:
        folder.mkdir()
        authority.issue(folder / "server.pem", folder / "server.key")
    (tmp_path / "live").symlink_to(versions[0])
    certificate = ServerCertificate(tmp_path / "live/server.pem", tmp_path / "live/server.key", clock)
    before = certificate.context()
    (tmp_path / "next").symlink_to(versions[1])
    (tmp_path / "next").replace(tmp_path / "live")
    certificate.look()
    assert certificate.context() is not before


def test_a_certificate_that_expires_in_use_is_told_of_once(
    files: Certificates, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = ServerCertificate(files.cert, files.key, clock)
    for _ in range(3):
        clock.advance(31 * 86_400_000)
        certificate.context()
    assert len(caplog.messages) == 1
    assert f"the certificate {files.cert} expired on " in caplog.messages[0]


HOSTS = (
    x509.DNSName("db.example"),
    x509.DNSName("*.shop.example"),
    x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
    x509.IPAddress(ipaddress.ip_address("2001:db8::7")),
)


@pytest.mark.parametrize(
    ("host", "is_covered"),
    [
        (None, True),
        ("db.example", True),
        ("DB.example", True),
        ("192.0.2.7", True),
        ("2001:db8:0::7", True),
        ("eu.shop.example", True),
        ("shop.example", False),
        ("a.eu.shop.example", False),
        ("other.example", False),
        ("192.0.2.8", False),
    ],
)
def test_a_certificate_that_is_not_for_where_clients_are_told_to_connect(
    host: str | None, is_covered: bool, files: Certificates, authority: Authority, clock: ManualClock
) -> None:
    authority.issue(files.cert, files.key, hosts=HOSTS)
    doubts = ServerCertificate(files.cert, files.key, clock, host).doubts()
    told = f" is for db.example, *.shop.example, 192.0.2.7, 2001:db8::7 and not for {host}, where clients "
    assert [told in doubt for doubt in doubts] == ([] if is_covered else [True])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("rsa:2048", None),
        ("ec -pkeyopt ec_paramgen_curve:P-256", None),
        ("rsa:4096", "has an RSA key of 4096 bits, which holds the whole server"),
        ("ed25519", "has an Edwards key, which Java before 15 does not know"),
    ],
)
def test_a_kind_of_key_that_is_slow_or_new(kind: str, words: str | None, tmp_path: Path) -> None:
    key, cert = tmp_path / "a.key", tmp_path / "a.pem"
    subject = ("-nodes", "-days", "90", "-subj", "/CN=binwire", "-addext", "subjectAltName=DNS:localhost")
    command = ["openssl", "req", "-x509", "-newkey", *kind.split(), *subject, "-keyout", str(key), "-out", str(cert)]
    subprocess.run(command, check=True, capture_output=True)
    doubts = ServerCertificate(cert, key, SystemClock()).doubts()
    assert [doubt.partition(words or "")[1] for doubt in doubts] == ([words] if words else [])


def test_a_certificate_without_names(
    files: Certificates, authority: Authority, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    authority.issue(files.cert, files.key, hosts=())
    certificate = ServerCertificate(files.cert, files.key, clock)
    certificate.look()
    certificate.look()
    [told] = caplog.messages
    assert [told] == certificate.doubts()
    assert told.startswith(f"the certificate {files.cert} names no host (it has no subjectAltName) and clients, ")
    authority.issue(files.cert, files.key)
    changed(files.cert)
    certificate.look()
    assert certificate.doubts() == []


def test_the_end_is_told_of_once_a_day_in_its_last_two_weeks_and_no_more_once_renewed(
    files: Certificates, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    begins = datetime(2030, 1, 1, tzinfo=UTC)
    authority.issue(files.cert, files.key, begins=begins, valid_for=timedelta(days=30))
    clock = ManualClock(now_ms=int(begins.timestamp() * 1000))
    certificate = ServerCertificate(files.cert, files.key, clock)
    for _ in range(31 * 24):
        clock.advance(3_600_000)
        certificate.look()
    head = f"the certificate {files.cert} expire"
    assert caplog.messages == [
        *(f"{head}s on 2030-01-31 00:00 UTC, in {days} days; renew it" for days in range(14, 1, -1)),
        f"{head}s on 2030-01-31 00:00 UTC, in 1 day; renew it",
        f"{head}s on 2030-01-31 00:00 UTC, in less than a day; renew it",
        f"{head}d on 2030-01-31 00:00 UTC; renew it",
    ]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 15 + ["ERROR"]
    authority.issue(files.cert, files.key, begins=begins + timedelta(days=20), valid_for=timedelta(days=300))
    changed(files.cert)
    certificate.look()
    assert certificate.doubts() == []


def test_check_names_the_doubts_and_does_not_fail_for_them(
    files: Certificates, authority: Authority, tmp_path: Path
) -> None:
    authority.issue(files.cert, files.key, hosts=HOSTS, valid_for=timedelta(days=3))
    plain = '[[listeners]]\nname = "plain"\nbind = "0.0.0.0:0"\nadvertised = "8.8.8.8:18001"\n'
    configuration = tmp_path / "binwire.toml"
    configuration.write_text(files.listener() + plain, "utf-8")
    ended = check_or_serve("check", configuration)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    names, end = [line for line in lines if f"the certificate {files.cert} " in line]
    assert "  warning  certificate " in names
    assert f"{files.cert} is for db.example, " in names
    assert " and not for 127.0.0.1, where clients are told to connect" in names
    assert end.endswith(", in 2 days")
    assert lines[lines.index(end) + 1].endswith("to do: # renew it")
    assert any(
        "  listener plain sends passwords and data in clear text to whoever reaches 8.8" in line for line in lines
    )
