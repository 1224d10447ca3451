"""A room: an empty folder and an environment in which the blocks of a transcript are replayed as a reader types them.

Every console block is a terminal of its own: bash over one script, in a session of its own, so that everything it
started ends with the room. A fault is a `Failed` with the block's line and what was printed otherwise.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from tests.tools.transcript import CONSOLE, PROGRAM, STATEMENTS, Block, Command, addresses, begins_with, difference
from tests.tools.transcript import with_values as replayed

MYSQL_PORT: Final = 3306
_HANG_S: Final = 60.0  # says what was printed before pytest would say nothing
_END_S: Final = 20.0
_READ_BYTES: Final = 1 << 16

Statements = Callable[[str], None]


class Failed(AssertionError):
    """A block that does not do what it shows."""


class Room:
    """One room, ended with its processes by `close`."""

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *, mysql: tuple[int, Statements] | None = None
    ) -> None:
        """`mysql` is the port of a real server and what runs statements there, for blocks that speak of one."""
        self._folder = folder
        self._environment = dict(environment)
        self._password = f"Replayed-{secrets.token_hex(4)}"
        self._statements = mysql[1] if mysql else None
        self._ports: dict[int, int] = {MYSQL_PORT: mysql[0]} if mysql else {}
        self._reserved = contextlib.ExitStack()
        self._terminals: list[_Terminal] = []
        self._program_output = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for terminal in reversed(self._terminals):
            terminal.end()
        self._reserved.close()

    def replay(self, block: Block) -> None:
        """Do what a block shows. Raises Failed."""
        for port in sorted(addresses(block.text) - self._ports.keys()):
            self._ports[port] = self._free_port()
        text = replayed(block.text, self._ports, self._password)
        if "file" in block.values:
            path = self._folder / block.values["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n", encoding="utf-8")
        elif "output" in block.flags:
            _compare(block, "the program", block.text, self._program_output)
        elif block.language == CONSOLE:
            self._console(block)
        elif block.language == PROGRAM:
            self._program_output = self._program(block, text)
        elif block.language == STATEMENTS and self._statements:
            self._statements(text)
        else:
            raise Failed(f"line {block.line}: nothing runs a block of {block.language!r} here")

    def _program(self, block: Block, text: str) -> str:
        done = subprocess.run(
            ["python", "-c", text],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_HANG_S,
            check=False,
        )
        if done.returncode != int(block.values.get("status", 0)):
            raise Failed(f"line {block.line}: the program ended with status {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _console(self, block: Block) -> None:
        commands = block.commands
        texts = [replayed(command.text, self._ports, self._password) for command in commands]
        stays = "stays" in block.flags
        # What a shell without a terminal runs in the background ignores Ctrl-C.
        terminal = _Terminal(texts, self._folder, self._environment, signal.SIGINT if stays else signal.SIGTERM)
        self._terminals.append(terminal)
        for number, command in enumerate(commands):
            where, last = f"`{command.text}`", number == len(commands) - 1
            if last and stays:
                terminal.wait_shown(block, command)
                return
            printed, status = terminal.result(block, command)
            if status != (int(block.values.get("status", 0)) if last else 0):
                raise Failed(f"line {block.line}: {where} ended with status {status}:\n{printed}")
            _compare(block, where, command.output, printed)

    def _free_port(self) -> int:
        """A port for this room: bound here and not listened on, which a server may still do."""
        holder = self._reserved.enter_context(socket.socket())
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        return port


class _Terminal:
    """A bash that runs commands one after the other and tells where the output of each ends."""

    def __init__(
        self, commands: Sequence[str], folder: Path, environment: Mapping[str, str], ended_by: signal.Signals
    ) -> None:
        self._ended_by = ended_by
        self._end = f"=== {secrets.token_hex(8)}"
        self._output = b""
        self._alive, held = os.pipe()  # held by all that is started here, wherever its output goes
        script = "exec 2>&1\n" + "".join(f"{text}\nprintf '\\n{self._end} %d\\n' $?\n" for text in commands)
        self._process = subprocess.Popen(
            # What a shell starts in the background ignores Ctrl-C, and so would all of these.
            ["env", "--default-signal=INT", "bash", "--noprofile", "--norc", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
            pass_fds=(held,),
        )
        os.close(held)

    @property
    def _printed(self) -> str:
        return self._output.decode("utf-8", "replace")

    def result(self, block: Block, command: Command) -> tuple[str, int]:
        """What the next command printed, and its status."""
        end = re.compile(rb"\n%s (\d+)\n" % self._end.encode())
        while (found := end.search(self._output)) is None:
            self._read(block, command)
        printed, self._output = self._output[: found.start()], self._output[found.end() :]
        return printed.decode("utf-8", "replace"), int(found[1])

    def wait_shown(self, block: Block, command: Command) -> None:
        """Until the last command has printed all that is shown of it; it goes on."""
        while not begins_with(command.output, self._printed):
            self._read(block, command)

    def end(self) -> None:
        """End everything that was started here, by force if it does not end."""
        self._signal(self._ended_by)
        select.select([self._alive], [], [], _END_S)
        os.close(self._alive)
        self._signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _read(self, block: Block, command: Command) -> None:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        ready, _, _ = select.select([descriptor], [], [], _HANG_S)
        data = os.read(descriptor, _READ_BYTES) if ready else b""
        if not data:
            why = "ended" if ready else f"printed nothing more for {_HANG_S:.0f} s"
            shown = difference(command.output, self._printed)
            raise Failed(f"line {block.line}: `{command.text}` {why}:\n{shown or self._printed}")
        self._output += data


def _compare(block: Block, what: str, shown: str, printed: str) -> None:
    found = difference(shown, printed, numbers="numbers" in block.flags)
    if found:
        raise Failed(f"line {block.line}: {what} printed something else:\n{found}")
