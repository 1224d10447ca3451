"""The command line: `binwire demo | serve | check | tail | status | verify | backup | …`, listed by `binwire --help`.

Owns arguments, exit statuses and how a mistake is told: 0 done, 1 failed with one clear sentence on standard error, 2
wrong usage. A traceback means a defect of ours and nothing else.

Every command imports what it needs when it runs: `binwire version` and a usage error load neither asyncio nor a log.
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine, Iterator, Sequence

    from broker.app import Application
    from broker.config import Config
    from broker.listener import Address

    Command = Callable[[argparse.Namespace], int]

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it
CONFIG_FILE: Final = "binwire.toml"
FIXTURE_BY_PIPE: Final = ("fixture", "--pipe")  # for `binwire.testing`, not for people: neither listed nor parsed


def main(arguments: Sequence[str]) -> int:
    """Run one command; the result is the exit status."""
    is_by_pipe = tuple(arguments[: len(FIXTURE_BY_PIPE)]) == FIXTURE_BY_PIPE
    command = partial(_fixture_by_pipe, int(arguments[-1])) if is_by_pipe else _typed(arguments)
    try:
        status = command()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has enough of it: `binwire tail … | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            # What is left in the buffer would fail again when the process ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            print("binwire: no space left on the disk that is written to; make room there", file=sys.stderr)
            return FAILED
        if not _is_for_people(error):
            raise
        print(f"binwire: {error}", file=sys.stderr)
        return FAILED


def _typed(arguments: Sequence[str]) -> Callable[[], int]:
    """The command that a person typed."""
    namespace = _parser().parse_args(arguments)
    return partial(namespace.command, namespace)


def _is_for_people(error: Exception) -> bool:
    """Whether the message of an exception is a sentence that explains what somebody can mend."""
    from broker.config_rules import ConfigError
    from broker.control import ControlError
    from broker.operations.operation import OperationError
    from broker.server import ListenError
    from storage.errors import StorageError

    return isinstance(error, (ConfigError, ControlError, ListenError, OperationError, StorageError))


# --- commands -----------------------------------------------------------------------------------------------------


def _demo(arguments: argparse.Namespace) -> int:
    from broker.demo import run

    return run(records=arguments.records, speed=arguments.speed, file=arguments.file)


def _serve(arguments: argparse.Namespace) -> int:
    gc.disable()  # until it has started: `event_loop.collect_from_now`
    try:
        from broker import logs

        # Not held here: the passwords in a configuration are forgotten once its groups are enrolled.
        served = _serve_until_signalled(_config(arguments), arguments.config)
        logs.configure(arguments.log_level, environment=os.environ)
        from broker import event_loop

        with _named(arguments.config):
            event_loop.run(served)
    finally:
        gc.enable()  # also where it did not start: whoever called this goes on
    return DONE


async def _serve_until_signalled(
    config: Config, file: Path, greet: Callable[[Application], Coroutine[Any, Any, None]] | None = None
) -> None:
    import asyncio
    import logging

    from broker import service_manager
    from broker.app import Application
    from broker.config import load
    from broker.event_loop import collect_from_now
    from broker.signals import hung_up, reload_on_hangup, signalled

    stop, hangup = signalled(), hung_up()
    app = Application(config, read_again=partial(load, file))
    del config
    await app.start()
    collect_from_now()
    log = logging.getLogger("binwire")
    reloading = asyncio.create_task(reload_on_hangup(hangup, app.reload))
    greeting = None if greet is None else asyncio.create_task(greet(app))
    try:
        for name, address in app.addresses.items():
            log.info("listening", extra={"listener": name, "address": str(address)})
        service_manager.tell(service_manager.READY)
        await stop.wait()
        service_manager.tell(service_manager.STOPPING)
        log.info("stopping")
    finally:
        reloading.cancel()
        if greeting is not None:
            greeting.cancel()
        await asyncio.shield(app.close())
    log.info("stopped")


def _init(arguments: argparse.Namespace) -> int:
    from broker.init_command import InitOptions, run
    from broker.init_source import split_objects

    options = InitOptions(
        path=arguments.config,
        source=arguments.source,
        objects=split_objects(arguments.objects) if arguments.objects is not None else (),
        channel_id=arguments.id,
        region=arguments.region,
        administrator=arguments.administrator,
        listener=arguments.listen,
        console=arguments.console,
        is_agreed=arguments.yes,
        is_started=not arguments.no_start,
    )
    return run(options, _serve_new)


def _serve_new(file: Path, greet: Callable[[Application], Coroutine[Any, Any, None]]) -> int:
    """Serve what was written just now, saying only what goes wrong beside what `greet` says."""
    from broker import event_loop, logs
    from broker.config import load

    logs.configure("error", environment=os.environ)  # what the precheck warns of was shown before
    with _named(file):
        event_loop.run(_serve_until_signalled(load(file), file, greet))
    return DONE


def _check(arguments: argparse.Namespace) -> int:
    from broker.check import run

    config = _config(arguments)
    with _named(arguments.config):
        return run(config, as_json=arguments.json)


def _tail(arguments: argparse.Namespace) -> int:
    from broker.tail import run

    return run(
        _data_directory(arguments),
        arguments.topic,
        records=arguments.records,
        from_time=arguments.from_time,
        follow=arguments.follow,
        everything=arguments.all,
        as_json=arguments.json,
    )


def _record(arguments: argparse.Namespace) -> int:
    from binwire import __version__
    from broker.record_command import Stretch, run

    return run(
        _data_directory(arguments),
        arguments.topic,
        arguments.output,
        stretch=Stretch.parse(arguments.from_time, arguments.to_time, arguments.records),
        masks=arguments.mask,
        written_by=f"binwire {__version__}",
    )


def _schema(arguments: argparse.Namespace) -> int:
    from broker.capturing import record_schema_text

    print(record_schema_text(), end="")
    return DONE


def _explain(arguments: argparse.Namespace) -> int:
    from broker.explain import run

    config = _config(arguments)
    with _named(arguments.config):
        return run(config, arguments.topic, arguments.offset, as_json=arguments.json)


def _status(arguments: argparse.Namespace) -> int:
    from broker.status import run

    return run(_data_directory(arguments), as_json=arguments.json)


def _verify(arguments: argparse.Namespace) -> int:
    from broker.verify import run

    return run(_data_directory(arguments), arguments.topics, as_json=arguments.json)


def _backup(arguments: argparse.Namespace) -> int:
    from broker.backup import run

    return run(_data_directory(arguments), arguments.target)


def _salvage(arguments: argparse.Namespace) -> int:
    from broker.salvage import run

    return run(_data_directory(arguments))


def _reload(arguments: argparse.Namespace) -> int:
    from broker.control import ask

    [answer] = ask(_data_directory(arguments) / "control.sock", {"request": "reload"})
    print(answer["reloaded"])
    return FAILED if answer["refused"] else DONE


def _password(arguments: argparse.Namespace) -> int:
    from broker.accounts import Verifier
    from broker.config_rules import check_password
    from broker.console_rules import check_console_password

    whose = "the console" if arguments.console else "the consumer group"
    password = _asked_password(whose) if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    (check_console_password if arguments.console else check_password)("password", password)
    print(f'password_hash = "{Verifier.create(password)}"')
    return DONE


def _token(arguments: argparse.Namespace) -> int:
    from broker.accounts import Verifier
    from broker.console_rules import new_token

    token = new_token()
    print(f"token, shown this once: {token}")
    print(f'its line for tokens = [ … ] of [console]: "{Verifier.create(token)}"')
    return DONE


def _asked_password(whose: str) -> str:
    from getpass import getpass

    from broker.config_rules import ConfigError

    try:
        password, again = getpass(f"password of {whose}: "), getpass("once more: ")
    except EOFError:
        raise ConfigError("no password was typed; try again") from None
    if again != password:
        raise ConfigError("the two passwords differ; try again")
    return password


def _channel(arguments: argparse.Namespace) -> int:
    from broker.channel_command import main as run

    return run(arguments.arguments)


def _group(arguments: argparse.Namespace) -> int:
    from broker.group_command import main as run

    return run(arguments.arguments)


def _call(arguments: argparse.Namespace) -> int:
    from broker.call_command import main as run

    return run(arguments.arguments)


def _bench(arguments: argparse.Namespace) -> int:
    try:
        from bench.__main__ import main as run
    except ModuleNotFoundError as error:
        if error.name not in ("bench", "bench.__main__"):
            raise
        print("binwire: the benchmarks are not part of this installation; run them from a checkout", file=sys.stderr)
        return FAILED
    return run(arguments.arguments)


def _completion(arguments: argparse.Namespace) -> int:
    from importlib.util import find_spec

    from broker import call_command, channel_command, completion, group_command

    own: completion.Parsers = {
        name: module.command_parser
        for name, module in (("channel", channel_command), ("group", group_command), ("call", call_command))
    }
    if find_spec("bench") is not None:
        from bench import __main__ as bench
        from bench.client_check import command as client

        own |= {"bench": bench.command_parser, "bench client": client.command_parser}
    print(completion.script(arguments.shell, _parser(), own), end="")
    return DONE


def _fixture(arguments: argparse.Namespace) -> int:
    if not arguments.detached and _is_input_at_its_end():
        print(
            "binwire: standard input has nothing behind it, and the fixture ends with it; give it a pipe that you keep "
            "open, or use --detached",
            file=sys.stderr,
        )
        return FAILED
    gc.disable()  # until its first channel runs
    from broker.fixture.process import Options, run

    return run(
        Options(
            bind=arguments.bind,
            advertised=arguments.advertised,
            http=arguments.http,
            is_detached=arguments.detached,
        )
    )


def _is_input_at_its_end() -> bool:
    """Whether standard input is closed or the null device, which shells give to what runs in the background."""
    return sys.stdin is None or os.fstat(0).st_rdev == Path(os.devnull).stat().st_rdev


def _fixture_by_pipe(owner_pid: int) -> int:
    gc.disable()
    from broker.fixture.process import Options, run

    return run(Options(owner_pid=owner_pid))


def _version(arguments: argparse.Namespace) -> int:
    from binwire import __version__
    from storage import compiled

    accelerator = compiled.state("capture._rows", "storage._framing", "broker.search._scan")
    print(f"binwire {__version__}\naccelerator: {accelerator}")
    return DONE


# --- arguments ----------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    import argparse

    from binwire import __version__

    parser = argparse.ArgumentParser(
        prog="binwire",
        description="A MySQL binlog as a Kafka topic, without Kafka.",
        epilog="Exit status: 0 done, 1 failed (one sentence on standard error), 2 wrong usage.",
    )
    parser.add_argument("--version", action="version", version=f"binwire {__version__}", help="show the version")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serving(commands)
    _add_fixture(commands)
    _add_looking(commands)
    _add_keeping(commands)
    _add_operations(commands)
    bench = _add(
        commands,
        "bench",
        _bench,
        "run the benchmarks; `bench client -- COMMAND` measures a consumer of yours",
        add_help=False,
        prefix_chars="\0",
    )
    bench.add_argument("arguments", nargs="*", metavar="…")
    completion = _add(commands, "completion", _completion, "print a script that has a shell complete these commands")
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="source <(binwire completion bash)")
    _add(commands, "version", _version, "show the version")
    return parser


def _add_serving(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Commands that run a server, and the one that says whether it would."""
    demo = _add(commands, "demo", _demo, "see row changes arrive in a Kafka client; no database needed")
    demo.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="of `binwire record`, or statements in a .sql file, to play in place of a shop",
    )
    demo.add_argument("--records", type=_count, metavar="N", help="end after N changes (default: go on until Ctrl-C)")
    demo.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="FACTOR",
        help="replay faster, a FILE at `full` speed, too (%(default)s)",
    )

    _add_init(commands)

    serve = _add(commands, "serve", _serve, "capture the configured sources and serve Kafka clients")
    _add_config(serve)
    serve.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="(default: %(default)s)"
    )

    check = _add(commands, "check", _check, "look at this machine and at every source and say what is missing")
    _add_config(check)
    check.add_argument("--json", action="store_true", help="as one JSON object")


