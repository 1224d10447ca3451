"""The table `[console]`: what it may say, and the one sentence for each way of getting it wrong."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path
from typing import Any

import pytest

from broker import cli
from broker.accounts import Verifier
from broker.config import Config, ConsoleConfig, Secret, from_document
from broker.config_rules import ConfigError
from broker.enrolment import needing_restart, without_passwords
from tests.broker.console.served_console import TOKEN_HASH

NOWHERE = Path("/nowhere")


def read(text: str, folder: Path = NOWHERE, environment: dict[str, str] | None = None) -> Config:
    return from_document(tomllib.loads(text), folder, environment or {})


def console(keys: str, folder: Path = NOWHERE) -> ConsoleConfig:
    found = read(f"[console]\n{keys}", folder).console
    assert found is not None
    return found


def test_without_the_table_there_is_no_console() -> None:
    assert read("").console is None


def test_an_empty_table_is_a_console_on_loopback_for_anybody() -> None:
    found = console("")
    assert (found.bind, found.needs_login, found.bind_address.is_loopback) == ("127.0.0.1:18080", False, True)


@pytest.mark.parametrize("bind", ["0.0.0.0:18080", "[::]:18080", "192.0.2.1:0", "binwire.example.org:18080"])
@pytest.mark.parametrize(
    "login", ['password = "long enough"', f'password_hash = "{TOKEN_HASH}"', f'tokens = ["{TOKEN_HASH}"]']
)
def test_another_address_than_loopback_needs_a_password_or_a_token(bind: str, login: str) -> None:
    with pytest.raises(ConfigError) as caught:
        console(f'bind = "{bind}"')
    assert str(caught.value) == (
        f"console.bind: found {bind} without a password, where anybody could change and read everything; allowed is a "
        "loopback address, or a password, password_file, password_hash or tokens"
    )
    assert console(f'bind = "{bind}"\n{login}').needs_login


def test_a_password_may_be_in_a_file_and_certificates_lie_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the file\r\n", "utf-8")
    found = console('password_file = "secret"\ntls_cert = "c.pem"\ntls_key = "/k.pem"', tmp_path)
    assert found.password == Secret("of the file")
    assert (found.tls_cert, found.tls_key) == (str(tmp_path / "c.pem"), "/k.pem")


def test_a_password_may_come_from_the_environment() -> None:
    found = read('[console]\npassword = "${CONSOLE}"', environment={"CONSOLE": "from outside"}).console
    assert found is not None
    assert found.password == Secret("from outside")


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ('bind = "18080"', "console.bind: found '18080'; allowed is host:port, such as 127.0.0.1:18080 or [::1]:18080"),
        ('password = "short"', "console.password: found a password of 5 characters; allowed are 8 to 1024 characters"),
        (
            f'password = "long enough"\npassword_hash = "{TOKEN_HASH}"',
            "console: found both password and password_hash; allowed is one of password, password_file, password_hash",
        ),
        (
            'password_hash = "sha1:x"',
            (
                "console.password_hash: found a text of 6 characters; allowed is a hash as `binwire password "
                "--console` and `binwire token` make it"
            ),
        ),
        (
            f'tokens = ["{TOKEN_HASH}", "a-token-in-clear"]',
            (
                "console.tokens[1]: found a text of 16 characters; allowed is a hash as `binwire password "
                "--console` and `binwire token` make it"
            ),
        ),
        (
            f"tokens = {[TOKEN_HASH] * 17}",
            "console.tokens: found 17 tokens; allowed are at most 16",
        ),
        ('tls_cert = "c"', "console.tls_key: found nothing, but tls_cert; TLS needs both, files in PEM form"),
        ('tls_key = "c"', "console.tls_cert: found nothing, but tls_key; TLS needs both, files in PEM form"),
        (
            'hosts = ["a b"]',
            "console.hosts[0]: found 'a b'; allowed is a host's name or address without a port",
        ),
        (
            "allow_from = []",
            (
                "console.allow_from: found []; allowed is one range of addresses or more; leave the key out to let "
                "everybody connect"
            ),
        ),
        (
            'allow_from = ["x"]',
            (
                "console.allow_from[0]: found 'x'; allowed is an address or a range of addresses such as 10.0.0.0/8, "
                "192.0.2.7 or 2001:db8::/32"
            ),
        ),
        (
            'password_file = "nothing"',
            "console.password_file: the file /nowhere/nothing cannot be read: No such file or directory",
        ),
        (
            'port = "1"',
            (
                "console.port: this key is not known; allowed are bind, hosts, password, password_file, password_hash, "
                "tokens, tls_cert, tls_key, allow_from"
            ),
        ),
        ("password = 12345678", "console.password: found a value of type whole number; allowed is a text in quotes"),
        ("tokens = [12345678]", "console.tokens[0]: found a value of type whole number; allowed is a text in quotes"),
        ("bind = 1", "console.bind: found 1; allowed is a text in quotes"),
    ],
)
def test_a_mistake_is_one_sentence_that_repeats_no_secret(keys: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        console(keys)
    assert str(caught.value) == sentence


def test_a_listeners_name_and_address_are_not_the_consoles() -> None:
    with pytest.raises(ConfigError, match='found name "console", which is the name of the address of'):
        read('[console]\n[[listeners]]\nname = "console"')
    with pytest.raises(ConfigError, match=r"console\.bind: found '127\.0\.0\.1:18001', which is a listener's bind"):
        read('[console]\nbind = "127.0.0.1:18001"\n[[listeners]]\n')


def test_secrets_are_dropped_and_only_they_need_no_restart() -> None:
    before = read(f'[console]\npassword = "long enough"\ntokens = ["{TOKEN_HASH}"]')
    kept = without_passwords(before)
    assert kept.console == ConsoleConfig()
    assert "long enough" not in repr(before)
    assert needing_restart(kept, read('[console]\npassword = "another one"')) == []
    assert needing_restart(kept, read('[console]\nbind = "127.0.0.1:1"')) == ["console"]
    assert needing_restart(kept, read("")) == ["console"]


def test_a_password_becomes_the_consoles_line(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("any kind\n"))
    assert cli.main(["password", "--console"]) == cli.DONE
    found = console(capsys.readouterr().out)
    assert found.password_hash is not None
    assert Verifier.parse(found.password_hash.reveal()).matches("any kind")
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert cli.main(["password", "--console"]) == cli.FAILED
    assert "short" not in capsys.readouterr().err


def test_a_token_is_made_with_its_line(capsys: Any) -> None:
    assert cli.main(["token"]) == cli.DONE
    token, line = (each.rpartition(": ")[2] for each in capsys.readouterr().out.splitlines())
    found = console(f"tokens = [{line}]")
    assert len(token) == 32
    assert Verifier.parse(found.tokens[0].reveal()).matches(token)
