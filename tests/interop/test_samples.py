"""Sample code compiled and run as a user would, with the libraries it names, on a served channel.

The libraries of Ruby and .NET, and .NET itself, are not packaged by Debian (`families/others.py`): of the program in
Ruby the syntax and the literals are looked at, of the one in C# nothing but its form (`tests/broker/test_samples.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from binwire.testing import Channel, EmbeddedBroker
from broker.demo import RECORDING
from broker.samples.literals import literal
from tests import certificates
from tests.broker.test_samples import HOSTILE
from tests.certificates import Certificates
from tests.interop import go_clients, java_clients, node_clients
from tests.interop.client import Command, had
from tests.sample_programs import CHANGES, SCHEMA, filled_sample, lines_of, served_changes, write_sample
from tests.server_process import ServerProcess
from tests.tools import librdkafka, ruby

pytestmark = [pytest.mark.interop("samples"), pytest.mark.timeout(300)]
_KAFKA, _DTS, _RDKAFKA = "1.1.1", "2.1.4", librdkafka.DEBIAN_VERSION


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as started:
        yield started


@pytest.fixture
def channel(broker: EmbeddedBroker) -> Channel:
    return served_changes(broker)


def _java(folder: Path) -> Command:
    return ("java", "-cp", java_clients.sample_class_path(_KAFKA), str(folder / "Consumer.java"))


def _java_dts(folder: Path) -> Command:
    return (*java_clients.dts_source_command(_DTS), str(folder / "DtsConsumer.java"))


def _go(folder: Path) -> Command:
    return go_clients.built("consumer", folder, Path("samples"))


def _node(folder: Path) -> Command:
    return node_clients.command("samples", folder / "consumer.js")


def _c(folder: Path) -> Command:
    return librdkafka.program(folder / "consumer.c", _RDKAFKA)


def _python(folder: Path) -> Command:
    return (sys.executable, str(folder / "consumer.py"))


@pytest.mark.parametrize(
    ("language", "command"),
    [("python", _python), ("java", _java), ("go", _go), ("node", _node), ("c", _c)],
)
def test_a_sample_runs_as_it_is_shown(
    language: str, command: Callable[[Path], Command], channel: Channel, tmp_path: Path
) -> None:
    write_sample(language, channel, tmp_path)
    assert lines_of(had(language, lambda: command(tmp_path)), tmp_path) == CHANGES


def test_the_sample_of_the_services_sdk_runs(channel: Channel, tmp_path: Path) -> None:
    """Its rows are the SDK's own text; statements and rows come in the same order."""
    write_sample("java-dts", channel, tmp_path)
    lines = lines_of(had("java-dts", lambda: _java_dts(tmp_path)), tmp_path)
    assert [line.partition(" ")[0] for line in lines] == [line.partition(" ")[0] for line in CHANGES]
    assert "id: - -> 1" in lines[2]
    assert "name: 北京 -> NULL" in lines[3]


def test_the_sample_of_kcat_runs(channel: Channel, tmp_path: Path) -> None:
    write_sample("kcat", channel, tmp_path)
    kcat = had("kcat", librdkafka.kcat_command)
    for name, command in (("kcat", kcat), ("python3", (sys.executable,))):
        wrapper = tmp_path / "bin" / name
        wrapper.parent.mkdir(exist_ok=True)
        wrapper.write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n')
        wrapper.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    lines = lines_of(("sh", "consumer.sh"), tmp_path, environment)
    shown = [json.loads(line) for line in lines[: len(CHANGES)]]
    assert [each["operation"] for each in shown] == [line.partition(" ")[0] for line in CHANGES]
    assert shown[2]["afterImages"][0] == {"precision": 4, "value": "1"}
    assert shown[3]["beforeImages"][1]["value"] == "北京"


