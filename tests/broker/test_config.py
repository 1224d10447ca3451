"""The configuration file: what it may say, and the one sentence for each way of getting it wrong."""

from __future__ import annotations

import tomllib
from datetime import datetime
from pathlib import Path

import pytest

from broker.accounts import Verifier
from broker.capturing import channel_spec
from broker.config import Secret, from_document, load
from broker.config_rules import ConfigError, duration_ms, size_bytes, source_account
from broker.listener import Address
from broker.provision import log_config

WHOLE = """
data_dir = "data"

[[listeners]]
name = "public"
bind = "127.0.0.1:18001"
security = "SASL_PLAINTEXT"

[[listeners]]
name = "classic"
bind = "[::1]:0"
advertised = "db.example:18002"
security = "PLAINTEXT"

[[channels]]
id = "shop"
name = "商店"
region = "cn_hangzhou"
topic = "cn_hangzhou_rm_shop_dtstest_version2"
source = "mysql://repl:${SHOP_PASSWORD}@127.0.0.1:3306"
server_id = 0
objects = ["shop", "crm.customer"]
data_types = ["dml", "ddl"]
start = "now"
retention = "24h"

[[channels.groups]]
name = "analytics"
id = "dtsanalytics01"
username = "dtstest"
password_file = "analytics.password"
"""

ENVIRONMENT = {"SHOP_PASSWORD": "p@ss/word:1"}


def written(folder: Path, text: str = WHOLE, password: str = "Secret-123") -> Path:
    (folder / "analytics.password").write_text(password + "\n", "utf-8")
    file = folder / "binwire.toml"
    file.write_text(text, "utf-8")
    return file


def minimal(**channel):
    group = {"name": "g", "username": "u", "password": "Secret-123"}
    values = {"id": "shop", "topic": "t", "source": "mysql://u:p@h", "objects": ["shop"], "groups": [group]}
    return {"channels": [values | channel]}


def refusal(document, folder=Path("/nowhere"), environment=ENVIRONMENT) -> str:
    with pytest.raises(ConfigError) as caught:
        from_document(document, folder, environment)
    return str(caught.value)


def test_the_file_of_the_design_is_read(tmp_path):
    config = load(written(tmp_path), ENVIRONMENT)
    assert config.data_path == tmp_path / "data"
    public, classic = config.listeners
    assert public.bind_address == Address("127.0.0.1", 18001)
    assert public.advertised_address is None
    assert classic.bind_address == Address("::1", 0)
    assert classic.advertised_address == Address("db.example", 18002)
    [channel] = config.channels
    assert channel.display_name == "商店"
    assert channel.topic_name == "cn_hangzhou_rm_shop_dtstest_version2"
    assert channel.retention_ms == 86_400_000
    assert channel.segment_bytes == 256 << 20
    assert channel.retention_bytes is None
    assert channel.groups[0].password == Secret("Secret-123")


def test_what_is_said_of_the_log_reaches_it() -> None:
    said = {
        "segment_size": "1MiB",
        "retention": "3h",
        "retention_size": "5GiB",
        "flush": "before-visible",
        "flush_interval": "250ms",
        "flush_size": "2MiB",
    }
    log = log_config(from_document(minimal(**said), Path("/x"), {}).channels[0])
    assert (log.segment_bytes, log.retention_ms, log.retention_bytes) == (1 << 20, 3 * 3_600_000, 5 << 30)
    assert (log.flush_before_visible, log.flush_interval_ms, log.flush_bytes) == (True, 250, 2 << 20)
    default = log_config(from_document(minimal(), Path("/x"), {}).channels[0])
    assert (default.flush_before_visible, default.flush_interval_ms, default.flush_bytes) == (False, 1000, 64 << 20)


def test_a_value_from_the_environment_is_encoded_inside_an_address(tmp_path):
    [channel] = load(written(tmp_path), ENVIRONMENT).channels
    assert channel.source.reveal() == "mysql://repl:p%40ss%2Fword%3A1@127.0.0.1:3306"


def test_a_value_from_the_environment_is_taken_as_it_is_elsewhere():
    config = from_document(minimal(name="${NAME}"), Path("/x"), {"NAME": "a/b"})
    assert config.channels[0].name == "a/b"