def _add_init(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The command that makes a configuration, and serves it."""
    init = _add(
        commands,
        "init",
        _init,
        "lead from the address of a source to a running channel, or from nothing to a running console",
        epilog="Passwords are asked for, or taken from BINWIRE_SOURCE_PASSWORD and BINWIRE_ADMINISTRATOR_PASSWORD.",
    )
    init.add_argument("source", nargs="?", metavar="SOURCE", help="such as mysql://user@host:3306, or the host alone")
    init.add_argument(
        "-c", "--config", type=Path, default=Path(CONFIG_FILE), metavar="FILE", help="to write (default: %(default)s)"
    )
    init.add_argument("--objects", metavar="LIST", help="databases and tables to track, with commas between")
    init.add_argument("--id", metavar="ID", help="of the channel (default: the first object's database)")
    init.add_argument(
        "--region", default="local", metavar="NAME", help="begins the topic's name (default: %(default)s)"
    )
    init.add_argument("--administrator", metavar="USER", help="who makes the account of the source, once")
    for name, what in (("listen", "Kafka clients connect"), ("console", "the console is; loopback only")):
        init.add_argument(f"--{name}", type=_address, metavar="HOST:PORT", help=f"where {what} (port 0: any free one)")
    init.add_argument("--yes", action="store_true", help="run the statements that make the account without a question")
    init.add_argument("--no-start", action="store_true", help="write the file and start nothing")


def _add_fixture(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The server that tests drive."""
    fixture = _add(
        commands,
        "fixture",
        _fixture,
        "a server for one test run: changes come by HTTP calls from any language, no database needed",
        epilog="It prints one JSON line when it is ready and ends with its standard input; GET / lists the calls.",
    )
    for option, what in (
        ("http", "where calls come in (default: %(default)s, any free port)"),
        ("bind", "where Kafka clients connect (default: %(default)s)"),
    ):
        fixture.add_argument(f"--{option}", type=_address, default="127.0.0.1:0", metavar="ADDRESS", help=what)
    fixture.add_argument(
        "--advertised",
        type=_address_to_connect_to,
        metavar="HOST:PORT",
        help="where Kafka clients are told to connect, if that is elsewhere",
    )
    fixture.add_argument(
        "--detached", action="store_true", help="go on when standard input ends, until SIGTERM or SIGINT"
    )


def _add_looking(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Commands that show what a running server has."""
    tail = _add(commands, "tail", _tail, "show the records of a topic, decoded")
    tail.add_argument("topic", metavar="TOPIC")
    _add_place(tail)
    tail.add_argument("-n", "--records", type=_count, default=10, metavar="N", help="how many (default: %(default)s)")
    tail.add_argument(
        "--from", dest="from_time", metavar="TIME", help="start at a time (seconds, or 2026-01-31T08:00:00Z)"
    )
    tail.add_argument("-f", "--follow", action="store_true", help="go on with what arrives, until Ctrl-C")
    tail.add_argument("--all", action="store_true", help="heartbeats too")
    tail.add_argument("--json", action="store_true", help="one JSON object a line")

    record = _add(commands, "record", _record, "save a stretch of a topic as a file that fixtures and the demo play")
    record.add_argument("topic", metavar="TOPIC")
    _add_place(record)
    record.add_argument("--from", dest="from_time", metavar="TIME", help="(default: the oldest record; see tail)")
    record.add_argument("--to", dest="to_time", metavar="TIME", help="before this time (default: what there is now)")
    record.add_argument("-n", "--records", type=_count, metavar="N", help="so many, waiting for those that still come")
    record.add_argument(
        "--mask",
        action="append",
        default=[],
        metavar="COLUMN",
        help="db.table.column whose values are not to be in the file; =hash, =null or =text behind it",
    )
    record.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="to write; must not exist")

    _add(commands, "schema", _schema, "print the Avro schema of the records")

    explain = _add(commands, "explain", _explain, "show a record beside the bytes of the binlog it was made of")
    explain.add_argument("topic", metavar="TOPIC")
    explain.add_argument("offset", type=_offset, metavar="OFFSET", help="as `binwire tail` shows it")
    _add_config(explain)
    explain.add_argument("--json", action="store_true", help="as one JSON object")

    status = _add(commands, "status", _status, "show the channels, consumer groups and listeners of a running server")
    _add_place(status)
    status.add_argument("--json", action="store_true", help="as one JSON object")


def _add_operations(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Commands that have commands of their own, which they parse themselves."""
    for name, command, help_text in (
        ("channel", _channel, "the channels of a running server: create, precheck, start, objects, records, release"),
        ("group", _group, "their consumer groups: list, create, password, delete"),
        ("call", _call, "any operation of a running server by its name, for scripts"),
    ):
        parser = _add(commands, name, command, help_text, add_help=False, prefix_chars="\0")
        parser.add_argument("arguments", nargs="*", metavar="…")


def _add_keeping(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Commands that look after a data directory and what is configured."""
    verify = _add(commands, "verify", _verify, "check every stored byte, beside a running server or without one")
    verify.add_argument("topics", nargs="*", metavar="TOPIC", help="only these (default: all)")
    _add_place(verify)
    verify.add_argument("--json", action="store_true", help="as one JSON object")

    backup = _add(commands, "backup", _backup, "copy the data directory, beside a running server or without one")
    backup.add_argument("target", type=Path, metavar="TARGET", help="a directory that does not exist or is empty")
    _add_place(backup)

    _add_place(
        _add(
            commands,
            "salvage",
            _salvage,
            "make a new catalog of what can be read of a damaged one; the server must not run",
        )
    )

    _add_place(
        _add(commands, "reload", _reload, "have a running server read groups, objects and alerts of its file again")
    )

    password = _add(
        commands,
        "password",
        _password,
        "turn a consumer group's password, typed or a line of standard input, into its line for the configuration",
    )
    password.add_argument("--console", action="store_true", help="the password is the console's")

    _add(commands, "token", _token, "make a token for the REST interface, and its line for the configuration")


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    command: Command,
    help_text: str,
    **options: object,
) -> argparse.ArgumentParser:
    texts = {"help": help_text, "description": f"{help_text[0].upper()}{help_text[1:]}."}
    parser: argparse.ArgumentParser = commands.add_parser(name, **texts, **options)  # type: ignore[arg-type]
    parser.set_defaults(command=command)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        type=Path,
        default=Path(CONFIG_FILE),
        metavar="FILE",
        help="configuration (default: %(default)s)",
    )


def _add_place(parser: argparse.ArgumentParser) -> None:
    place = parser.add_mutually_exclusive_group()
    _add_config(place)  # type: ignore[arg-type]
    place.add_argument("--data-dir", type=Path, metavar="DIR", help="the server's data directory, in place of a file")


def _config(arguments: argparse.Namespace) -> Config:
    from broker.config import load

    return load(arguments.config)


@contextmanager
def _named(file: Path) -> Iterator[None]:
    """Have what is found wrong with a configuration behind reading it name the file too."""
    from broker.config_rules import ConfigError

    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None


def _data_directory(arguments: argparse.Namespace) -> Path:
    """Where the running server keeps its control socket; of the configuration only that one key is read."""
    if arguments.data_dir is not None:
        return Path(arguments.data_dir)
    from broker.config import data_directory

    return data_directory(arguments.config)


def _count(text: str) -> int:
    from argparse import ArgumentTypeError

    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ArgumentTypeError(f"{text!r} is not a number of records; write 1 or more")
    return int(text)


def _address(text: str) -> Address:
    from argparse import ArgumentTypeError

    from broker.listener import Address

    try:
        return Address.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None


def _address_to_connect_to(text: str) -> Address:
    from argparse import ArgumentTypeError

    address = _address(text)
    if address.is_wildcard or not address.port:
        raise ArgumentTypeError(f"{text!r} is no address that clients can connect to; write a host and its port")
    return address


def _offset(text: str) -> int:
    from argparse import ArgumentTypeError

    if not (text.isascii() and text.isdecimal()):
        raise ArgumentTypeError(f"{text!r} is not an offset; write a number as `binwire tail` shows it")
    return int(text)


def _speed(text: str) -> float | None:
    """A factor, None for full speed."""
    from argparse import ArgumentTypeError

    if text == "full":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= 1000:
        raise ArgumentTypeError(f"{text!r} is not a speed; write a factor above 0 and up to 1000, or full for a FILE")
    return speed
