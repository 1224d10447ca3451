"""What the file may say of alerts, and the sentence for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker import alert_rules
from broker.alerts.rules import rule_of_file
from broker.config import Config, Secret, from_document, load
from broker.config_rules import ConfigError
from broker.operations.alerts import AlertKind, AlertTarget

SECRET = "https://hooks.example.com/services/T0/secret"
ALERT = {"name": "late", "kind": "delay"}
MAIL = {"server": "smtp.example.com:587", "sender": "binwire@example.com"}


def read(*alerts: dict[str, Any], folder: Path = Path("/nowhere"), **others: Any) -> Config:
    document = others | ({"alerts": list(alerts)} if alerts else {})
    return from_document(document, folder, {"HOOK": SECRET})


def test_a_rule_of_the_file_is_a_rule() -> None:
    config = read(
        ALERT
        | {
            "channel": "shop",
            "group": "dts1",
            "threshold": "5m",
            "webhooks": ["${HOOK}"],
            "emails": ["ops@example.com"],
            "commands": ["page"],
        },
        mail=MAIL,
        alert_commands={"page": ["/usr/local/bin/page", "--now"]},
    )
    rule = rule_of_file(config.alerts[0])
    assert (rule.name, rule.kind, rule.channel_id, rule.group_id) == ("late", "delay", "shop", "dts1")
    assert (rule.threshold_s, rule.enabled, rule.defined_by) == (300, True, "file")
    assert rule.targets == (
        AlertTarget("webhook", SECRET),
        AlertTarget("email", "ops@example.com"),
        AlertTarget("command", "page"),
    )
    assert "T0/secret" not in repr(config)


def test_the_id_of_a_rule_follows_from_its_name() -> None:
    first, again, other = (rule_of_file(read(ALERT | {"name": name}).alerts[0]) for name in ("ü /", "ü /", "b"))
    assert first.id == again.id != other.id
    assert first.id.isascii()
    assert first.id.replace("_", "").isalnum()


def test_each_kind_has_its_usual_threshold() -> None:
    kinds: tuple[AlertKind, ...] = ("delay", "error", "no_heartbeat")
    found = {kind: rule_of_file(read({"name": "a", "kind": kind}).alerts[0]).threshold_s for kind in kinds}
    assert found == alert_rules.USUAL_THRESHOLD_S == {"delay": 60, "error": 30, "no_heartbeat": 60}
    assert rule_of_file(read({"name": "a", "kind": "error", "threshold": "0s"}).alerts[0]).threshold_s == 0


def test_the_password_of_the_mail_server_comes_from_a_file_and_does_not_show(tmp_path: Path) -> None:
    (tmp_path / "mail.password").write_text("Mail-secret1\n")
    config = read(mail=MAIL | {"username": "binwire", "password_file": "mail.password"}, folder=tmp_path)
    assert config.mail is not None
    assert config.mail.password == Secret("Mail-secret1")
    assert "Mail-secret1" not in repr(config)


@pytest.mark.parametrize(
    ("alert", "sentence"),
    [
        ({"name": ""}, "alerts[0].name: found ''; allowed is 1 to 128 characters"),
        ({"kind": "slow"}, "alerts[0].kind: found 'slow'; allowed is delay or error or no_heartbeat"),
        (
            {"threshold": "soon"},
            'alerts[0].threshold: found \'soon\'; allowed is a duration such as "30s", "5m" or "1h"',
        ),
        ({"threshold": "0s"}, 'alerts[0].threshold: found \'0s\'; allowed is a duration such as "30s", "5m" or "1h"'),
        ({"threshold": "8d"}, "alerts[0].threshold: found 691200; allowed is 1 to 604800 seconds"),
        ({"threshold": "10ms"}, "alerts[0].threshold: found 0; allowed is 1 to 604800 seconds"),
        (
            {"group": "dts1"},
            "alerts[0].group: found group 'dts1' without a channel; name its channel, or every group: \"*\"",
        ),
        (
            {"kind": "error", "channel": "shop", "group": "dts1"},
            "alerts[0].group: found group 'dts1', but error is of a channel; leave the group out",
        ),
        (
            {"webhooks": ["hooks.example.com/secret"]},
            (
                "alerts[0].webhooks[0]: found a text that is no address of a web server; allowed is an address such as "
                "https://hooks.example.com/…"
            ),
        ),
        (
            {"webhooks": ["https://h/ secret"]},
            (
                "alerts[0].webhooks[0]: found a text of 17 characters; allowed is an address such as "
                "https://hooks.example.com/… without spaces"
            ),
        ),
        (
            {"webhooks": ["https://h:99999/secret"]},
            (
                "alerts[0].webhooks[0]: found a text that is no address of a web server; allowed is an address such as "
                "https://hooks.example.com/…"
            ),
        ),
        (
            {"webhooks": ["https://h/#secret"]},
            "alerts[0].webhooks[0]: found an address with a #, which no server would see; leave it and the rest out",
        ),
        (
            {"emails": ["a@b\nBcc: c@d"]},
            "alerts[0].emails[0]: found 'a@b\\nBcc: c@d'; allowed is one address such as oncall@example.com",
        ),
        (
            {"emails": ["a@b"]},
            "alerts[0].emails: found addresses, but the file has no [mail] that says how mail is sent",
        ),
        (
            {"commands": ["page"]},
            (
                "alerts[0].commands[0]: found 'page'; allowed is the name of a command of the configuration file: "
                "none, for it defines no [alert_commands]"
            ),
        ),
        (
            {"webhooks": [SECRET] * 17},
            "alerts[0]: found more than 16 webhooks, emails and commands; allowed are so many",
        ),
        (
            {"colour": "red"},
            (
                "alerts[0].colour: this key is not known; allowed are name, kind, channel, group, threshold, "
                "webhooks, emails, commands, enabled"
            ),
        ),
    ],
)
def test_each_mistake_of_a_rule_has_its_sentence(alert: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(ALERT | alert)
    assert str(raised.value) == sentence
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        (
            {"mail": MAIL | {"server": "smtp"}},
            "mail.server: found 'smtp'; allowed is host:port, such as smtp.example.com:587",
        ),
        (
            {"mail": MAIL | {"sender": "me"}},
            "mail.sender: found 'me'; allowed is one address such as oncall@example.com",
        ),
        ({"mail": MAIL | {"security": "ssl"}}, "mail.security: found 'ssl'; allowed is starttls or tls or none"),
        (
            {"mail": MAIL | {"username": "u"}},
            "mail: found only one of username and password; allowed are both, or none for no login",
        ),
        (
            {"mail": MAIL | {"username": "u", "password": "secret", "password_file": "f"}},
            "mail: found both password and password_file; allowed is one of them",
        ),
        (
            {"mail": MAIL | {"username": "u", "password": "secret", "security": "none"}},
            (
                "mail.security: found none with a password, which would go to smtp.example.com:587 readable; "
                'allowed is "tls", "starttls", or a mail server on this machine'
            ),
        ),
        ({"mail": {"server": "h:25"}}, "mail.sender: found nothing; this key is required"),
        (
            {"mail": MAIL | {"password": 7}},
            "mail.password: found a value of type whole number; allowed is a text in quotes",
        ),
        (
            {"alert_commands": {"page": ["page", "--token=secret"]}},
            (
                "alert_commands.page: found ['page']; allowed is a program by its whole path and its arguments, "
                'such as ["/usr/local/bin/page", "-v"]'
            ),
        ),
        (
            {"alert_commands": {"page": []}},
            (
                "alert_commands.page: found []; allowed is a program by its whole path and its arguments, such as "
                '["/usr/local/bin/page", "-v"]'
            ),
        ),
        (
            {"alert_commands": {"p p": ["/x"]}},
            "alert_commands: found 'p p'; allowed is names of 1 to 64 letters, digits, underscores or hyphens",
        ),
        ({"alerts": {}}, "alerts: found a table; allowed is one table or more, each headed [[alerts]]"),
        ({"alerts": [ALERT, ALERT]}, "alerts: found name 'late' more than once; allowed is each name once"),
    ],
)
def test_each_mistake_of_mail_and_commands_has_its_sentence(tables: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(**tables)
    assert str(raised.value) == sentence
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (SECRET, "https://hooks.example.com/…"),
        ("http://user:secret@127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://[::1]:80/?key=secret", "http://[::1]:80/…"),
        ("https://hooks.example.com", "https://hooks.example.com"),
        ("https://bücher.example/secret", "https://xn--bcher-kva.example/…"),
    ],
)
def test_a_webhook_is_shown_up_to_its_host(address: str, shown: str) -> None:
    alert_rules.check_webhook("webhook", address)
    assert alert_rules.shown_address("webhook", address) == shown


def test_a_file_with_alerts_is_read(tmp_path: Path) -> None:
    file = tmp_path / "binwire.toml"
    file.write_text(
        '[[alerts]]\nname = "late"\nkind = "delay"\ngroup = "*"\ncommands = ["page"]\n\n'
        '[alert_commands]\npage = ["/usr/local/bin/page"]\n\n'
        '[mail]\nserver = "localhost:25"\nsecurity = "none"\nsender = "binwire@localhost"\n'
    )
    config = load(file)
    assert config.alert_commands == {"page": ["/usr/local/bin/page"]}
    assert config.alerts[0].group == "*"