def test_without_listeners_there_is_the_public_one():
    config = from_document(minimal(), Path("/x"), {})
    assert [(item.name, item.bind, item.security) for item in config.listeners] == [
        ("public", "127.0.0.1:18001", "SASL_PLAINTEXT")
    ]


def test_files_are_those_beside_the_configuration_and_ranges_stay_as_typed():
    document = listener(security="SASL_SSL", tls_cert="a.pem", tls_key="/keys/a.key", allow_from=["::1"])
    found = from_document(document, Path("/x"), {}).listeners[0]
    assert (found.tls_cert, found.tls_key, found.allow_from) == ("/x/a.pem", "/keys/a.key", ["::1"])


def test_a_topic_is_made_of_region_instance_and_source_account():
    document = minimal(topic=None, region="cn_hangzhou", instance_id="rm_1", source="mysql://dts-test:p@h")
    document["channels"][0].pop("topic")
    assert from_document(document, Path("/x"), {}).channels[0].topic_name == "cn_hangzhou_rm_1_dts_test_version2"


def test_a_topic_made_for_files_names_the_services_own_account():
    document = minimal(region="cn_hangzhou", instance_id="rm_1", source="file:///a/b.000001")
    document["channels"][0].pop("topic")
    assert from_document(document, Path("/x"), {}).channels[0].topic_name == "cn_hangzhou_rm_1_dtsacct_version2"


def test_a_password_hash_is_kept_as_written():
    verifier = str(Verifier(1, 1, 1, b"salt" * 4, b"digest" * 5))
    group = {"name": "g", "username": "u", "password_hash": verifier}
    config = from_document(minimal(groups=[group]), Path("/x"), {})
    assert config.channels[0].groups[0].password_hash == Secret(verifier)


def test_secrets_do_not_show(tmp_path):
    config = load(written(tmp_path), ENVIRONMENT)
    assert "p%40ss" not in repr(config)
    assert "Secret-123" not in repr(config)
    assert "Secret-123" not in str(config.channels[0].groups[0].password)


def test_group_times_are_kafkas_unless_named():
    usual = from_document({}, Path("/x"), {})
    assert (usual.group_min_session_ms, usual.group_initial_rebalance_ms) == (6000, 0)
    document = {"group_min_session_timeout": "500ms", "group_initial_rebalance_delay": "3s"}
    named = from_document(document, Path("/x"), {})
    assert (named.group_min_session_ms, named.group_initial_rebalance_ms) == (500, 3000)


def test_replicas_are_captured_only_if_the_channel_says_so():
    assert from_document(minimal(), Path("/x"), {}).channels[0].allow_replica is False
    assert from_document(minimal(allow_replica=True), Path("/x"), {}).channels[0].allow_replica is True
    with pytest.raises(ConfigError, match="allow_replica: found 'yes'; allowed is true or false"):
        from_document(minimal(allow_replica="yes"), Path("/x"), {})


def test_what_a_time_before_the_range_finds():
    assert from_document(minimal(), Path("/x"), {}).channels[0].before_range == "start"
    assert from_document(minimal(before_range="nothing"), Path("/x"), {}).channels[0].before_range == "nothing"


@pytest.mark.parametrize("row_image", ["full", "any"])
def test_row_images_are_whole_unless_the_channel_takes_any(row_image: str) -> None:
    assert from_document(minimal(), Path("/x"), {}).channels[0].row_image == "full"
    channel = from_document(minimal(row_image=row_image), Path("/x"), {}).channels[0]
    assert channel.row_image == row_image
    assert channel_spec(channel, "channels[0]").row_image == row_image


def test_compression_and_the_largest_record_of_a_channel() -> None:
    channel = from_document(minimal(), Path("/x"), {}).channels[0]
    assert (channel.compression, channel.record_limit_bytes) == ("none", 90 << 20)
    assert channel.record_limit_bytes + (1 << 20) < 100_000_000
    channel = from_document(minimal(compression="lz4", record_bytes_max="1GiB"), Path("/x"), {}).channels[0]
    assert (channel.compression, channel.record_limit_bytes) == ("lz4", 1 << 30)


