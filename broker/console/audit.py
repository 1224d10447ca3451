"""The audit log: every change that was asked for over REST, console or commands, and whether it was made.

`audit.jsonl` in the data directory, mode 0600, one JSON object per line, UTF-8:

    {"id": 7, "time_ms": …, "name": "token 1", "way": "api", "origin": "192.0.2.7", "operation": "create_group",
     "arguments": {…}, "outcome": "done"}
    {…, "outcome": "refused", "refusal": "not_found", "sentence": "there is no channel x"}

Nothing of a `Secret` is in it, and of an address only its scheme and host: its other parts may be one. Long texts and
lists are cut. A line is on disk before the operation's answer goes out; that it cannot be written is told in the
server's log and does not undo what was done.

It is bounded: at `FILE_BYTES_MAX` the file becomes `audit.1.jsonl`, that `audit.2.jsonl`, and so on to `FILES_MAX`.
Sign-ins that fail are told once in `REFUSED_LOGIN_MS` for each origin, so that no guesser drives out what is in it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broker.config import Secret
from broker.listener import origin
from storage.errors import StorageError
from storage.files import FILE_MODE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from msgspec import Struct

    from broker.operations.operation import Caller, OperationError
    from storage.clock import Clock

FILE_BYTES_MAX: Final = 4 << 20
FILES_MAX: Final = 4
TEXT_CHARACTERS_MAX: Final = 200
ITEMS_MAX: Final = 20
REFUSED_LOGIN_MS: Final = 600_000
REFUSED_LOGINS_MAX: Final = 100
"""Origins of failed sign-ins that are remembered; more of them in that time are not told."""
NOT_SHOWN: Final = "not shown"

_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)(?:[^/?#]*@)?([^/?#@]*).*", re.DOTALL)

_log = logging.getLogger("binwire.audit")


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A change that was asked for: by whom, which way, from where, what, and what came of it. Ids grow."""

    id: int
    time_ms: int
    name: str
    way: str
    origin: str
    operation: str
    arguments: dict[str, Any]
    outcome: str
    refusal: str | None = None
    sentence: str | None = None


class AuditLog:
    """The log in one data directory."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._writing = asyncio.Lock()
        self._refused_logins: dict[str, int] = {}
        self._next_id: int | None = None

    async def note(self, operation: str, arguments: Struct, caller: Caller, refusal: OperationError | None) -> None:
        """A change was asked for; `refusal` None: it was made."""
        await self._append(operation, shown(arguments), caller, refusal)

    async def note_event(self, operation: str, caller: Caller) -> None:
        """Something happened that is no operation, such as a sign-in."""
        await self._append(operation, {}, caller, None)

    async def note_refused_login(self, caller: Caller, refusal: OperationError) -> None:
        """Somebody did not get in."""
        now_ms, place = self._clock.monotonic_ms(), origin(caller.origin)
        known = self._refused_logins
        for key in [key for key, told_ms in known.items() if now_ms - told_ms >= REFUSED_LOGIN_MS]:
            del known[key]
        if place not in known and len(known) < REFUSED_LOGINS_MAX:
            known[place] = now_ms
            await self._append("sign_in", {}, caller, refusal)

    async def read(self, before_id: int | None, search: str, limit: int) -> list[AuditEntry]:
        """The newest entries before this one that have a text in them, newest first. Raises StorageError."""
        async with self._writing:
            try:
                return await asyncio.to_thread(self._read, before_id, search, limit)
            except OSError as error:
                raise StorageError(f"the audit log {error.filename} cannot be read ({error.strerror})") from error

    async def _append(
        self, operation: str, arguments: dict[str, Any], caller: Caller, refusal: OperationError | None
    ) -> None:
        entry = AuditEntry(
            0,
            self._clock.now_ms(),
            caller.name,
            caller.way,
            caller.origin,
            operation,
            arguments,
            "done" if refusal is None else "refused",
            None if refusal is None else refusal.refusal.value,
            None if refusal is None else str(refusal)[:TEXT_CHARACTERS_MAX],
        )
        async with self._writing:
            try:
                await asyncio.shield(asyncio.to_thread(self._write, entry))
            except OSError as error:
                told = msgspec.json.encode(entry).decode()
                _log.error("the audit log cannot be written (%s): %s", error.strerror, told)

    def _file(self, number: int) -> Path:
        return self._directory / (f"audit.{number}.jsonl" if number else "audit.jsonl")

    def _write(self, entry: AuditEntry) -> None:
        if self._next_id is None:
            newest = next(self._newest_first(), None)
            self._next_id = 1 if newest is None else newest.id + 1
        line = msgspec.json.encode(msgspec.structs.replace(entry, id=self._next_id)) + b"\n"
        descriptor = os.open(self._file(0), os.O_RDWR | os.O_CREAT | os.O_APPEND, FILE_MODE)
        try:
            size_bytes = os.fstat(descriptor).st_size
            # A crash or a full disk may have left half a line.
            is_torn = size_bytes > 0 and os.pread(descriptor, 1, size_bytes - 1) != b"\n"
            _write_all(descriptor, b"\n" + line if is_torn else line, size_bytes)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        self._next_id += 1
        if size_bytes + len(line) >= FILE_BYTES_MAX:
            for number in reversed(range(FILES_MAX - 1)):
                if self._file(number).exists():
                    self._file(number).replace(self._file(number + 1))

    def _read(self, before_id: int | None, search: str, limit: int) -> list[AuditEntry]:
        found: list[AuditEntry] = []
        wanted = search.casefold()
        for entry in self._newest_first():
            if len(found) == limit:
                break
            is_before = before_id is None or entry.id < before_id
            if is_before and wanted in msgspec.json.encode(entry).decode().casefold():
                found.append(entry)
        return found

    def _newest_first(self) -> Iterator[AuditEntry]:
        decoder = msgspec.json.Decoder(AuditEntry)
        for number in range(FILES_MAX):
            try:
                lines = self._file(number).read_bytes().splitlines()
            except FileNotFoundError:
                continue
            for line in reversed(lines):
                try:
                    yield decoder.decode(line)
                except msgspec.MsgspecError:
                    continue  # torn by a crash


def _write_all(descriptor: int, content: bytes, size_bytes: int) -> None:
    """Append all or nothing: a disk that fills takes a part of it, and says no to the rest only."""
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        os.ftruncate(descriptor, size_bytes)
        raise


def shown(arguments: Struct) -> dict[str, Any]:
    """Arguments as they may be kept."""
    document = msgspec.to_builtins(arguments, enc_hook=_hidden)
    return {key: _cut(value) for key, value in document.items() if value is not None}


def _hidden(value: Any) -> str:
    if isinstance(value, Secret):
        return NOT_SHOWN
    raise NotImplementedError(type(value).__name__)


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        text = _ADDRESS.sub(r"\1\2", value) if _ADDRESS.fullmatch(value) else value
        return text if len(text) <= TEXT_CHARACTERS_MAX else f"{text[:TEXT_CHARACTERS_MAX]}… ({len(text)} characters)"
    if isinstance(value, dict):
        return {key: _cut(item) for key, item in list(value.items())[:ITEMS_MAX]}
    if isinstance(value, (list, tuple)):
        more = [f"… ({len(value)} in all)"] if len(value) > ITEMS_MAX else []
        return [*(_cut(item) for item in value[:ITEMS_MAX]), *more]
    return value
