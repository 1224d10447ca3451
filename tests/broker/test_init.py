"""`binwire init`: at a terminal on real servers, by options alone, and what it writes, asks and refuses."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import shlex
import signal
import stat
import subprocess
import sys
import termios
import tomllib
from typing import TYPE_CHECKING

import pytest

from broker.config import load
from broker.config_rules import ConfigError
from broker.init_dialogue import Dialogue
from broker.init_file import NewChannel, NewFile, NewGroup, group_password, quoted, source_password, text, write
from broker.init_source import GivenSource, selected, split_objects
from broker.listener import Address
from tests.tools import librdkafka
from tests.tools.workplace import CHECKOUT, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tests.live_server import LiveServer

WAIT_S = 60
PORTS = ("--listen", "127.0.0.1:0", "--console", "127.0.0.1:0")
COMMAND = (sys.executable, "-m", "binwire", "init")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "100"}


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, arguments: Sequence[str], folder: Path) -> None:
        self.master, slave = os.openpty()
        self.process = subprocess.Popen(
            arguments,
            cwd=folder,
            env=ENVIRONMENT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self.shown = ""
        self._is_closed = False
        self._answered = 0

    def wait_for(self, words: str) -> None:
        """Until something is shown behind what was waited for last."""
        while words not in self.shown[self._answered :]:
            assert select.select([self.master], [], [], WAIT_S)[0], f"{words!r} never came: {self.shown}"
            try:
                piece = os.read(self.master, 65536)
            except OSError:
                piece = b""
            assert piece, f"it ended before {words!r}: {self.shown}"
            self.shown += piece.decode("utf-8", "replace").replace("\r\n", "\n")
        self._answered = self.shown.index(words, self._answered) + len(words)

    def answer(self, words: str, line: str) -> None:
        self.wait_for(words)
        os.write(self.master, line.encode() + b"\n")

    def close(self) -> int:
        """Press Ctrl-C and see it end; its status."""
        if self._is_closed:
            return self.process.returncode
        self._is_closed = True
        if self.process.poll() is None:
            os.write(self.master, b"\x03")
        with contextlib.suppress(OSError):
            while os.read(self.master, 65536):
                pass
        status = self.process.wait(WAIT_S)
        os.close(self.master)
        return status


@contextlib.contextmanager
def terminal(folder: Path, *arguments: str) -> Iterator[Terminal]:
    opened = Terminal([*COMMAND, *arguments], folder)
    try:
        yield opened
    finally:
        opened.close()


def without_password(server: LiveServer) -> str:
    return f"mysql://{server.repl_user}@{server.host}:{server.port}"


def printed_command(shown: str, contains: str) -> str:
    """The command among those that consume in which this stands, as a shell takes it: all up to an empty line."""
    _, _, commands = shown.partition("Consume it")
    [command] = [command for command in commands.split("\n\n") if contains in command]
    return command


def first_line_of(command: str, folder: Path) -> str:
    """What a command for a shell prints first."""
    with subprocess.Popen(
        command, shell=True, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            assert select.select([process.stdout], [], [], WAIT_S)[0], f"nothing came from {command}"
            return process.stdout.readline()
        finally:
            os.killpg(process.pid, signal.SIGKILL)


# ---- at a terminal, on real servers ----


def test_from_nothing_to_a_channel_that_is_consumed(server: LiveServer, tmp_path: Path) -> None:
    """An address and an administrator's password are all that a newcomer has."""
    database = server.fresh_database()
    server.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
    user = f"bw_{database[-8:]}"
    with terminal(tmp_path, *PORTS, f"{user}@{server.host}:{server.port}") as session:
        session.answer(f"Password of {user}", "")
        session.wait_for("denies access")
        session.wait_for("GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.*")
        session.wait_for("binlog_format = ROW")
        session.answer("Administrator's user name", server.root_user)
        session.answer(f"Password of {server.root_user}", server.root_password)
        session.answer("Which to track", database)
        session.wait_for("<password>")
        session.answer("Run them?", "y")
        session.wait_for("whitelist address")
        session.wait_for("ready")
        session.wait_for("is Normal")
        server.execute(f"INSERT INTO {database}.t VALUES (1)")
        session.wait_for("Console: http://127.0.0.1:")
        assert re.match(r"0 \d+ \d+", first_line_of(printed_command(session.shown, "KafkaConsumer"), tmp_path))
        tail = printed_command(session.shown, "binwire tail")
        told = subprocess.run(
            shlex.split(tail.replace(" -f", " -n 10")),  # as it is pasted, whatever the PATH has
            cwd=tmp_path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"{database}.t" in told.stdout
        [(host,)] = server.execute("SELECT host FROM mysql.user WHERE user = %s", (user,))
        assert (
            f"# made by binwire init; when the channel is released: DROP USER '{user}'@'{host}';"
            in (tmp_path / "binwire.toml").read_text()
        )
        for secret in tmp_path.glob("*-password"):
            assert secret.read_text().strip() not in session.shown
            assert secret.read_text().strip() not in (tmp_path / "binwire.toml").read_text()
            assert stat.S_IMODE(secret.stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "binwire.toml").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "data" / "catalog.db").stat().st_mode) == 0o600
    server.execute(f"DROP USER {user}@%s", (host,))