@pytest.mark.parametrize("password", ["a@b", "a/b", "a:b", "a[b", "a#b", "100%25"])
def test_the_account_is_found_beside_any_password(password):
    assert source_account(f"mysql://dts%2Dtest:{password}@h:3306/?tls=required") == "dts-test"
    assert source_account("file:///folder/a@b.000001") == ""


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("250ms", 250), ("90s", 90_000), ("15m", 900_000), ("24h", 86_400_000), ("7 d", 604_800_000)],
)
def test_durations(text, milliseconds):
    assert duration_ms(text) == milliseconds


@pytest.mark.parametrize("text", ["", "24", "h", "24x", "-1h", "1.5h", "0h", "24hours", "24h "])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="^" + text):
        duration_ms(text)


@pytest.mark.parametrize(("text", "size"), [("1B", 1), ("4KiB", 4096), ("64MiB", 1 << 26), ("2TiB", 1 << 41)])
def test_sizes(text, size):
    assert size_bytes(text) == size


def test_a_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"^there is no configuration file .*/none\.toml; write one"):
        load(tmp_path / "none.toml", {})


def test_a_file_that_is_not_toml(tmp_path):
    file = written(tmp_path, "data_dir = ")
    with pytest.raises(ConfigError, match=r"binwire\.toml is not valid TOML: Invalid value \(at "):
        load(file, {})


def test_a_file_in_another_encoding(tmp_path):
    (tmp_path / "binwire.toml").write_bytes('data_dir = "Läden"'.encode("latin1"))
    with pytest.raises(ConfigError, match=r"binwire\.toml is not UTF-8 text; save it as UTF-8$"):
        load(tmp_path / "binwire.toml", {})


def test_errors_name_the_file(tmp_path):
    file = written(tmp_path, WHOLE.replace("retention", "retentoin"))
    with pytest.raises(ConfigError, match=r"binwire\.toml: channels\[0\]\.retentoin: this key is not known; allowed"):
        load(file, ENVIRONMENT)


def test_a_missing_environment_variable():
    assert refusal(minimal(source="mysql://u:${NOPE}@h"), environment={}) == (
        "channels[0].source: found ${NOPE}, but the environment has no variable NOPE; set it"
    )


def test_a_missing_password_file(tmp_path):
    file = written(tmp_path)
    (tmp_path / "analytics.password").unlink()
    with pytest.raises(ConfigError, match=r"channels\[0\]\.groups\[0\]\.password_file: the file .* cannot be read: No"):
        load(file, ENVIRONMENT)


def test_a_weak_password_in_a_file_is_refused_under_its_key(tmp_path):
    file = written(tmp_path, password="short")
    with pytest.raises(ConfigError, match=r"groups\[0\]\.password_file: found a password of 5 characters") as caught:
        load(file, ENVIRONMENT)
    assert "short" not in str(caught.value)


def listener(**values):
    return minimal() | {"listeners": [values]}


def group(**values):
    values = {"name": "g", "username": "u", "password": "Secret-123"} | values
    return minimal(groups=[{key: value for key, value in values.items() if value is not None}])


