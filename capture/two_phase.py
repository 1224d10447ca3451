"""XA transactions of a session: held when they are prepared, carried over when they are committed, dropped otherwise.

Between the assembler, which makes frames of rows and rows of frames (`capture/prepared.py`), and the files that keep
them (`storage/prepared.py`). A transaction that was prepared before the channel began is looked for in the binlog
(`capture/lookback.py`). When files are made durable and deleted is decided by the session, which commits positions.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from capture.batches import FLUSH_BYTES
from capture.errors import SourceUnavailable
from capture.prepared import HeldRows, SelectionChanged, xid_bytes
from capture.transactions import StepKind
from storage.errors import CorruptLog, StorageError
from storage.prepared import PreparedStore
from storage.prepared_file import Place, decode_frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from capture.assembler import Assembler
    from capture.position import ResumePoint
    from capture.transactions import BinlogWalker, Step
    from capture.xa import Xid
    from storage.log import Log
    from storage.prepared import PreparedWriter
    from storage.prepared_file import Frame, PreparedFile

_log = logging.getLogger("binwire.capture")

UNSYNCED_MAX = 64
"""Files written and not yet durable, each of which is open: then the session makes them durable."""

_ENDS = frozenset({StepKind.PREPARE, StepKind.XA_COMMIT, StepKind.XA_ROLLBACK})


class TwoPhase:
    """The XA transactions of one stream. `server` names the source whose positions these are."""

    def __init__(
        self,
        log: Log,
        resume: ResumePoint,
        server: str,
        walker: BinlogWalker,
        assembler: Assembler,
        look_back: Callable[[TwoPhase, Xid], Awaitable[HeldRows]],
    ) -> None:
        self.store = PreparedStore(log.directory, log.topic)
        self._log = log
        self._resume = resume
        self._server = server
        self._walker = walker
        self._assembler = assembler
        self._look_back = look_back
        self._writer: PreparedWriter | None = None
        self.publishing = False
        """Whether a transaction is being carried over that the walker has left behind."""

    def recover(self) -> None:
        """Find what was prepared before the session, as of where the log ends. Raises LogWriteError."""
        self.store.recover(_place_of(self._resume), self._log.end_offset)
        for note in self.store.notes:
            _log.warning("%s", note, extra={"topic": self._log.topic})

    def close(self) -> None:
        """End in the middle; what is not prepared goes, now or when the next session begins."""
        with suppress(StorageError):
            self._drop()
        self.store.close()

    # ---- while one is open ----

    def tend(self, held: HeldRows) -> None:
        """Write what has come together of the open transaction."""
        if held.cut_bytes is not None:
            if self._writer is not None:
                self.store.cut(self._writer, held.cut_bytes)
            held.cut_bytes = None
        if held.waiting_bytes >= FLUSH_BYTES:
            self._write(held)

    def _write(self, held: HeldRows) -> PreparedWriter:
        if self._writer is None:
            self._writer = self.store.begin(xid_bytes(held.xid))
        self.store.write(self._writer, held.take())
        return self._writer

    def _drop(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            self.store.drop(writer)

    # ---- how one ends ----

    def ends(self, step: Step) -> bool:
        """Whether a step ends an XA transaction, so that `end` is to take it."""
        return step.kind in _ENDS or (
            self._assembler.held is not None and step.kind in (StepKind.COMMIT, StepKind.ROLLBACK)
        )

    async def end(self, step: Step, relieve: Callable[[], Awaitable[None]]) -> None:
        """Take a step that ends an XA transaction; `relieve` writes what has come together and lets others run."""
        assembler, held = self._assembler, self._assembler.held
        if step.kind is StepKind.PREPARE:
            assert held is not None
            self.store.prepare(self._write(held), self._place(step), self._assembler.next_offset)
            self._writer = None
        elif step.kind is StepKind.XA_COMMIT:
            await self._publish_prepared(step, relieve)
        elif step.kind is StepKind.COMMIT:
            assert held is not None
            await self._publish(held.begin, None, self._own_frames(held), relieve)
            self._drop()
        else:
            self._drop()
        assembler.take(step)
        if step.kind in (StepKind.XA_COMMIT, StepKind.XA_ROLLBACK):
            self._finish(step)

    def _place(self, step: Step) -> Place:
        return Place(self._server, self._walker.number, step.end)

    def _finish(self, step: Step) -> None:
        assert self._walker.xid is not None
        xid = xid_bytes(self._walker.xid)
        if self.store.find(xid) is not None:
            self.store.finish(xid, self._place(step), self._assembler.next_offset)

    # ---- carrying over ----

    async def _publish_prepared(self, step: Step, relieve: Callable[[], Awaitable[None]]) -> None:
        xid = self._walker.xid
        assert xid is not None
        found = self.store.find(xid_bytes(xid))
        if found is None:
            held = await self._look_back(self, xid)
            await self._publish(step, step, self._own_frames(held), relieve)
            self._drop()
            return
        try:
            await self._publish(step, step, self._frames_of(found), relieve)
        except (CorruptLog, SelectionChanged) as error:
            self.store.forget(found.xid, str(error))
            raise SourceUnavailable(
                f"{error}; the rows of XA transaction {xid} are read from the binlog again"
            ) from error

    async def _publish(
        self,
        begin: Step,
        commit: Step | None,
        frames: AsyncIterator[list[Frame]],
        relieve: Callable[[], Awaitable[None]],
    ) -> None:
        self.publishing = True
        try:
            self._assembler.begin_held(begin, commit)
            async for piece in frames:
                for frame in piece:
                    self._assembler.take_held(frame)
                    await relieve()
        finally:
            self.publishing = False

    async def _own_frames(self, held: HeldRows) -> AsyncIterator[list[Frame]]:
        """The frames of a transaction that needs no file, or of the file that it did not fit into memory without."""
        if self._writer is None:
            for encoded in held.take():
                yield decode_frames(encoded)[0]
            return
        async for piece in self._frames_of(self.store.whole(self._write(held))):
            yield piece

    async def _frames_of(self, file: PreparedFile) -> AsyncIterator[list[Frame]]:
        """Read on another thread: what was prepared days ago is not in memory any more."""
        pieces = self.store.read(file)
        while piece := await asyncio.to_thread(next, pieces, None):
            yield piece


def settle(log: Log, end: ResumePoint) -> None:
    """Make what was prepared durable as it stood where the log ends: another server goes on. Raises LogWriteError."""
    store = PreparedStore(log.directory, log.topic)
    store.recover(_place_of(end), log.end_offset)
    for note in store.notes:
        _log.warning("%s", note, extra={"topic": log.topic})
    store.sync()


def _place_of(point: ResumePoint) -> Place:
    return Place(server_name(point.flavour, point.server_uuid, point.server_id), *point.position.order)


def server_name(flavour: str | None, server_uuid: str | None, server_id: int | None) -> str:
    """How a server is told from another whose positions mean something else."""
    return f"{flavour} {server_uuid or server_id}"