def test_the_line_of_kcat_consumes(mysql97: LiveServer, tmp_path: Path) -> None:
    try:
        kcat = librdkafka.kcat_command()
    except (ToolError, OSError, subprocess.SubprocessError) as error:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"kcat cannot be had: {error}")
    (tmp_path / "kcat").write_text(f'#!/bin/sh\nexec {shlex.join(kcat)} "$@"\n')
    (tmp_path / "kcat").chmod(0o755)
    database = mysql97.fresh_database()
    with terminal(tmp_path, *PORTS, "--objects", database, mysql97.url()) as session:
        session.wait_for("Console:")
        command = f"PATH={shlex.quote(str(tmp_path))}:$PATH; {printed_command(session.shown, 'kcat -b')}"
        mysql97.execute(f"CREATE TABLE {database}.t (id INT PRIMARY KEY)")
        consumer = Terminal(["sh", "-c", command], tmp_path)
        try:
            consumer.wait_for(" bytes")
            assert re.search(r"^0 \d+ \d+ bytes", consumer.shown, re.MULTILINE)
        finally:
            consumer.close()


def test_an_account_that_is_there_is_asked_for_its_password_only(mysql97: LiveServer, tmp_path: Path) -> None:
    databases = [mysql97.fresh_database() for _ in range(2)]
    with terminal(tmp_path, *PORTS, "--id", "c", without_password(mysql97)) as session:
        session.answer(f"Password of {mysql97.repl_user}", mysql97.repl_password)
        session.wait_for("Databases there:")
        session.answer("Which to track", "99999")
        session.wait_for("there is no number 99999")
        session.answer("Which to track", f"{databases[0]}, {databases[1]}")
        session.wait_for("is Normal")
        assert load(tmp_path / "binwire.toml").channels[0].objects == databases
        assert session.close() == 0


def test_what_fails_is_looked_at_again_once_it_is_mended(mysql97: LiveServer, tmp_path: Path) -> None:
    database = mysql97.fresh_database()
    url = without_password(mysql97)
    with (
        mysql97.global_variable("binlog_row_image", "MINIMAL"),
        terminal(tmp_path, *PORTS, "--objects", database, "--no-start", url) as session,
    ):
        session.answer(f"Password of {mysql97.repl_user}", mysql97.repl_password)
        session.wait_for("SET GLOBAL binlog_row_image = FULL;")
        session.wait_for("not ready")
        mysql97.execute("SET GLOBAL binlog_row_image = FULL")
        session.answer("Look again", "")
        session.wait_for("Start it: ")
        assert session.process.wait(WAIT_S) == 0


def test_who_gives_up_leaves_nothing_behind(mysql97: LiveServer, tmp_path: Path) -> None:
    url = without_password(mysql97)
    with terminal(tmp_path, *PORTS, "--objects", "no_such_database", url) as session:
        session.answer(f"Password of {mysql97.repl_user}", mysql97.repl_password)
        session.answer("Look again", "n")
        session.wait_for("nothing was written")
        assert session.process.wait(WAIT_S) == 1
    assert list(tmp_path.iterdir()) == []


def test_who_leaves_is_told_of_the_account_that_was_made(mysql97: LiveServer, tmp_path: Path) -> None:
    database = mysql97.fresh_database()
    user = f"bw_{database[-8:]}"
    made = ("--objects", database, "--administrator", mysql97.root_user, "--yes")
    with (
        mysql97.global_variable("binlog_row_image", "MINIMAL"),
        terminal(tmp_path, *PORTS, *made, f"{user}@{mysql97.host}:{mysql97.port}") as session,
    ):
        session.answer("Password of root", mysql97.root_password)
        session.wait_for("Look again")
        os.write(session.master, b"\x03")
        session.wait_for("stays at the source: ")
        session.wait_for(";")
        mysql97.execute(re.findall("(DROP USER .*);", session.shown)[-1])
        assert session.process.wait(WAIT_S) == 130
    assert list(tmp_path.iterdir()) == []