DURATION = 'a duration such as "90s", "15m", "24h" or "7d"'
START = '"now", "earliest", a time in seconds or as 2026-01-31T08:00:00Z, "file.000001:position" or a GTID set'
GROUP_NAME = "1 to 128 characters, none of them a control character"


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (
            {"data": 1},
            (
                "data: this key is not known; allowed are data_dir, group_min_session_timeout, "
                "group_initial_rebalance_delay, listeners, channels, "
                "console, alerts, mail, alert_commands"
            ),
        ),
        (
            {"group_min_session_timeout": "6m"},
            'group_min_session_timeout: found \'6m\'; allowed is a duration up to 5m such as "6s" or "500ms"',
        ),
        (
            {"group_min_session_timeout": "0s"},
            'group_min_session_timeout: found \'0s\'; allowed is a duration up to 5m such as "6s" or "500ms"',
        ),
        (
            {"group_initial_rebalance_delay": "301s"},
            (
                "group_initial_rebalance_delay: found '301s'; allowed is a duration up to 5m such as \"3s\", or "
                '"0s" for none'
            ),
        ),
        (
            {"group_initial_rebalance_delay": "soon"},
            (
                "group_initial_rebalance_delay: found 'soon'; allowed is a duration up to 5m such as \"3s\", or "
                '"0s" for none'
            ),
        ),
        (
            minimal(compression="zstd"),
            "channels[0].compression: found 'zstd'; allowed is none or gzip or snappy or lz4",
        ),
        (minimal(before_range="end"), "channels[0].before_range: found 'end'; allowed is start or nothing"),
        (minimal(row_image="minimal"), "channels[0].row_image: found 'minimal'; allowed is full or any"),
        ({"data_dir": 7}, "data_dir: found 7; allowed is a text in quotes"),
        ({"data_dir": ""}, "data_dir: found ''; allowed is a folder such as \"data\""),
        ({"listeners": {}}, "listeners: found a table; allowed is one table or more, each headed [[listeners]]"),
        (
            {"channels": {"source": "mysql://u:secret@h"}},
            "channels: found a table; allowed is one table or more, each headed [[channels]]",
        ),
        (
            minimal(groups={"password": "Secret-123"}),
            "channels[0].groups: found a table; allowed is one table or more, each headed [[channels.groups]]",
        ),
        (
            minimal(objects="shop"),
            'channels[0].objects: found \'shop\'; allowed is a list in square brackets, such as ["a", "b"]',
        ),
        (minimal(id=True), "channels[0].id: found true; allowed is a text in quotes"),
        (
            minimal(start=datetime(2026, 1, 31, 8)),  # noqa: DTZ001  # as TOML gives one without an offset
            (
                "channels[0].start: found 2026-01-31T08:00:00; allowed is a text, a whole number or a date and time "
                "with its offset"
            ),
        ),
        ({"listeners": []}, "listeners: found an empty list; allowed is at least one listener"),
        (
            listener(port=1),
            (
                "listeners[0].port: this key is not known; allowed are name, bind, advertised, security, tls_cert, "
                "tls_key, allow_from, allow_anonymous, dts_quirks"
            ),
        ),
        (
            listener(bind="127.0.0.1"),
            "listeners[0].bind: found '127.0.0.1'; allowed is host:port, such as 127.0.0.1:18001 or [::1]:18001",
        ),
        (
            listener(advertised="0.0.0.0:18001"),
            (
                "listeners[0].advertised: found '0.0.0.0:18001'; allowed is an address clients can connect to, not a "
                "wildcard and not port 0"
            ),
        ),
        (
            listener(security="TLS"),
            "listeners[0].security: found 'TLS'; allowed is SASL_PLAINTEXT or SASL_SSL or PLAINTEXT",
        ),
        (
            listener(security="SASL_SSL", tls_cert="a.pem"),
            "listeners[0].tls_key: found nothing; SASL_SSL needs tls_cert and tls_key, files in PEM form",
        ),
        (
            listener(tls_cert="a.pem"),
            (
                "listeners[0].tls_cert: found a file, but security is SASL_PLAINTEXT, which uses none; set security = "
                '"SASL_SSL", or leave tls_cert out'
            ),
        ),
        (
            listener(allow_from=["10.0.0.0/8", "10.0.0.0/33"]),
            (
                "listeners[0].allow_from[1]: found '10.0.0.0/33'; allowed is an address or a range of addresses such "
                "as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"
            ),
        ),
        (
            listener(allow_from=[]),
            (
                "listeners[0].allow_from: found []; allowed is one range of addresses or more; leave the key out to "
                "let everybody connect"
            ),
        ),
        (
            listener(allow_from="10.0.0.0/8"),
            ('listeners[0].allow_from: found \'10.0.0.0/8\'; allowed is a list in square brackets, such as ["a", "b"]'),
        ),
        (listener(dts_quirks="yes"), "listeners[0].dts_quirks: found 'yes'; allowed is true or false"),
        (
            listener(security="PLAINTEXT", bind="0.0.0.0:18001"),
            (
                "listeners[0].security: found PLAINTEXT on 0.0.0.0:18001, where anybody could read every topic; "
                "allowed is SASL_PLAINTEXT, SASL_SSL, a loopback address, or allow_anonymous = true"
            ),
        ),
        (listener(allow_anonymous=1), "listeners[0].allow_anonymous: found 1; allowed is true or false"),
        (
            {"listeners": [{}, {"bind": "127.0.0.1:0"}]},
            "listeners: found name 'public' more than once; allowed is each name once",
        ),
        (
            {"listeners": [{"name": "a"}, {"name": "b"}]},
            "listeners: found bind '127.0.0.1:18001' more than once; allowed is each bind once",
        ),
        ({"channels": [{"id": "a"}]}, "channels[0].source: found nothing; this key is required"),
        (
            minimal(id="a b"),
            "channels[0].id: found 'a b'; allowed is 1 to 64 letters, digits, underscores or hyphens",
        ),
        (minimal(source=5), "channels[0].source: found a value of type whole number; allowed is a text in quotes"),
        (
            minimal(source="pg://u:secret@h"),
            (
                "channels[0].source: found pg://…; allowed is mysql://user:password@host:3306, mariadb://…, "
                "polardb://… or file:///folder/mysql-bin.000001"
            ),
        ),
        (
            minimal(source="u:secret@h"),
            (
                "channels[0].source: found a text without ://; allowed is mysql://user:password@host:3306, "
                "mariadb://…, polardb://… or file:///folder/mysql-bin.000001"
            ),
        ),
        (
            minimal(source="mysql://u:se?cret@h"),
            "channels[0].source: found a ? before the last @; in a user name or password it is written %3F",
        ),
        (
            minimal(topic="Ü"),
            "channels[0].topic: found 'Ü'; allowed is 1 to 249 letters, digits, dots, underscores or hyphens",
        ),
        (
            minimal(server_id=1 << 32),
            "channels[0].server_id: found 4294967296; allowed is 0 (random, kept) or a number from 1 to 4294967295",
        ),
        (minimal(server_id="1"), "channels[0].server_id: found '1'; allowed is a whole number"),
        (
            minimal(objects=[]),
            'channels[0].objects: found []; allowed is a list of databases and tables such as ["shop", "crm.customer"]',
        ),
        (
            minimal(objects=["shop", ""]),
            "channels[0].objects[1]: found ''; allowed is a database such as shop, or one table such as crm.customer",
        ),
        (minimal(data_types=["dml", "dcl"]), "channels[0].data_types[1]: found 'dcl'; allowed is dml or ddl"),
        (minimal(data_types=[]), 'channels[0].data_types: found []; allowed is one or both of "dml" and "ddl"'),
        (minimal(start="soon"), f"channels[0].start: found 'soon'; allowed is {START}"),
        (minimal(start=-5), f"channels[0].start: found -5; allowed is {START}"),
        (minimal(retention="24 hours"), f"channels[0].retention: found '24 hours'; allowed is {DURATION}"),
        (
            minimal(record_bytes_max="1025MiB"),
            (
                "channels[0].record_bytes_max: found '1025MiB'; allowed is a size from 1KiB to 1GiB, the largest event "
                'MySQL sends, such as "90MiB"'
            ),
        ),
        (
            minimal(record_bytes_max="1023B"),
            (
                "channels[0].record_bytes_max: found '1023B'; allowed is a size from 1KiB to 1GiB, the largest event "
                'MySQL sends, such as "90MiB"'
            ),
        ),
        (
            minimal(flush_size="0B"),
            'channels[0].flush_size: found \'0B\'; allowed is a size such as "1MiB" or "64MiB"',
        ),
        (
            minimal(segment_size="1GB"),
            'channels[0].segment_size: found \'1GB\'; allowed is a size up to 2GiB such as "64MiB" or "1GiB"',
        ),
        (
            minimal(groups=[{"name": f"g{n}", "username": "u", "password": "Secret-123"} for n in range(21)]),
            "channels[0].groups: found 21 groups; allowed are at most 20",
        ),
        (group(name=""), f"channels[0].groups[0].name: found ''; allowed is {GROUP_NAME}"),
        (group(name="a\tb"), f"channels[0].groups[0].name: found 'a\\tb'; allowed is {GROUP_NAME}"),
        (group(name="n" * 129), f"channels[0].groups[0].name: found {'n' * 129!r}; allowed is {GROUP_NAME}"),
        (
            group(username="dts-test"),
            "channels[0].groups[0].username: found 'dts-test'; allowed is 1 to 16 letters, digits or underscores",
        ),
        (
            group(username="u" * 17),
            f"channels[0].groups[0].username: found {'u' * 17!r}; allowed is 1 to 16 letters, digits or underscores",
        ),
        (
            group(id="dts-1"),
            "channels[0].groups[0].id: found 'dts-1'; allowed is 1 to 64 letters, digits or underscores",
        ),
        (
            group(password="abcdefgh"),
            (
                "channels[0].groups[0].password: found a password of 8 characters and 1 kind of character; allowed "
                "are 8 to 32 characters with at least 2 of upper case, lower case, digits and special characters"
            ),
        ),
        (
            group(password="Ab1-" * 9),
            (
                "channels[0].groups[0].password: found a password of 36 characters and 4 kinds of character; allowed "
                "are 8 to 32 characters with at least 2 of upper case, lower case, digits and special characters"
            ),
        ),
        (
            group(password_file="x"),
            (
                "channels[0].groups[0]: found both password and password_file; allowed is exactly one of password, "
                "password_file, password_hash"
            ),
        ),
        (
            group(password_hash="plain", password=None),
            (
                "channels[0].groups[0].password_hash: found a text of 5 characters; allowed is "
                "$scrypt$ln=14,r=8,p=1$<salt>$<hash>, salt and hash in base64 without padding"
            ),
        ),
    ],
)
def test_each_mistake_has_its_sentence(document, sentence):
    assert refusal(document) == sentence


