"""`binwire explain`: a record beside its bytes, from a running server and its source; the layout, and the mistakes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from broker.explain import EventView, Explanation, Part, shown
from broker.render import COLOURED, PLAIN, width
from tests.server_process import ServerProcess
from tests.tools.workplace import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATION = f"""
[[listeners]]
bind = "127.0.0.1:0"

[[channels]]
id = "shop"
topic = "shop"
source = "file://{CHECKOUT}/broker/data/demo-shop.000001"
objects = ["shop"]
start = "earliest"
"""
CHANGES = 102
"""Row changes and statements of the recorded shop."""
GOLDEN = CHECKOUT / "tests/golden/explain.txt"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server"), CONFIGURATION) as server:
        server.wait_for(lambda: server.status()["channels"][0]["high_watermark"] > 2 * CHANGES, "read to its end")
        yield server


def command(server: ServerProcess, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "binwire", *arguments, "-c", str(server.folder / "binwire.toml")],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def offsets(server: ServerProcess) -> dict[str, int]:
    """The first record of each operation."""
    _, out, _ = command(server, "tail", "shop", "--json", "--all", "-n", "100000")
    found: dict[str, int] = {}
    for line in out.splitlines():
        record = json.loads(line)
        found.setdefault(record["operation"], record["offset"])
    return found


def test_what_is_shown_is_as_it_was(server: ServerProcess, offsets: dict[str, int]) -> None:
    """The golden file is written anew with BINWIRE_GOLDEN=write, and read by whoever changes the layout."""
    told = []
    for operation in ("BEGIN", "INSERT", "UPDATE", "DELETE", "COMMIT", "DDL"):
        code, out, err = command(server, "explain", "shop", str(offsets[operation]))
        assert (code, err) == (0, "")
        told.append(out)
    text = "\n".join(told)
    if os.environ.get("BINWIRE_GOLDEN") == "write":
        GOLDEN.write_text(text, "utf-8")
    assert text == GOLDEN.read_text("utf-8")


def test_as_json(server: ServerProcess, offsets: dict[str, int]) -> None:
    code, out, _ = command(server, "explain", "shop", str(offsets["UPDATE"]), "--json")
    document = json.loads(out)
    assert code == 0
    assert document["record"]["offset"] == offsets["UPDATE"]
    assert document["missing"] is None
    assert "byte for byte" in document["verdict"]
    assert document["definition"]["table"]["table"] == document["record"]["objectName"].partition(".")[2]
    *_, event = document["events"]
    cells = [part for part in event["parts"] if "cell" in part]
    names = list(document["record"]["before"])
    assert [(part["image"], part["name"]) for part in cells] == [(i, n) for i in ("before", "after") for n in names]
    data = bytes.fromhex(event["bytes"])
    for part in cells:
        if part["cell"] is not None and part["cell"]["class"] == "Character":
            assert data[part["start"] : part["end"]].endswith(bytes.fromhex(part["cell"]["value"]["hex"]))


def test_the_channel_goes_on_undisturbed(server: ServerProcess, offsets: dict[str, int]) -> None:
    before = server.status()["channels"][0]
    command(server, "explain", "shop", str(offsets["INSERT"]))
    after = server.status()["channels"][0]
    assert (after["state"], after["high_watermark"]) == (before["state"], before["high_watermark"])


def test_mistakes_are_told_in_one_sentence(server: ServerProcess) -> None:
    file = server.folder / "binwire.toml"
    sentence = f"binwire: {file}: no channel has the topic 'shoes'; there are shop\n"
    assert command(server, "explain", "shoes", "1") == (1, "", sentence)
    code, out, err = command(server, "explain", "shop", "999999")
    assert (code, out) == (1, "")
    assert re.fullmatch(r"binwire: there is no offset 999999 in shop, which has 0 to \d+\n", err)
    code, _, err = command(server, "explain", "shop", "-1")
    assert code == 2
    code, _, err = command(server, "explain", "shop", "first")
    assert code == 2
    assert "'first' is not an offset; write a number as `binwire tail` shows it" in err


def test_without_a_server(tmp_path) -> None:
    (tmp_path / "binwire.toml").write_text(CONFIGURATION, "utf-8")
    command = [sys.executable, "-m", "binwire", "explain", "shop", "1", "-c", str(tmp_path / "binwire.toml")]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert f"no server is running on the data directory {tmp_path / 'data'}" in done.stderr


def test_a_source_that_lost_the_binlog(server: ServerProcess, offsets: dict[str, int], tmp_path) -> None:
    """What the log and the catalog know is shown all the same."""
    configuration = (server.folder / "binwire.toml").read_text("utf-8")
    gone = configuration.replace(f"{CHECKOUT}/broker/data/demo-shop.000001", str(tmp_path / "demo-shop.000001"))
    file = tmp_path / "binwire.toml"
    file.write_text(gone, "utf-8")
    arguments = [sys.executable, "-m", "binwire", "explain", "shop", str(offsets["INSERT"]), "-c", str(file)]
    done = subprocess.run(arguments, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert f"  no bytes     the binlog file {tmp_path / 'demo-shop.000001'} cannot be read" in done.stdout
    assert "  definition   metaVersion " in done.stdout
    assert "TABLE_MAP  " not in done.stdout


RECORD = {
    "operation": "INSERT",
    "sourceTimestamp": 1_700_000_000,
    "sourcePosition": "200@1",
    "safeSourcePosition": "100@1",
    "objectName": "d.t",
    "tags": {},
    "fields": [{"name": "näme", "dataTypeNumber": 253}],
    "beforeImages": None,
    "afterImages": [{"class": "Character", "charset": "utf8mb4", "value": "你好 \x1b[31m".encode() + b"x" * 300}],
}


@pytest.mark.parametrize("columns", [80, 100, 140])
def test_the_layout_keeps_to_the_terminals_width(columns: int) -> None:
    value = RECORD["afterImages"][0]["value"]  # type: ignore[index]
    parts = [
        Part(0, len(value), "näme", "VARCHAR → Character, dataTypeNumber 253", " ".join(["a rule"] * 30), "after", 0)
    ]
    explanation = Explanation(
        "a row " * 40, "binlog.000001:200", None, [EventView("WRITE_ROWS", "p", value, parts, "")], None, None
    )
    lines = list(shown(7, RECORD, explanation, PLAIN, columns))
    assert max(map(width, lines)) <= columns
    assert "… 184 more bytes" in "\n".join(lines)
    assert "\x1b" not in "\n".join(lines)
    coloured = "\n".join(shown(7, RECORD, explanation, COLOURED, columns))
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == "\n".join(lines)
