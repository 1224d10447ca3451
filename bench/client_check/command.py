"""`binwire bench client -- COMMAND`: options, the run, the exit status.

The run ends when the client ends; or when it has fetched everything, or reported everything, and has been quiet for a
while, in which doubles would come; or when the time is over.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bench.client_check.client import Client, CommandError, write_config
from bench.client_check.known_log import KnownLog
from bench.client_check.server import GROUP, TOPIC, USERNAME, CheckServer
from bench.client_check.verdict import Seen, Verdict
from bench.client_check.witness import Witness
from bench.environment import environment
from bench.results import why_not_writable

DONE: Final = 0
FAULT: Final = 1
WRONG_USAGE: Final = 2

_POLL_S: Final = 0.05
_NS_PER_S: Final = 1_000_000_000
_ROWS_PER_TRANSACTION: Final = 100
_DESCRIPTION: Final = """\
Measure a consumer of your own: serve it a known log, and say how fast it is, how far behind, and whether it lost,
doubled or reordered a record. COMMAND is started once the server answers; it is to read the topic from the beginning,
and to write a line per record to its standard output, unbuffered, in one of these forms:

    OFFSET …
    TOPIC PARTITION OFFSET …
    {"offset": OFFSET, …}

Whatever follows on the line is its own. Rows alone may be reported, without BEGIN, COMMIT and DDL. A client that prints
no record is judged by what it fetched and committed instead, which says less.

What it needs to know is in its environment, and replaces placeholders in its arguments:

    BINWIRE_BOOTSTRAP {bootstrap}  BINWIRE_HOST {host}          BINWIRE_PORT {port}
    BINWIRE_TOPIC     {topic}      BINWIRE_GROUP {group}        BINWIRE_RECORDS {records}
    BINWIRE_USERNAME  {username}   BINWIRE_PASSWORD {password}  (SASL/PLAIN; the listener is SASL_PLAINTEXT)
    BINWIRE_CONFIG    {config}     a file of librdkafka settings with all of that; kcat finds it by itself

An argument can be read by everybody on the machine: take the password from the environment or the file.
"""
_EPILOG: Final = """\
Examples:

    binwire bench client -- kcat -C -t {topic} -o beginning -u -f '%o\\n'

    binwire bench client --rate 1000 --json result.json -- python3 consumer.py

  with consumer.py (kafka-python):

    import os
    from kafka import KafkaConsumer
    for record in KafkaConsumer(
        os.environ["BINWIRE_TOPIC"], group_id=os.environ["BINWIRE_GROUP"], auto_offset_reset="earliest",
        bootstrap_servers=os.environ["BINWIRE_BOOTSTRAP"], security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN",
        sasl_plain_username=os.environ["BINWIRE_USERNAME"], sasl_plain_password=os.environ["BINWIRE_PASSWORD"],
    ):
        print(record.offset, flush=True)

Throughput counts from the start of the command to its last line; lag, with --rate, from the moment a record was visible
to the arrival of its line; CPU is that of the command and of what it started and waited for.