def test_a_group_needs_one_password():
    assert refusal(group(password=None)) == (
        "channels[0].groups[0]: found no password; allowed is exactly one of password, password_file, password_hash"
    )


def test_a_channel_needs_a_topic_or_what_makes_one():
    document = minimal(region="cn_hangzhou")
    del document["channels"][0]["topic"]
    assert refusal(document) == (
        "channels[0]: found neither topic nor instance_id; give topic, or region and instance_id"
    )


def test_topics_and_group_ids_belong_to_one_channel():
    one, two = minimal()["channels"][0], minimal(id="other")["channels"][0]
    assert refusal({"channels": [one, two]}) == "channels: found topic 't' more than once; allowed is each topic once"
    one["groups"][0]["id"] = two["groups"][0]["id"] = "same"
    two["topic"] = "t2"
    assert refusal({"channels": [one, two]}) == (
        "channels.groups: found id 'same' more than once; allowed is each id once"
    )


@pytest.mark.parametrize(
    "start",
    [
        "now",
        "earliest",
        1_700_000_000,
        "1700000000",
        "2026-01-31T08:00:00Z",
        "2026-01-31T08:00:00.5+08:00",
        "mysql-bin.000078:4",
        "3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5",
        "0-1-7",
    ],
)
def test_every_kind_of_start(start):
    assert from_document(minimal(start=start), Path("/x"), {}).channels[0].start == start


def test_a_start_given_as_a_date_is_seconds():
    document = tomllib.loads("start = 2026-01-31T08:00:00+08:00")
    assert from_document(minimal(**document), Path("/x"), {}).channels[0].start == 1769817600


@pytest.mark.parametrize("topic", ["a", ".a", "..a", "a.b_c-D9", "x" * 249])
def test_topic_names_that_kafka_takes(topic):
    assert from_document(minimal(topic=topic), Path("/x"), {}).channels[0].topic_name == topic


@pytest.mark.parametrize("topic", ["", ".", "..", "a b", "a/b", "x" * 250, "a\n"])
def test_topic_names_that_kafka_refuses(topic):
    assert refusal(minimal(topic=topic)).startswith(f"channels[0].topic: found {topic!r}; allowed is 1 to 249 letters")
