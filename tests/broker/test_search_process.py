"""The search process from outside: its answers, its death, its idleness, many who ask, those who leave."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from broker.operations.records import Condition
from broker.search.protocol import Log, Question
from broker.search.searching import ALL_KINDS
from broker.search.service import WAITING_MAX, SearchError, SearchService, TooManySearches
from storage.segment import filter_path
from tests.broker import search_logs
from tests.tools.workplace import CHECKOUT

EVERYTHING = Question(ALL_KINDS)


@pytest.fixture
async def service() -> AsyncIterator[SearchService]:
    made = SearchService()
    yield made
    await made.close()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return _written(tmp_path)


def _written(folder: Path) -> Log:
    written, _ = search_logs.write_log(folder / "t-0", list(search_logs.orders(60)))
    return written


async def test_it_finds_and_shows_a_record(service: SearchService, log: Log) -> None:
    question = Question(ALL_KINDS, "shop", "orders", (Condition("id", "=", "17"),))
    found = await service.search(log, question, log.high_watermark, 20)
    assert search_logs.offsets(found.records) == [17]
    assert found.before is None
    assert found.searched_bytes == found.total_bytes
    shown = await service.show(log, 17)
    assert shown.record is not None
    assert [(field.name, field.type_name) for field in shown.record.fields] == [
        ("id", "INT32"),
        ("title", "STRING"),
        ("amount", "DECIMAL"),
    ]
    assert (await service.show(log, 60)).record is None


async def test_it_yields_to_everything_else_and_holds_a_bounded_memory(service: SearchService, log: Log) -> None:
    await service.search(log, EVERYTHING, 60, 1)
    pid = service.pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) == max(15, os.getpriority(os.PRIO_PROCESS, 0))
    if sys.platform == "linux":
        limits = await asyncio.to_thread(Path(f"/proc/{pid}/limits").read_text)
        assert "unlimited" not in next(line for line in limits.splitlines() if line.startswith("Max address space"))


async def test_a_dead_process_is_one_sentence_and_the_next_search_starts_another(
    service: SearchService, log: Log
) -> None:
    await service.search(log, EVERYTHING, 60, 1)
    first = service.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    with pytest.raises(SearchError, match=r"ended while it searched \(by SIGKILL\); search again"):
        await service.search(log, EVERYTHING, 60, 1)
    assert search_logs.offsets((await service.search(log, EVERYTHING, 60, 1)).records) == [59]
    assert service.pid not in {None, first}


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_process_that_died_while_nobody_asked_is_started_anew(
    log: Log, loop_factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    """Servers run on uvloop, whose pipes do not take a word when the other side is gone."""

    async def die_and_ask() -> tuple[int | None, int | None]:
        service = SearchService()
        await service.search(log, EVERYTHING, 60, 1)
        first = service.pid
        assert first is not None
        assert service._process is not None
        os.kill(first, signal.SIGKILL)
        await service._process.wait()
        assert len((await service.search(log, EVERYTHING, 60, 1)).records) == 1
        second = service.pid
        await service.close()
        return first, second

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        first, second = runner.run(die_and_ask())
    assert second not in (None, first)


async def test_a_process_that_answers_nonsense_is_ended() -> None:
    service = SearchService(
        command=(sys.executable, "-c", "import os; os.read(0, 9); os.write(1, bytes([0,0,0,1,193]))")
    )
    with pytest.raises(SearchError, match="answered with something else"):
        await service.search(Log("nowhere", 0, 1), EVERYTHING, 1, 1)
    assert service.pid is None
    await service.close()


async def test_one_that_cannot_be_started_is_one_sentence() -> None:
    service = SearchService(command=("/no/such/program",))
    with pytest.raises(SearchError, match="cannot be started"):
        await service.search(Log("nowhere", 0, 1), EVERYTHING, 1, 1)
    await service.close()


async def test_it_ends_when_nobody_asks(log: Log) -> None:
    service = SearchService(idle_s=0.01)
    await service.search(log, EVERYTHING, 60, 1)
    pid = service.pid
    assert pid is not None
    await _until(lambda: _is_none(service))
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert (await service.search(log, EVERYTHING, 60, 1)).records
    await service.close()


async def _is_none(service: SearchService) -> bool:
    await asyncio.sleep(0)
    return service.pid is None


async def _until(is_so: Callable[[], Awaitable[bool]]) -> None:
    while not await is_so():
        pass


async def test_a_thousand_ask_at_once_and_those_beyond_the_bound_are_told(service: SearchService, log: Log) -> None:
    asked = [service.search(log, EVERYTHING, 60, 5) for _ in range(1000)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    found = [answer for answer in answers if not isinstance(answer, BaseException)]
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert len(found) == WAITING_MAX
    assert {search_logs.offsets(answer.records)[0] for answer in found} == {59}
    assert {type(answer) for answer in refused} == {TooManySearches}
    assert (await service.search(log, EVERYTHING, 60, 1)).records


async def test_who_leaves_is_not_asked_for_and_the_others_get_their_own_answers(
    service: SearchService, log: Log
) -> None:
    tasks = [asyncio.create_task(service.search(log, EVERYTHING, before, 1)) for before in range(40, 60)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[::2])
    kept = [answer for answer in answers[1::2] if not isinstance(answer, BaseException)]
    assert [search_logs.offsets(answer.records) for answer in kept] == [[before - 1] for before in range(41, 60, 2)]


async def test_a_search_without_time_gives_what_it_has_and_goes_on(service: SearchService, log: Log) -> None:
    found: list[int] = []
    before: int | None = 60
    calls = 0
    while before is not None:
        answer = await service.search(log, EVERYTHING, before, 500, budget_s=0.0)
        found += search_logs.offsets(answer.records)
        assert answer.before is None or answer.before < before
        before = answer.before
        calls += 1
    assert found == list(range(59, -1, -1))
    assert calls >= 1


async def test_segments_that_retention_takes_meanwhile_are_passed_over(service: SearchService, log: Log) -> None:
    assert len((await service.search(log, EVERYTHING, 60, 500)).records) == 60
    folder = Path(log.directory)
    oldest, *_ = sorted(await asyncio.to_thread(lambda: list(folder.glob("*.log"))))
    second = sorted(await asyncio.to_thread(lambda: list(folder.glob("*.log"))))[1]
    for path in await asyncio.to_thread(lambda: list(folder.glob(f"{oldest.stem}.*"))):
        path.unlink()
    found = await service.search(log, EVERYTHING, 60, 500)
    assert search_logs.offsets(found.records) == list(range(59, int(second.stem) - 1, -1))
    assert not found.damages


async def test_filters_are_made_aside_as_segments_are_closed(service: SearchService, log: Log) -> None:
    service.make_filters(lambda: [log], period_s=3600)
    folder = Path(log.directory)
    closed = sorted(await asyncio.to_thread(lambda: list(folder.glob("*.log"))))[:-1]

    async def all_made() -> bool:
        await asyncio.sleep(0.01)
        return all(filter_path(path).exists() for path in closed)

    await _until(all_made)
    assert closed
    question = Question(ALL_KINDS, conditions=(Condition("id", "=", "3"),))
    assert search_logs.offsets((await service.search(log, question, 60, 20)).records) == [3]


async def test_the_process_ends_with_the_service(log: Log) -> None:
    service = SearchService()
    await service.search(log, EVERYTHING, 60, 1)
    pid = service.pid
    assert pid is not None
    await service.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_it_ends_when_its_input_does() -> None:
    """As when the server is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "broker.search.process", stdin=asyncio.subprocess.PIPE, cwd=CHECKOUT
    )
    await process.communicate(b"\0\0")
    assert process.returncode == 0


