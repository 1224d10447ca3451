"""The wheel and the sdist: what is in them, and that they work where nothing else of this checkout is.

Every environment here is new and holds what the package index gives for the wheel's requirements.
"""

from __future__ import annotations

import configparser
import importlib.machinery
import os
import shutil
import subprocess
import tarfile
import textwrap
import zipfile
from pathlib import Path

import pytest

from bench.registry import QUICK
from tests import installed
from tests.installed import Distribution
from tests.tools.workplace import CHECKOUT, run_quietly

SERVER = ("bench", "broker", "capture", "storage")
LEFT_OUT = ("bench/results/", "bench/NOTES.md")

THEIR_TEST = """
    import sys

    import broker, capture, storage
    from binwire.testing import EmbeddedBroker
    from kafka import KafkaConsumer
    from storage.log import Log

    assert (broker.OWNER, capture.OWNER, storage.OWNER, Log.OWNER) == ("they",) * 4

    with EmbeddedBroker() as embedded:
        channel = embedded.channel("CREATE TABLE orders (id BIGINT PRIMARY KEY, note VARCHAR(40))")
        channel.insert("orders", {"id": 1, "note": "first"})
        consumer = KafkaConsumer(
            channel.topic, group_id=channel.sid, consumer_timeout_ms=30000, **channel.kafka_python()
        )
        values = [message.value for _, message in zip(range(4), consumer)]
        assert b"first" in values[-1], values
        consumer.close()

    ours = {".".join(name.split(".")[:2]) for name in sys.modules if name.startswith("binwire")}
    assert ours <= {"binwire", "binwire.testing", "binwire.record", "binwire.record_values"}, ours
    assert broker.__file__.startswith(sys.argv[1]), broker.__file__
    print("received")
"""


@pytest.fixture(scope="module")
def commands(distribution: Distribution, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are of an environment that has the wheel and what it requires."""
    return installed.environment(tmp_path_factory.mktemp("packaging") / "venv", str(distribution.wheel))


@pytest.fixture
def their_project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for name in ("broker", "capture", "storage"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text('OWNER = "they"\n', "utf-8")
    (folder / "storage" / "log.py").write_text('class Log:\n    OWNER = "they"\n', "utf-8")
    (folder / "try_it.py").write_text(textwrap.dedent(THEIR_TEST), "utf-8")
    return folder


def run(command: list[str | Path], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a user does who has nothing of ours, in a folder of his."""
    environment = installed.clean_environment(folder.parent / "home") | more
    return run_quietly([str(word) for word in command], cwd=folder, env=environment, timeout_s=250)


# --- what is in them ------------------------------------------------------------------------------------------------


def sources() -> set[str]:
    """The names that the wheel has for the files of this checkout."""
    if not shutil.which("git") or not (CHECKOUT / ".git").exists():
        pytest.skip("this is not a git checkout, so there is no list of its files")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "binwire", *SERVER]
    listed = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout.split()
    names = (name for name in listed if not name.startswith(LEFT_OUT) and (CHECKOUT / name).is_file())
    return {name if name.startswith("binwire/") else f"binwire/_server/{name}" for name in names}


def compiled(names: set[str]) -> set[str]:
    return {name for name in names if name.endswith(".so")}


def of_binwire(wheel: Path) -> set[str]:
    return {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}


def test_the_wheel_has_every_source_and_nothing_else(distribution):
    names = of_binwire(distribution.wheel)
    assert names - compiled(names) == sources()


def test_a_wheel_with_compiled_modules_is_for_this_platform_alone(distribution):
    modules = compiled(of_binwire(distribution.wheel))
    if distribution.wheel.name.endswith("-py3-none-any.whl"):
        assert modules == set()
    else:
        suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
        places = ("broker/search/_scan", "capture/_rows", "storage/_framing")
        assert modules == {f"binwire/_server/{place}{suffix}" for place in places}