def test_alone_it_starts_a_console(tmp_path: Path) -> None:
    with terminal(tmp_path, *PORTS) as session:
        session.wait_for("Ctrl-C ends it")
        found = re.search(r"Console: http://(127\.0\.0\.1:\d+)/", session.shown)
        assert found is not None
        config = load(tmp_path / "binwire.toml")
        assert config.console is not None
        assert config.console.bind == found[1]
        assert config.channels == []
        assert session.close() == 0


# ---- without a terminal ----


def by_options(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *PORTS, "--no-start", *arguments],
        cwd=folder,
        env=ENVIRONMENT | environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def test_options_take_the_place_of_answers(server: LiveServer, tmp_path: Path) -> None:
    database = server.fresh_database()
    user = f"bw_{database[-8:]}"
    arguments = (f"{user}@{server.host}:{server.port}", "--objects", database, "--administrator", server.root_user)
    made = {"BINWIRE_ADMINISTRATOR_PASSWORD": server.root_password, "BINWIRE_SOURCE_PASSWORD": "Own-choice-1"}
    refused = by_options(tmp_path, *arguments, **made)
    assert refused.returncode == 1
    assert "--yes agrees without a question" in refused.stderr
    assert list(tmp_path.iterdir()) == []
    done = by_options(tmp_path, "--yes", *arguments, **made)
    assert done.returncode == 0, done.stderr
    config = load(tmp_path / "binwire.toml")
    assert config.channels[0].source.reveal() == f"mysql://{user}:Own-choice-1@{server.host}:{server.port}"
    assert "Own-choice-1" not in (tmp_path / "binwire.toml").read_text() + done.stdout + done.stderr
    [(host,)] = server.execute("SELECT host FROM mysql.user WHERE user = %s", (user,))
    server.execute(f"DROP USER {user}@%s", (host,))


def test_a_reference_to_the_environment_is_written_as_it_was_typed(mysql97: LiveServer, tmp_path: Path) -> None:
    database = mysql97.fresh_database()
    source = f"mysql://{mysql97.repl_user}:${{SOME_PASSWORD}}@{mysql97.host}:{mysql97.port}"
    done = by_options(tmp_path, source, "--objects", database, SOME_PASSWORD=mysql97.repl_password)
    assert done.returncode == 0, done.stderr
    assert f'source = "{source}"' in (tmp_path / "binwire.toml").read_text()
    assert mysql97.repl_password not in (tmp_path / "binwire.toml").read_text()
    assert [path.name for path in tmp_path.glob("*-password")] == [f"{database}.consumer-password"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["u:p@127.0.0.1:1"], "cannot be reached"),
        (["u:${NOT_THERE}@127.0.0.1:1"], "which the environment does not have"),
        (["mysql://"], "names no host"),
        (["mysql://u:p@127.0.0.1:1/shop", "--objects", "a"], "names a database behind its host"),
        (["file:///no/such/binlog.000001"], "give --objects"),
        (["u:p@127.0.0.1:1", "--id", "a b"], "channels[0].id"),
        (["u:p@127.0.0.1:1", "--region", "a/b"], "channels[0].region"),
        (["u:p@127.0.0.1:1", "--objects", "${NOT_THERE}"], "NOT_THERE"),
        (["-c", "no/such/folder/binwire.toml"], "nothing can be written into the folder"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    done = by_options(tmp_path, *arguments)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert sentence not in done.stdout
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "binwire.toml").write_text("# mine")
    done = by_options(tmp_path)
    assert done.returncode == 1
    assert "exists already" in done.stderr
    assert (tmp_path / "binwire.toml").read_text() == "# mine"
    (tmp_path / "other.toml").symlink_to(tmp_path / "nowhere")
    assert by_options(tmp_path, "-c", "other.toml").returncode == 1


# ---- what is written ----


def new_file(folder: Path, *objects: str) -> NewFile:
    group = NewGroup("dts0123", "first", "consumer", group_password())
    channel = NewChannel("c", "local", "c", "mysql://u@h:3306", source_password(), objects, group)
    return NewFile(folder / "binwire.toml", Address("127.0.0.1", 18001), Address("127.0.0.1", 18080), channel)


