"""Who may import whom, and who may touch transports: DESIGN's floors, read from the sources.

Imports for type checking count too: a floor that needs another's types knows about it.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
FLOORS = ("binwire", "broker", "capture", "storage")

# Floor -> the floors it may import besides itself.
MAY_IMPORT = {
    "binwire": set(),
    "broker": {"storage"},
    "capture": {"storage"},
    "storage": set(),
}
# The only files that may import more: the front door starts the server, pytest loads its plugin, one file wires capture
# to broker, the command line tells the version and runs the benchmarks, and the fixture tells records as users decode
# them.
EXCEPTIONS = {
    "binwire/__main__.py": {"broker"},
    "binwire/pytest_plugin.py": {"pytest"},
    "broker/capturing.py": {"capture"},
    "broker/cli.py": {"bench", "binwire"},
    "broker/fixture/waiting.py": {"binwire"},
}
# Imported for type checking only; brought along by mysql-replication, whose benchmark it is; there in a checkout only,
# which the benchmark that wants it looks at first; there where pytest loads its plugin.
NOT_REQUIRED = {"typing_extensions", "pymysql", "tests", "pytest"}
# Bytes come from and go to sockets (and, for the fixture, its parent's pipe) here and nowhere else; all other code is
# functions over bytes.
TRANSPORT_FILES = {
    "broker/alerts/webhook.py",
    "broker/client.py",
    "broker/console/http.py",
    "broker/console/protocol.py",
    "broker/control.py",
    "broker/fixture/http.py",
    "broker/fixture/process.py",
    "broker/server.py",
    "capture/dump_stream.py",
}
TRANSPORT_NAMES = {
    "BaseProtocol",
    "BufferedProtocol",
    "DatagramTransport",
    "Protocol",
    "StreamReader",
    "StreamReaderProtocol",
    "StreamWriter",
    "Transport",
    "WriteTransport",
    "create_connection",
    "create_server",
    "create_unix_connection",
    "create_unix_server",
    "open_connection",
    "open_unix_connection",
    "start_server",
    "start_unix_server",
}


def sources(floor: str) -> list[Path]:
    return sorted((CHECKOUT / floor).rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(CHECKOUT).as_posix()


def imported_packages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, top-level package) of every import, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.lineno, node.module.split(".")[0]


def forbidden_imports(path: Path, tree: ast.AST) -> list[str]:
    floor = relative(path).split("/")[0]
    allowed = {floor} | MAY_IMPORT[floor] | EXCEPTIONS.get(relative(path), set())
    others = {"bench", "tests", *FLOORS} - allowed
    return [f"{relative(path)}:{line} imports {name}" for line, name in imported_packages(tree) if name in others]


def transport_uses(path: Path, tree: ast.AST) -> list[str]:
    if relative(path) in TRANSPORT_FILES:
        return []
    uses = [
        (node.lineno, node.attr)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Call | ast.Attribute)
        if ast.unparse(node.value) in ("asyncio", "loop", "self._loop", "asyncio.get_running_loop()")
        if node.attr in TRANSPORT_NAMES
    ]
    uses += [
        (node.lineno, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "asyncio"
        for alias in node.names
        if alias.name in TRANSPORT_NAMES
    ]
    return [f"{relative(path)}:{line} uses asyncio's {name}" for line, name in uses]


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_imports_only_what_lies_below(floor: str) -> None:
    assert sources(floor), f"no sources of {floor} were found"
    found = [line for path in sources(floor) for line in forbidden_imports(path, ast.parse(path.read_text("utf-8")))]
    assert found == []


def test_the_front_door_needs_only_the_standard_library() -> None:
    known = sys.stdlib_module_names | {"binwire", "__future__"}
    found = [
        f"{relative(path)}:{line} imports {name}"
        for path in sources("binwire")
        for line, name in imported_packages(ast.parse(path.read_text("utf-8")))
        if name not in known | EXCEPTIONS.get(relative(path), set())
    ]
    assert found == []


@pytest.mark.parametrize("floor", FLOORS)
def test_transports_stay_at_the_edges(floor: str) -> None:
    found = [line for path in sources(floor) for line in transport_uses(path, ast.parse(path.read_text("utf-8")))]
    assert found == []


def test_what_the_wheel_imports_it_requires() -> None:
    """The wheel brings `compression = "lz4"` to work too: packages that are imported late are required all the same."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))["project"]
    required = {re.split(r"[^A-Za-z0-9-]", requirement)[0].lower() for requirement in project["dependencies"]}
    distributions = importlib.metadata.packages_distributions()
    imported = {
        name
        for floor in (*FLOORS, "bench")
        for path in sources(floor)
        for _, name in imported_packages(ast.parse(path.read_text("utf-8")))
    }
    foreign = imported - sys.stdlib_module_names - {*FLOORS, "bench"} - NOT_REQUIRED
    missing = {
        name
        for name in foreign
        if not required & {each.lower().replace("_", "-") for each in distributions.get(name, [])}
    }
    assert "cramjam" in foreign
    assert missing == set()


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("storage/x.py", "from broker import wire"),
        ("capture/x.py", "def f():\n    import broker.wire"),
        ("broker/x.py", "from capture.channel import Channel"),
        ("storage/x.py", "if TYPE_CHECKING:\n    from capture.position import Position"),
        ("broker/x.py", "import tests.fakes"),
    ],
)
def test_the_reading_of_imports_sees_a_forbidden_one(path: str, source: str) -> None:
    assert len(forbidden_imports(CHECKOUT / path, ast.parse(source))) == 1


@pytest.mark.parametrize(
    "source", ["class P(asyncio.Protocol): ...", "from asyncio import StreamReader", "loop.create_server(f)"]
)
def test_the_reading_of_transports_sees_one(source: str) -> None:
    assert len(transport_uses(CHECKOUT / "broker" / "x.py", ast.parse(source))) == 1