async def test_a_large_value_comes_in_pieces(service: SearchService, tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000
    after = {"id": search_logs.integer(1), "data": search_logs.binary(content), "none": None}
    made = search_logs.record(0, "INSERT", "shop.blobs", after=after, keys={"PRIMARY": ["id"]})
    ddl = search_logs.record(1, "DDL", "shop", ddl="CREATE TABLE t (a INT)")
    written, _ = await asyncio.to_thread(search_logs.write_log, tmp_path / "t-0", [made, ddl])
    shown = (await service.show(written, 0)).record
    assert shown is not None
    value = shown.fields[1].after
    assert value is not None
    assert (value.kind, value.bytes_total, value.is_cut) == ("bytes", len(content), True)
    assert value.text == content[: len(value.text or "") // 2].hex()
    pieces = [piece.data or b"" async for piece in service.read_value(written, 0, 1, is_after=True)]
    assert len(pieces) > 1
    assert b"".join(pieces) == content
    begun = service.read_value(written, 0, 1, is_after=True)
    first = await anext(begun)
    others = [asyncio.ensure_future(service.search(written, EVERYTHING, 2, 1)) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)
    told = b"".join([first.data or b"", *[piece.data or b"" async for piece in begun]])
    assert told == content, "what was begun goes on, however many ask"
    await asyncio.gather(*others)
    assert [piece async for piece in service.read_value(written, 0, 1, is_after=False)] == []
    assert [piece async for piece in service.read_value(written, 0, 2, is_after=True)] == []
    assert [piece.data async for piece in service.read_value(written, 1, -1, is_after=True)] == [
        b"CREATE TABLE t (a INT)"
    ]
