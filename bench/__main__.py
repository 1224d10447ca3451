"""The command line of the benchmarks: `binwire bench` and `python -m bench`.

Owns options and exit statuses. What is measured is `bench/registry.py`, results are `bench/results.py`; two of them are
compared by `bench/compare.py`, and somebody's own consumer is judged by `bench/client_check/`.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bench.harness import everyone, nobody
from bench.registry import BENCHMARKS, QUICK
from bench.report import measured_on, table
from bench.results import DIRECTORY, ROOT, why_not_writable
from bench.running import Plan, Run, run

DONE: Final = 0
WRONG_RESULT: Final = 1
WRONG_USAGE: Final = 2

_EPILOG: Final = """\
Where results go: in a checkout, a run in full size writes bench/results/DATE-COMMIT/ with results.json, results.md and
a picture for each benchmark; --results names another folder, and is where anything is written at all outside a checkout
or with --smoke or --quick. --json writes the JSON document alone, to any file.

binwire bench client -- COMMAND … measures a consumer of your own; see binwire bench client --help.

Exit status: 0 done, 1 a benchmark's result was wrong (one sentence on standard error), 2 wrong usage.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run, list or compare benchmarks, or judge a client; return the exit status."""
    with _ended_by_sigterm_as_by_ctrl_c():
        return _main(sys.argv[1:] if argv is None else list(argv))


@contextlib.contextmanager
def _ended_by_sigterm_as_by_ctrl_c() -> Iterator[None]:
    """No folder, server or client is left behind by `kill` or `timeout` either."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _main(arguments: list[str]) -> int:
    if arguments[:1] == ["client"]:
        from bench.client_check.command import main as judge

        return judge(arguments[1:])
    parser = command_parser()
    options = parser.parse_intermixed_args(arguments)
    if options.smoke and options.quick:
        parser.error("--smoke and --quick are two sizes; choose one")
    if options.no_peer and options.peer:
        parser.error("--no-peer and --peer exclude each other; choose one")
    if options.quick and (slow := [name for name in options.names if name not in QUICK]):
        parser.error(f"--quick has no size for {', '.join(slow)}; choose of {', '.join(QUICK)}, or take --smoke")
    if options.list:
        for benchmark in BENCHMARKS:
            print(f"{benchmark.name:<14} {benchmark.question}")
        return DONE
    if options.compare:
        return _compare(options)
    if options.json and (reason := why_not_writable(options.json)):
        parser.error(f"--json: {reason}")  # not after an hour
    wanted = _wanted(options)
    return _report(run(Plan(options.names, options.smoke, options.quick, options.rounds, wanted)), options)


def _report(done: Run, options: argparse.Namespace) -> int:
    file = done.file
    if file.results:
        print(f"{table(file.results)}\n\n{measured_on(file.context)}")
    for name, reason in file.context["left_out"].items():
        print(f"binwire bench: {reason if name in done.wrong else f'{name} is left out: {reason}'}", file=sys.stderr)
    try:
        if options.json:
            options.json.write_text(file.to_json(), encoding="utf-8")
        directory = options.results or _own_directory(options)
        if directory and file.results:
            folder = file.write(directory, {benchmark.name: benchmark.question for benchmark in BENCHMARKS})
            print(f"written to {folder}")
    except OSError as error:
        print(f"binwire bench: the results cannot be written: {error.filename}: {error.strerror}", file=sys.stderr)
        return WRONG_RESULT
    return WRONG_RESULT if done.wrong else DONE


def _own_directory(options: argparse.Namespace) -> Path | None:
    """Where a run in full size goes untold: into the checkout, where this is one."""
    full = not options.smoke and not options.quick
    return DIRECTORY if full and (ROOT / ".git").exists() else None


def _compare(options: argparse.Namespace) -> int:
    from bench.compare import CompareError, compare

    try:
        print(compare(*options.compare, names=options.names, smoke=options.smoke, rounds=options.rounds))
    except CompareError as error:
        print(f"binwire bench: {error}", file=sys.stderr)
        return WRONG_USAGE
    return DONE


def _wanted(options: argparse.Namespace) -> Callable[[str], bool]:
    if options.no_peer or (options.quick and not options.peer):
        return nobody
    if not options.peer:
        return everyone
    parts = [part.lower() for part in options.peer]
    return lambda name: any(part in name.lower() for part in parts)


def command_parser() -> argparse.ArgumentParser:
    """The parser of everything but `client`."""
    parser = argparse.ArgumentParser(
        prog="binwire bench",
        description="Measure Binwire, and its peers where there are some.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "names",
        nargs="*",
        type=_benchmark,
        metavar="NAME",
        help=f"what to measure, of {_names()} (default: all)",
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks and the question each answers")
    parser.add_argument(
        "--quick", action="store_true", help=f"a first table within a minute: {', '.join(QUICK)}; no peers, two rounds"
    )
    parser.add_argument("--smoke", action="store_true", help="small sizes, two rounds: whether it works, not how fast")
    parser.add_argument("--rounds", type=_rounds, metavar="N", help="how often each side runs (default: 5, smoke 2)")
    parser.add_argument("--no-peer", action="store_true", help="measure Binwire alone")
    parser.add_argument(
        "--peer", action="append", metavar="NAME", help="only peers with NAME in their name, such as kafka; repeatable"
    )
    parser.add_argument("--results", type=Path, metavar="DIR", help="write JSON, Markdown and pictures into DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE as JSON")
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="compare two results (files or folders), or two commits of this checkout, which run in turns "
        "without peers; NAME, --rounds and --smoke apply",
    )
    return parser


def _names() -> str:
    return ", ".join(benchmark.name for benchmark in BENCHMARKS)


def _benchmark(text: str) -> str:
    if all(benchmark.name != text for benchmark in BENCHMARKS):
        raise argparse.ArgumentTypeError(f"there is no benchmark {text!r}; there are {_names()}")
    return text


def _rounds(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of rounds; write 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