def test_a_wheel_of_the_sdist_is_the_wheel_of_the_checkout(distribution, tmp_path):
    with tarfile.open(distribution.sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    [unpacked] = (path for path in tmp_path.iterdir() if path.is_dir())
    assert compiled({path.name for path in unpacked.rglob("*")}) == set()
    rebuilt = distribution.wheel_of(unpacked, tmp_path / "wheel")
    assert rebuilt.name == distribution.wheel.name
    assert zip_contents(rebuilt) == zip_contents(distribution.wheel)


def zip_contents(wheel: Path) -> dict[str, int]:
    """Names with checksums, but for compiled modules (a compiler may name its folder in them) and the list of these."""
    entries = zipfile.ZipFile(wheel).infolist()
    return {entry.filename: entry.CRC for entry in entries if not entry.filename.endswith((".so", "/RECORD"))}


def test_the_sdist_has_what_its_documents_speak_of(distribution):
    with tarfile.open(distribution.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    documents = {"README.md", "DESIGN.md", "CHANGELOG.md", "LICENSE", "Makefile", "pyproject.toml", "hatch_build.py"}
    assert documents <= names
    assert {"tests/test_packaging.py", "capture/_rows.c", "deploy/binwire.service"} <= names


def test_what_the_wheel_offers_can_be_imported(distribution):
    archive = zipfile.ZipFile(distribution.wheel)
    [place] = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
    points = configparser.ConfigParser()
    points.read_string(archive.read(place).decode())
    assert points["console_scripts"]["binwire"] == "binwire.__main__:main"
    for section in points.sections():
        for target in points[section].values():
            assert f"{target.partition(':')[0].replace('.', '/')}.py" in archive.namelist()


# --- where it is installed ------------------------------------------------------------------------------------------


def test_the_wheel_adds_one_name_to_an_environment(commands):
    [packages] = commands.parent.glob("lib/python*/site-packages")
    [record] = packages.glob("binwire-*.dist-info/RECORD")
    tops = {line.split("/")[0] for line in record.read_text("utf-8").splitlines() if not line.startswith("..")}
    assert tops == {"binwire", record.parent.name}


@pytest.mark.parametrize("on_python_path", [False, True])
def test_a_project_with_packages_of_the_same_names(commands, their_project, on_python_path):
    more = {"PYTHONPATH": str(their_project)} if on_python_path else {}
    done = run([commands / "python", "-W", "ignore", "try_it.py", their_project], their_project, **more)
    assert (done.returncode, done.stdout, done.stderr) == (0, "received\n", "")


def test_the_installed_command(distribution, commands, their_project):
    done = run([commands / "binwire", "version"], their_project)
    built = not distribution.wheel.name.endswith("-none-any.whl")
    state = "active" if built else "not built, pure Python does its work"
    assert (done.returncode, done.stdout) == (0, f"binwire 0.1.0\naccelerator: {state}\n")


def test_the_installed_demo(commands, their_project):
    done = run([commands / "binwire", "demo", "--records", "8", "--speed", "50"], their_project)
    assert (done.returncode, done.stderr) == (0, "")
    assert "龙井茶 250g" in done.stdout


def test_the_benchmarks_of_a_first_table_run_from_the_wheel(commands, their_project):
    """In smoke size; nothing is written where nobody said so."""
    before = sorted(their_project.iterdir())
    options = ["--smoke", "--no-peer", "--rounds", "1"]
    done = run([commands / "python", "-m", "binwire", "bench", *options, *QUICK], their_project)
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines() if " no peer" in line} == {*QUICK}
    assert "commit unknown" in done.stdout
    assert sorted(their_project.iterdir()) == before


def test_a_client_is_judged_from_the_wheel(commands, their_project):
    client = "import os; [print(offset) for offset in range(int(os.environ['BINWIRE_RECORDS']))]"
    command = [commands / "binwire", "bench", "client", "--records", "10", "--", commands / "python", "-c", client]
    done = run(command, their_project)
    assert done.returncode == 0, done.stderr
    assert "every record once and in order" in done.stdout


# --- without installing it ------------------------------------------------------------------------------------------


def test_it_runs_by_uvx(distribution, tmp_path):
    """And by pipx: `tests/interop/test_pip.py`."""
    uvx = installed.tool("uv", installed.UV) / "uvx"
    cache = os.environ.get("UV_CACHE_DIR", str(Path.home() / ".cache" / "uv"))
    folder = tmp_path / "anywhere"
    folder.mkdir()
    variables = installed.clean_environment(tmp_path / "home") | {"UV_CACHE_DIR": cache}
    command = [str(uvx), "--from", str(distribution.wheel), "binwire", "version"]
    assert installed.from_the_index(command, folder, variables).startswith("binwire 0.1.0\n")