Exit status: 0 every record came once and in order (of a client that prints none: was fetched, and committed if it
commits), 1 not so, or the command failed or ran out of time, 2 wrong usage.
"""


def main(argv: Sequence[str]) -> int:
    """Judge a client; the exit status."""
    parser = command_parser()
    options = parser.parse_args(argv)
    # `binwire bench` has taken the separator already, `python -m bench` has not.
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("there is no command; write it behind --, as in: binwire bench client -- kcat -C -t {topic} …")
    if options.json and (reason := why_not_writable(options.json)):
        parser.error(f"--json: {reason}")
    try:
        verdict = judge(command, options)
    except CommandError as error:
        parser.error(str(error))
    except RuntimeError as error:  # the server's end, with what it said
        print(f"binwire bench client: {error}", file=sys.stderr)
        return FAULT
    except KeyboardInterrupt:
        print("binwire bench client: interrupted; the command was ended", file=sys.stderr)
        return FAULT
    print("\n".join(verdict.lines()))
    if options.json:
        document = {**verdict.to_json(), **environment()}
        try:
            options.json.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            print(f"binwire bench client: {options.json} cannot be written: {error.strerror}", file=sys.stderr)
            return FAULT
    return FAULT if verdict.faults else DONE


def judge(command: Sequence[str], options: argparse.Namespace) -> Verdict:
    """Run the command against a server. Raises CommandError."""
    log = KnownLog(options.records, options.rows_per_transaction or (1 if options.rate else _ROWS_PER_TRANSACTION))
    witness = Witness(log, TOPIC)
    limit_s = options.time_limit + (log.rows / options.rate if options.rate else 0)
    password = f"Bench-{secrets.token_hex(8)}"
    with (
        tempfile.TemporaryDirectory(prefix="binwire-bench-client-") as folder,
        CheckServer(Path(folder), log, options.rate, password) as server,
    ):
        config = Path(folder) / "librdkafka.conf"
        values = {
            "bootstrap": f"{server.host}:{server.port}",
            "host": server.host,
            "port": str(server.port),
            "topic": TOPIC,
            "group": GROUP,
            "username": USERNAME,
            "password": password,
            "records": str(log.end),
            "config": str(config),
        }
        write_config(config, values)
        client = Client(command, values)
        try:
            run = _Run(client, server, witness, log, live=bool(options.rate))
            out_of_time = not run.until_the_end(limit_s, options.quiet)
            status = client.status  # None if it is ended now
        finally:
            client.end()
        run.take_output()
        witness.end(time.monotonic_ns())
        seen = server.ask("seen")
        return Verdict(
            command,
            log,
            options.rate,
            witness,
            Seen(
                started_ns=client.started_ns,
                progressed_ns=run.progressed_ns,
                cpu_s=client.cpu_s,
                status=status,
                out_of_time_s=limit_s if out_of_time else None,
                first=seen["first"],
                fetched=seen["fetched"],
                fetched_again=seen["again"],
                committed=seen["committed"],
                visible=[(end, at_ns) for end, at_ns in server.ask("visible")["visible"]],
            ),
        )


class _Run:
    """Looks after a client until there is nothing more to expect."""

    def __init__(self, client: Client, server: CheckServer, witness: Witness, log: KnownLog, *, live: bool) -> None:
        self._client = client
        self._server = server
        self._witness = witness
        self._log = log
        self._waits_to_feed = live
        self._state = (-1, -1)
        self.progressed_ns = time.monotonic_ns()

    def until_the_end(self, limit_s: float, quiet_s: float) -> bool:
        """False if the time was over before."""
        deadline = time.monotonic() + limit_s
        while not self._client.has_ended():
            if self._is_through() and time.monotonic_ns() - self.progressed_ns > quiet_s * _NS_PER_S:
                return True
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def take_output(self) -> bool:
        """Hand the client's lines on; whether there were any."""
        output = self._client.output
        if not output:
            return False
        while output:
            now_ns, chunk = output.popleft()
            self._witness.take(chunk, now_ns)
        return True

    def _is_through(self) -> bool:
        """Whether the client has had everything, be it quiet or not."""
        printed = self.take_output()
        seen = self._server.ask("seen")
        if seen["failure"]:
            raise RuntimeError(f"the log could not be fed: {seen['failure']}")
        if self._waits_to_feed and seen["fetched"] >= 0:  # a client that starts is not yet behind
            self._server.ask("live")
            self._waits_to_feed = False
        state = (seen["fetched"], seen["committed"])
        if printed or state != self._state:
            self._state = state
            self.progressed_ns = time.monotonic_ns()
        return self._witness.complete or seen["fetched"] >= self._log.end


def command_parser() -> argparse.ArgumentParser:
    """The parser of everything that is typed after `client`."""
    parser = argparse.ArgumentParser(
        prog="binwire bench client",
        usage="binwire bench client [options] -- COMMAND [ARGUMENT …]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--records",
        type=_count,
        default=100_000,
        metavar="N",
        help="how many orders are inserted, each a record, besides BEGIN, COMMIT and DDL (default: %(default)s)",
    )
    parser.add_argument(
        "--rate",
        type=_positive,
        default=0.0,
        metavar="N",
        help="insert N orders a second, from the client's first fetch on (default: all are there before it starts)",
    )
    parser.add_argument(
        "--rows-per-transaction", type=_count, metavar="N", help="orders in a transaction (default: 100; 1 with --rate)"
    )
    parser.add_argument(
        "--time-limit",
        type=_positive,
        default=60.0,
        metavar="SECONDS",
        help="end the command after so long, besides what --rate takes (default: %(default)g)",
    )
    parser.add_argument(
        "--quiet",
        type=_positive,
        default=2.0,
        metavar="SECONDS",
        help="end the command when it has had everything and was quiet for so long (default: %(default)g)",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the verdict and all figures to FILE as JSON")
    return parser


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= 100_000_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 100000000")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and below 1000000000")
    return number