def test_the_sample_in_ruby_is_ruby(channel: Channel, tmp_path: Path) -> None:
    write_sample("ruby", channel, tmp_path)
    command = had("ruby", ruby.command)
    done = subprocess.run([*command, "-wc", "consumer.rb"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("Syntax OK\n", "")


# --- other listeners --------------------------------------------------------------------------------------------------

_TOPIC, _PASSWORD = "cn_hangzhou_rm_samples_dtstest_version2", "Samples-123"
_RUN = ("python", "java", "go", "node", "c")
_GROUPS = tuple(f"dts{language}{listener}" for language in _RUN for listener in ("tls", "open"))
"""One each: a program that is killed stays a member for a while."""


@pytest.fixture(scope="module")
def listeners(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, Certificates]]:
    """A server over the demo's binlog with a listener of each kind but the usual one."""
    folder = tmp_path_factory.mktemp("listeners")
    tls = certificates.make(folder / "tls")
    open_listener = '[[listeners]]\nname = "open"\nbind = "127.0.0.1:0"\nsecurity = "PLAINTEXT"\n'
    channel = (
        f'[[channels]]\nid = "demo"\ntopic = "{_TOPIC}"\nsource = "file://{RECORDING}"\nobjects = ["shop"]\n'
        'start = "earliest"\n'
    ) + "".join(
        f'[[channels.groups]]\nname = "{each}"\nid = "{each}"\nusername = "dtstest"\npassword = "{_PASSWORD}"\n'
        for each in _GROUPS
    )
    with ServerProcess(folder, tls.listener() + open_listener + channel) as server:
        yield server, tls


@pytest.mark.parametrize(("listener", "security"), [("tls", "SASL_SSL"), ("open", "PLAINTEXT")])
@pytest.mark.parametrize(
    ("language", "command"), [("python", _python), ("java", _java), ("go", _go), ("node", _node), ("c", _c)]
)
def test_a_sample_runs_at_every_kind_of_listener(
    language: str,
    command: Callable[[Path], Command],
    listener: str,
    security: str,
    listeners: tuple[ServerProcess, Certificates],
    tmp_path: Path,
) -> None:
    """Certificates are verified as the machine says, so that the test's own authority is named by the environment."""
    server, tls = listeners
    made = filled_sample(
        language,
        endpoint=server.bootstrap(listener),
        topic=_TOPIC,
        group_id=f"dts{language}{listener}",
        password=_PASSWORD,
        security=security,
    )
    (tmp_path / made.language.file_name).write_text(made.text, "utf-8")
    shutil.copy(SCHEMA, tmp_path)
    trust = f"-Djavax.net.ssl.trustStore={tls.truststore} -Djavax.net.ssl.trustStorePassword={tls.truststore_password}"
    environment = {
        **os.environ,
        "SSL_CERT_FILE": str(tls.ca),
        "NODE_EXTRA_CA_CERTS": str(tls.ca),
        "JAVA_TOOL_OPTIONS": trust,
    }
    program = had(language, lambda: command(tmp_path))
    lines = lines_of(program, tmp_path, environment)
    assert len(lines) == len(CHANGES)
    assert all(line.startswith(("DDL ", "INSERT ")) for line in lines), lines


# --- literals, by the languages themselves --------------------------------------------------------------------------

_PRINTERS = {
    "java": "public final class P {{ public static void main(String[] a) {{ for (String s : new String[] {{{all}}}) {{ "
    "StringBuilder b = new StringBuilder(); for (byte x : s.getBytes(java.nio.charset.StandardCharsets.UTF_8)) "
    'b.append(String.format("%02x", x)); System.out.println(b); }} }} }}',
    "go": 'package main\nimport "fmt"\n'
    'func main() {{ for _, s := range []string{{{all}}} {{ fmt.Printf("%x\\n", s) }} }}\n',
    "c": "#include <stdio.h>\nint main(void) {{ static const char *const all[] = {{{all}}};\n"
    "for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {{ for (const char *c = all[i]; *c; c++) "
    'printf("%02x", (unsigned char)*c); putchar(10); }} }}\n',
    "ruby": "[{all}].each {{ |text| puts text.unpack1('H*') }}\n",
    "kcat": "for each in {all}; do printf %s \"$each\" | od -An -v -tx1 | tr -d ' \\n'; echo; done\n",
}


def _printed(language: str, folder: Path) -> str:
    separator = " " if language == "kcat" else ", "
    program = _PRINTERS[language].format(all=separator.join(literal(language, each) for each in HOSTILE))
    name = {"java": "P.java", "go": "main.go", "c": "p.c", "ruby": "p.rb", "kcat": "p.sh"}[language]
    (folder / name).write_text(program, "utf-8")
    ruby_command = had("ruby", ruby.command) if language == "ruby" else ()
    commands: dict[str, list[list[str]]] = {
        "java": [["java", "P.java"]],
        "go": [["go", "run", "main.go"]],
        "c": [["cc", "-trigraphs", "-o", "p", "p.c"], ["./p"]],
        "ruby": [[*ruby_command, "p.rb"]],
        "kcat": [["sh", "p.sh"]],
    }
    tool = commands[language][0][0]
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not on the PATH")
    output = ""
    for command in commands[language]:
        output = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
    return output


@pytest.mark.parametrize("language", sorted(_PRINTERS))
def test_a_literal_means_its_text_to_the_language(language: str, tmp_path: Path) -> None:
    assert _printed(language, tmp_path).split("\n")[:-1] == [each.encode().hex() for each in HOSTILE]
