"""What every tracked file keeps to: no machine paths or registry addresses, no unfinished work, code in its measure."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

CHECKOUT = Path(__file__).resolve().parents[1]
CODE = ("binwire", "broker", "capture", "storage", "bench", "tests")
LONGEST_FUNCTION_LINES = 70

# Written in parts, so that this file does not find itself.
MACHINE_PATH = re.compile(rb"(?<![\w.$}>-])/(?:root|home|work|Users)" + rb"/[\w.]")
REGISTRY_HOST = re.compile(
    rb"(?:pypi|pythonhosted|npmjs|crates|maven|debian|golang)" + rb"\.(?:org|io|com)\b",
)
# Pages for people and names of Go modules, not addresses that anything is fetched from.
READING_MATTER = re.compile(rb"https://(?:www|wiki|packages|tracker|bugs)\.debian" + rb"\.org/|golang" + rb"\.org/x/")
UNFINISHED = re.compile(rb"\b(?:TO" + rb"DO|FIX" + rb"ME|XX" + rb"X|HA" + rb"CK)\b")


def tracked_files() -> list[Path]:
    if not shutil.which("git") or not (CHECKOUT / ".git").exists():
        pytest.skip("this is not a git checkout, so there is no list of tracked files")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, check=True).stdout
    return [path for name in listed.split(b"\0") if name and (path := CHECKOUT / name.decode()).is_file()]


def occurrences(pattern: re.Pattern[bytes]) -> list[str]:
    found = []
    for path in tracked_files():
        content = READING_MATTER.sub(b"", path.read_bytes())
        for match in pattern.finditer(content):
            line = content.count(b"\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(CHECKOUT)}:{line} {match.group().decode('utf-8', 'replace')}")
    return found


@pytest.fixture(scope="module")
def sources() -> list[tuple[str, ast.Module]]:
    paths = sorted(path for folder in CODE for path in (CHECKOUT / folder).rglob("*.py"))
    return [(path.relative_to(CHECKOUT).as_posix(), ast.parse(path.read_text("utf-8"))) for path in paths]


def test_no_path_of_one_machine_is_written_down() -> None:
    assert occurrences(MACHINE_PATH) == []


def test_no_registry_address_is_written_down() -> None:
    assert occurrences(REGISTRY_HOST) == []


def test_nothing_is_left_for_later() -> None:
    assert occurrences(UNFINISHED) == []


def test_every_module_says_what_it_owns(sources: list[tuple[str, ast.Module]]) -> None:
    assert [name for name, tree in sources if tree.body and not ast.get_docstring(tree)] == []


def test_every_function_fits_on_a_screen(sources: list[tuple[str, ast.Module]]) -> None:
    long = [
        f"{name}:{node.lineno} {node.name} has {(node.end_lineno or 0) - node.lineno + 1} lines"
        for name, tree in sources
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (node.end_lineno or 0) - node.lineno + 1 > LONGEST_FUNCTION_LINES
    ]
    assert long == []


def test_every_dependency_is_recorded_with_its_version_and_checksums() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text("utf-8"))
    wanted = [Requirement(line) for line in project["project"]["dependencies"] + project["dependency-groups"]["dev"]]
    lock = (CHECKOUT / "tests" / "tools" / "requirements-dev.txt").read_text("utf-8")
    pinned = dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)[^\n]*\\\n    --hash=sha256:", lock, re.MULTILINE))
    missing = [
        f"{requirement}: recorded {pinned.get(requirement.name)}"
        for requirement in wanted
        if requirement.name not in pinned or Version(pinned[requirement.name]) not in requirement.specifier
    ]
    assert missing == [], "run `make lock`"


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (MACHINE_PATH, b"open('/" + b"home/ann/x')"),
        (REGISTRY_HOST, b"https://" + b"pypi" + b".org/simple"),
        (UNFINISHED, b"# TO" + b"DO: later"),
    ],
)
def test_the_patterns_find_what_they_are_for(pattern: re.Pattern[bytes], text: bytes) -> None:
    assert pattern.search(text)
