"""Sample code: whole, filled, and escaped so that no value can break out; what Python has is really run."""

from __future__ import annotations

import ast
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from binwire.testing import EmbeddedBroker
from broker.config import ListenerConfig
from broker.endpoints import Endpoint, endpoints
from broker.listener import Address
from broker.samples import LANGUAGES, PASSWORD, filled
from broker.samples.literals import COMMENT_CHARACTERS_MAX, comment, literal
from tests.sample_programs import CHANGES, changes_of, filled_sample, served_changes

HOSTILE = [
    "",
    "plain-value_1.2",
    '"; System.exit(1); //',
    "' || true; echo broken '",
    "\\",
    '\\\\"',
    "*/ int x; /*",
    "line\nfeed\r\ttab",
    "#{system('true')} #$0 #@a",
    "${HOME} $(id) `id`",
    "\\u0022; exit(1); //",
    "%s %n {0}",
    "??/ ??' trigraphs",
    "订阅 😀 \u202e\u2028\x7f\x85",
    "@topic@ @password@",
    "</script><script>",
]
TOPIC = "cn_hangzhou_rm_x_dtstest_version2"
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("language", ["python", "node"])
def test_a_literal_means_its_text(language: str, text: str) -> None:
    assert _evaluated(language, literal(language, text)) == text


@given(TEXTS)
def test_a_literal_of_python_means_any_text(text: str) -> None:
    assert ast.literal_eval(literal("python", text)) == text


@given(TEXTS)
def test_literals_are_of_printable_ascii_and_end_where_they_end(text: str) -> None:
    for language in LANGUAGES:
        found = literal(language.id, text)
        if language.id == "kcat":
            continue
        assert found.isascii()
        assert found.isprintable()
        inner = found[1:-1]
        assert found[0] == found[-1] == '"'
        # Whatever is behind an odd number of backslashes is escaped; no quote is bare.
        assert '"' not in inner.replace("\\\\", "").replace('\\"', "")
        assert not inner.replace("\\\\", "").endswith("\\")


@given(TEXTS)
def test_a_shells_literal_is_one_word(text: str) -> None:
    assert shlex.split(f"x={literal('kcat', text)}") == [f"x={text}"]


def test_a_shell_cannot_hold_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        literal("kcat", "a\0b")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_comment_ends_nothing(text: str) -> None:
    found = comment(text)
    assert found.isprintable()
    assert not set(found) & set("*/\\\"'`#$<>{}")
    assert len(comment(text * 500)) <= COMMENT_CHARACTERS_MAX + 3


@pytest.mark.parametrize("language", [each.id for each in LANGUAGES])
def test_a_sample_is_filled_and_has_a_placeholder_for_the_password(language: str) -> None:
    text = filled_sample(language, endpoint="db.example:18001", password=None).text
    assert all(literal(language, value) in text for value in ("db.example:18001", TOPIC, PASSWORD, "dtssample01"))
    assert re.findall("@[a-z_]+@", text) == []
    assert "channel shop" in text


@pytest.mark.parametrize("language", [each.id for each in LANGUAGES])
@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_values_change_no_line_of_a_program(language: str, text: str) -> None:
    values = dict.fromkeys(("topic", "endpoint", "group", "account", "login", "password", "security"), text)
    hostile = filled(language, values, text)
    harmless = filled(language, dict.fromkeys(values, "x"), "x")
    if language != "kcat":  # a shell's word may go over lines
        assert len(hostile.splitlines()) == len(harmless.splitlines())
    if language == "python":
        assigned = {node.targets[0].id: node.value.value for node in _assignments(hostile)}
        assert assigned == dict.fromkeys(("ENDPOINT", "TOPIC", "GROUP", "LOGIN", "PASSWORD", "SECURITY"), text)
        assert [type(node) for node in ast.parse(hostile).body] == [type(node) for node in ast.parse(harmless).body]


def test_without_a_group_placeholders_stand_for_it() -> None:
    text = filled_sample("python", group=False).text
    assert '"YOUR_USERNAME-YOUR_GROUP_ID"' in text


def test_endpoints_are_where_clients_connect() -> None:
    listeners = [
        ListenerConfig(name="public", bind="127.0.0.1:0"),
        ListenerConfig(name="vpc", bind="0.0.0.0:0", advertised="db.example:18003", security="SASL_SSL"),
        ListenerConfig(name="everywhere", bind="[::]:0"),
        ListenerConfig(name="not open", bind="127.0.0.1:1"),
    ]
    bound = {
        "public": Address("127.0.0.1", 18001),
        "vpc": Address("0.0.0.0", 5),
        "everywhere": Address("::", 7),
    }
    found = endpoints(listeners, bound)
    assert found[:2] == [
        Endpoint("public", "127.0.0.1:18001", "SASL_PLAINTEXT"),
        Endpoint("vpc", "db.example:18003", "SASL_SSL"),
    ]
    assert found[2].address.endswith(":7")
    assert found[2].address not in ("[::]:7", ":7")
    assert len(found) == 3


def test_the_sample_in_python_runs(tmp_path: Path) -> None:
    with EmbeddedBroker() as broker:
        channel = served_changes(broker)
        assert changes_of("python", channel, tmp_path, [sys.executable, "consumer.py"]) == CHANGES


def _assignments(program: str) -> list[Any]:
    found = [node for node in ast.parse(program).body if isinstance(node, ast.Assign)]
    return [node for node in found if isinstance(node.value, ast.Constant)]


def _evaluated(language: str, text: str) -> str:
    if language == "python":
        found: str = ast.literal_eval(text)
        return found
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not on the PATH")
    program = f"process.stdout.write(JSON.stringify({text}))"
    done = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True)
    value: str = json.loads(done.stdout)
    return value
