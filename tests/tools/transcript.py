"""Transcripts in a document: which blocks are replayed, and whether what was printed is what they show.

Owns the marks. `<!-- replay: NAME [word …] -->` stands alone on the line above a fenced block; all blocks of one NAME
are one room, in their order. In a `console` block a line `$ command` is a command, continued by lines that begin with
`> `; the lines up to the next command are what it prints. Other blocks are files (`file=PATH`), a program (`python`),
what that printed (`output`), or statements for a real MySQL (`sql`). Words: `status=N` is the exit status of the
block's last command; `stays`, that it runs until the room's end; `numbers`, that of its output only the form counts.

What is compared is the form where the value changes from run to run (`CHANGING`); `…` stands for any text of a line, a
line of `…` alone for any lines. Leaves running to `tests/transcript_room.py`. Invariant: a mark that means nothing is
an error, so that no block is thought to be replayed and is not.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

PROGRAM: Final = "python"
STATEMENTS: Final = "sql"
CONSOLE: Final = "console"
FLAGS: Final = ("output", "stays", "numbers")

_MARK = re.compile(r"^<!-- replay: (?P<words>.*) -->$")
_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>\S*)")
_ADDRESS = re.compile(r"(?<![\d.])127\.0\.0\.1:(\d{2,5})(?!\d)")
_PASSWORD = "'…'"

CHANGING: Final = (
    (re.compile(r"127\.0\.0\.1:(?:\d+|…)"), "ADDRESS"),
    (re.compile(r"(?<!\d)\d{4}-\d\d-\d\d(?!\d)"), "DATE"),
    (re.compile(r"(?<![\d:])\d\d:\d\d:\d\d(\.\d+)?(?![\d:])"), "TIME"),
    (re.compile(r"\bdts[0-9a-z]{15}\b"), "SID"),
    (re.compile(r"\b(Test|Demo)-[0-9a-f]+\b"), "PASSWORD"),
    (re.compile(r"(?<=dtsConnectPort  )\d+|(?<=startTimeStamp  )\d+"), "NUMBER"),
    (re.compile(r"\boffset (?:\d+|…)"), "offset NUMBER"),  # heartbeats in between take offsets as time passes
    (re.compile(r"(?<!\w)(?:\d+|…)@(?:\d+|…)(?!\w)"), "POSITION"),
    (re.compile(r"\bpid\b(\W{0,3})\d+\b"), r"pid\1NUMBER"),
    (re.compile(r"\bbinwire( |-|==)\d+\.\d+\.\d+[\w.-]*"), r"binwire\1VERSION"),
    (re.compile(r"(?<=as kafka-python )[\d.]+"), "VERSION"),
    (re.compile(r"\b\d+(\.\d+)? ?(?:ms|s)\b"), "DURATION"),
    (re.compile(r"^(platform|rootdir:|configfile:|plugins:|cachedir:) .*$", re.MULTILINE), r"\1"),
    (re.compile(r"={3,}"), "==="),
)
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_BLANKS = re.compile(r"(?<=\S)[ \t]+")


class TranscriptError(ValueError):
    """A mark or block that cannot be replayed; the message names the line."""


class Command(NamedTuple):
    """A command and the lines it must print."""

    text: str
    output: str


class Block(NamedTuple):
    """A block of a room: its language, its text, and the words of its mark."""

    line: int
    language: str
    text: str
    flags: frozenset[str]
    values: Mapping[str, str]

    @property
    def commands(self) -> list[Command]:
        return _commands(self)


def rooms(document: str) -> dict[str, list[Block]]:
    """The blocks that are replayed, by the name of their room, in the order of the document."""
    found: dict[str, list[Block]] = {}
    lines = document.splitlines()
    fence, number = "", 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if opening := _FENCE.match(line):
            fence = "" if fence and line.startswith(fence) else fence or opening["fence"]
        elif not fence and (mark := _MARK.match(line.strip())):
            words = mark["words"].split()
            if not words:
                raise TranscriptError(f"line {number}: a mark to replay names its room")
            block = _block(lines, number, words[1:])
            found.setdefault(words[0], []).append(block)
            number += len(block.text.splitlines()) + 2
    return found


def _block(lines: Sequence[str], number: int, words: Sequence[str]) -> Block:
    """The block whose fence is line `number`, counted from 0."""
    opening = _FENCE.match(lines[number]) if number < len(lines) else None
    if opening is None:
        raise TranscriptError(f"line {number}: a mark to replay stands right above a fenced block")
    closing = next((at for at in range(number + 1, len(lines)) if lines[at].rstrip() == opening["fence"]), None)
    if closing is None:
        raise TranscriptError(f"line {number + 1}: the block has no end")
    flags = frozenset(word for word in words if word in FLAGS)
    values = dict(word.split("=", 1) for word in words if "=" in word)
    if unknown := [word for word in words if word not in flags and word.split("=")[0] not in ("file", "status")]:
        raise TranscriptError(f"line {number}: {unknown[0]!r} means nothing here")
    block = Block(number + 1, opening["language"], "\n".join(lines[number + 1 : closing]), flags, values)
    if block.language not in (CONSOLE, PROGRAM, STATEMENTS) and "file" not in values and "output" not in flags:
        raise TranscriptError(f"line {number}: a block in {block.language or 'no language'} needs file= or output")
    return block


def _commands(block: Block) -> list[Command]:
    commands: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append(Command(line[2:], ""))
        elif not commands:
            raise TranscriptError(f"line {block.line}: a console block begins with a line '$ command'")
        elif line.startswith("> ") and not commands[-1].output:
            commands[-1] = Command(f"{commands[-1].text}\n{line[2:]}", "")
        else:
            commands[-1] = commands[-1]._replace(output=f"{commands[-1].output}{line}\n")
    if not commands:
        raise TranscriptError(f"line {block.line}: the console block is empty")
    return commands


def addresses(text: str) -> set[int]:
    """The ports of this machine that a text names."""
    return {int(port) for port in _ADDRESS.findall(text)}


def with_values(text: str, ports: Mapping[int, int], password: str) -> str:
    """A command or file as it is replayed: other ports, and a password for `'…'`."""
    moved = _ADDRESS.sub(lambda match: f"127.0.0.1:{ports.get(int(match[1]), int(match[1]))}", text)
    return moved.replace(_PASSWORD, f"'{password}'")


def difference(shown: str, printed: str, *, numbers: bool = False) -> str:
    """Why what was printed is not what is shown; empty if it is."""
    wanted, found = _form(shown, numbers), _form(printed, numbers)
    if re.fullmatch(_pattern(wanted), found):
        return ""
    lines = difflib.unified_diff(wanted.splitlines(), found.splitlines(), "shown", "printed", lineterm="", n=2)
    return "\n".join(lines)


def begins_with(shown: str, printed: str) -> bool:
    """Whether what was printed so far has all lines that are shown, and perhaps more after them."""
    return re.match(f"(?:{_pattern(_form(shown, False))})(?:\n|$)", _form(printed, False)) is not None


def _form(text: str, numbers: bool) -> str:
    """A text without what changes from run to run, and without blanks at its lines' and its own ends."""
    text = "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
    for changing, name in CHANGING:
        text = changing.sub(name, text)
    return _BLANKS.sub(" ", _NUMBER.sub("N", text)) if numbers else text


def _pattern(form: str) -> str:
    lines = [r"(?:[^\n]*(?:\n|$))*?" if line.strip() == "…" else _line(line) + r"(?:\n|$)" for line in form.split("\n")]
    return "".join(lines) if form else ""


def _line(line: str) -> str:
    return "[^\n]*?".join(re.escape(part) for part in line.split("…"))
