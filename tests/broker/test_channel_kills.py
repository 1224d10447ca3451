"""A server that is killed anywhere in a change of its channels: the next one finds it done or not begun, never half."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from broker import managed
from storage.catalog_reading import read_catalog
from storage.files import Files
from storage.segment_log import SegmentLog
from tests.broker.control_plane import RECORDING, Control
from tests.server_process import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

pytestmark = pytest.mark.timeout(120)

SOURCE = {"url": f"file://{RECORDING}"}
GROUP = {"name": "g", "username": "reader", "password": "Secret-123", "password_again": "Secret-123"}


class Moments:
    """What a kill would leave at each step of a change: before and after each write of the catalog, and at each that
    the change makes to folders.
    """

    def __init__(self, control: Control, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: list[Control] = []
        self._control = control
        self._folder = folder
        run, open_log, delete = control.app.catalog.run, SegmentLog.open, managed._delete_folder

        async def run_between(*given: Any, **named: Any) -> Any:
            self.take()
            result = await run(*given, **named)
            self.take()
            return result

        def open_between(*given: Any, **named: Any) -> SegmentLog:
            log = open_log(*given, **named)
            self.take()
            return log

        def delete_between(folder: Path, files: Files) -> None:
            self.take()
            for file in sorted(folder.glob("*")):
                file.unlink()
                self.take()
            delete(folder, files)
            self.take()

        monkeypatch.setattr(control.app.catalog, "run", run_between)
        monkeypatch.setattr(SegmentLog, "open", open_between)
        monkeypatch.setattr(managed, "_delete_folder", delete_between)

    def take(self) -> None:
        folder = self._folder / str(len(self.taken))
        folder.mkdir(parents=True)
        self.taken.append(self._control.copy(folder))


async def release(control: Control, channel_id: str) -> object:
    return await control.call("release_channel", channel_id=channel_id, confirm=channel_id)


async def create(control: Control, _: str) -> object:
    channel_id = await control.create(segment_size="1MiB")
    assert (await control.show(channel_id)).operations
    return channel_id


async def start(control: Control, channel_id: str) -> object:
    return await control.call("start_channel", channel_id=channel_id)


async def rename(control: Control, channel_id: str) -> object:
    return await control.call("rename_channel", channel_id=channel_id, name="another")


async def require_whole(control: Control) -> list[str]:
    """Start where a kill left it: every channel is whole, and nothing belongs to none. The names of its channels."""
    async with control:
        names = []
        for served in list(control.app.channels):
            view = await control.prechecked(served.id)
            assert view.operations, view
            names.append(view.name)
        assert control.app.channels.left == {}
        assert control.app.catalog.releases() == []
        topics = {f"{row.topic}-0" for row in control.app.catalog.channels()}
        assert {path.name for path in (control.folder / "data" / "topics").iterdir()} == topics
        assert {row.channel_id for row in control.app.catalog.documents()} == {
            row.id for row in control.app.catalog.channels()
        }
    content = read_catalog(control.folder / "data" / "catalog.db")
    assert (content.damages, content.orphans) == ((), ())
    return names


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (create, {"one"}, {"one", "shop at demo-shop.000001"}),
        (start, {"one"}, {"one"}),
        (rename, {"one"}, {"another"}),
        (release, {"one"}, set()),
    ],
    ids=["create", "start", "rename", "release"],
)
async def test_a_kill_at_any_step(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Control, str], Awaitable[object]],
    before: set[str],
    after: set[str],
) -> None:
    async with Control(tmp_path / "own") as control:
        if change in (start, create, rename):
            channel_id = await control.create(name="one", segment_size="1MiB")
        else:
            channel_id = await control.started(name="one", segment_size="1MiB")
            await control.call("create_group", channel_id=channel_id, **GROUP)
        with monkeypatch.context() as patch:
            moments = Moments(control, tmp_path / "moments", patch)
            await change(control, channel_id)
            moments.take()
    seen = [set(await require_whole(each)) for each in moments.taken]
    assert len(seen) > 2
    assert seen[0] == before
    assert seen[-1] == after
    assert all(names in (before, after) for names in seen)
    assert seen == sorted(seen, key=lambda names: names == after), "once it is done it stays done"


async def test_a_channel_that_was_started_runs_after_the_kill(tmp_path: Path) -> None:
    (tmp_path / "killed").mkdir()
    async with Control(tmp_path / "own") as control:
        channel_id = await control.create()
        await control.call("start_channel", channel_id=channel_id)
        killed = control.copy(tmp_path / "killed")
    async with killed:
        await killed.served(channel_id).channel.wait_ended()  # type: ignore[attr-defined]
        assert (await killed.show(channel_id)).high_watermark > 0


def ask(server: ServerProcess, name: str, **given: Any) -> Any:
    """The result of an operation, None if it was refused or the server ended."""
    with socket.socket(socket.AF_UNIX) as control, contextlib.suppress(OSError, ValueError):
        control.connect(str(server.data_directory / "control.sock"))
        control.sendall(json.dumps({"request": "operation", "name": name, "arguments": given}).encode() + b"\n")
        return json.loads(control.makefile("rb").readline()).get("result")
    return None


class Coming:
    """Channels that come, and every other one that goes, as long as the server lives."""

    def __init__(self, server: ServerProcess, enough: int) -> None:
        self.made: set[str] = set()
        self.gone: set[str] = set()
        self.is_enough = threading.Event()
        self._server = server
        self._enough = enough

    def run(self) -> None:
        for number in count():
            view = ask(self._server, "create_channel", source=SOURCE, objects=["a"])
            if view is None:
                return
            self.made.add(view["id"])
            if number >= self._enough:
                self.is_enough.set()
            if number % 2:
                self.made.discard(view["id"])
                self.gone.add(view["id"])
                if ask(self._server, "release_channel", channel_id=view["id"], confirm=view["id"]) is None:
                    self.gone.discard(view["id"])  # whether it is or not is nobody's to say


async def test_a_process_that_is_killed_while_channels_come_and_go(tmp_path: Path) -> None:
    """Where it is struck is left to chance: whatever was answered holds, whatever was not is whole or is not."""
    made: set[str] = set()
    gone: set[str] = set()
    for turn in range(3):
        server = await asyncio.to_thread(ServerProcess(tmp_path, '[[listeners]]\nbind = "127.0.0.1:0"\n').start)
        coming = [Coming(server, 2 + turn) for _ in range(2)]
        ends = [asyncio.ensure_future(asyncio.to_thread(each.run)) for each in coming]
        await asyncio.to_thread(coming[turn % 2].is_enough.wait)
        server.kill()
        await asyncio.gather(*ends)
        for each in coming:
            made |= each.made
            gone |= each.gone
    control = Control(tmp_path)
    await require_whole(control)
    async with control:
        known = {served.id for served in control.app.channels}
    assert made
    assert made <= known
    assert not gone & known