def test_hostile_names_are_written_as_they_are(tmp_path: Path) -> None:
    objects = ('say "hi"', "a\\b", "line\nend", "`a.b`.c", "größe\x7f", "</script>")
    new = new_file(tmp_path, *objects)
    write(new)
    assert new.channel is not None
    config = load(new.path)
    assert tuple(config.channels[0].objects) == objects
    assert config.channels[0].groups[0].password is not None
    assert config.channels[0].groups[0].password.reveal() == new.channel.group.password
    assert config.channels[0].source.reveal() == f"mysql://u:{new.channel.source_password}@h:3306"
    assert tomllib.loads(f"x = {quoted(chr(1) + chr(0x7F) + 'é')}") == {"x": "\x01\x7fé"}


def test_what_cannot_be_written_whole_is_not_written(tmp_path: Path) -> None:
    new = new_file(tmp_path, "shop")
    new.source_password_path.write_text("another's")
    with pytest.raises(ConfigError, match="nothing was"):
        write(new)
    assert [path.name for path in tmp_path.iterdir()] == ["c.source-password"]
    new.source_password_path.unlink()
    with pytest.raises(ConfigError, match="NOT_THERE"):
        write(new_file(tmp_path, "${NOT_THERE}"))
    assert list(tmp_path.iterdir()) == []


def test_a_password_file_is_for_a_source_without_a_password(tmp_path: Path) -> None:
    new = new_file(tmp_path, "shop")
    write(new)
    for source in ("mysql://u:p@h:3306", "file:///x.000001"):
        new.path.write_text(text(new).replace("mysql://u@h:3306", source))
        with pytest.raises(ConfigError, match="source_password_file"):
            load(new.path)
    new.path.write_text(text(new))
    new.source_password_path.unlink()
    with pytest.raises(ConfigError, match=r"channels\[0\]\.source_password_file: the file .* cannot be read"):
        load(new.path)


# ---- what is typed ----


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("db", "mysql://u:p@db"),
        ("db:3307", "mysql://u:p@db:3307"),
        ("mariadb://db/", "mariadb://u:p@db"),
        ("mysql://a%40b@db:1,[::1]:2/?tls=required", "mysql://a%40b:p@db:1,[::1]:2/?tls=required"),
        ("x:p/@w?d@db", None),
    ],
)
def test_an_address_as_people_type_it(typed: str, url: str | None) -> None:
    given = GivenSource.parse(typed)
    if url is not None:
        user = given.user or "u"
        assert GivenSource(given.scheme, user, given.password, given.hosts, given.options).url("p") == url


@pytest.mark.parametrize(
    ("answer", "objects"),
    [
        ("1", ("a",)),
        ("2, 1,2", ("b.c", "a")),
        ("*", ("a", "b.c", "7")),
        ("7", ("7",)),
        ("a, `x,y`.t", ("a", "`x,y`.t")),
    ],
)
def test_numbers_and_names_are_objects(answer: str, objects: tuple[str, ...]) -> None:
    assert selected(answer, ["a", "b.c", "7"]) == objects


@pytest.mark.parametrize("answer", ["", " , ", "4", "0", "y", "No"])
def test_an_answer_that_means_nothing(answer: str) -> None:
    with pytest.raises(ConfigError):
        selected(answer, ["a", "b.c", "7"])


def test_objects_with_commas_in_backticks() -> None:
    assert split_objects("a, `b,``c`.d ,e") == ("a", "`b,``c`.d", "e")


def test_without_a_terminal_a_question_names_its_option() -> None:
    dialogue = Dialogue(is_interactive=False, environment={"WORD": "w"})
    with pytest.raises(ConfigError, match="--objects"):
        dialogue.ask("Which", "--objects")
    assert dialogue.ask("Which", "--objects", "x") == "x"
    assert dialogue.secret("Word", "WORD") == "w"
    assert dialogue.secret("Word", "OTHER") == ""
    assert not dialogue.confirm("Sure?", is_agreed=False)
    assert dialogue.confirm("Sure?", is_agreed=True)


def test_answers_that_end_are_told_in_a_sentence() -> None:
    def ended(question: str) -> str:
        raise EOFError

    dialogue = Dialogue(is_interactive=True, environment={}, read=ended, read_secret=ended)
    with pytest.raises(ConfigError, match="nothing was written"):
        dialogue.ask("Which", "--objects")
