"""Sample code: whole consumers of a channel in several languages, filled with its values.

Owns the list of languages, what a sample is made of, and how values get into programs: each as a literal of its
language, escaped so that no value can end it (`literals.py`). A template is a complete program in which `@name@` stands
where a literal goes, and `@about@` in its first comment. A password is never filled in.

    java  java-dts  python  go  node  c  ruby  dotnet  kcat

Left to others: which values a channel, group and listener have.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from broker.samples.literals import comment, literal

if TYPE_CHECKING:
    from broker.control import ChannelView, GroupView
    from broker.endpoints import Endpoint

PASSWORD: Final = "YOUR_PASSWORD"  # noqa: S105 — what stands where it goes
NO_GROUP: Final = "YOUR_GROUP_ID"
NO_USERNAME: Final = "YOUR_USERNAME"
_MARK: Final = re.compile(r"@([a-z_]+)@")


class SampleLanguage(Struct, frozen=True):
    """A language there is a program in. `needs` are lines of a shell that fetch what it needs, `runs` runs it."""

    id: str
    name: str
    file_name: str
    library: str
    needs: tuple[str, ...]
    runs: str
    needs_schema: bool


class Sample(Struct, frozen=True):
    """A program, ready but for the password, for which `placeholder` stands in it."""

    language: SampleLanguage
    text: str
    placeholder: str


def _maven(*dependencies: str) -> tuple[str, ...]:
    """Lines that put Maven artifacts, and what they depend on, into the folder lib."""
    keys = ("groupId", "artifactId", "version")
    listed = "".join(
        f"<dependency>{''.join(f'<{key}>{part}</{key}>' for key, part in zip(keys, each.split(':'), strict=True))}"
        "</dependency>"
        for each in dependencies
    )
    project = "<modelVersion>4.0.0</modelVersion><groupId>g</groupId><artifactId>a</artifactId><version>1</version>"
    return (
        f"echo '<project>{project}<dependencies>{listed}</dependencies></project>' > pom.xml",
        "mvn -q dependency:copy-dependencies -DoutputDirectory=lib",
    )


LANGUAGES: Final = (
    SampleLanguage(
        id="java",
        name="Java",
        file_name="Consumer.java",
        library="kafka-clients 1.1.1, avro 1.8.2",
        needs=_maven("org.apache.kafka:kafka-clients:1.1.1", "org.apache.avro:avro:1.8.2"),
        runs="java -cp 'lib/*' Consumer.java",
        needs_schema=True,
    ),
    SampleLanguage(
        id="java-dts",
        name="Java, the DTS SDK",
        file_name="DtsConsumer.java",
        library="com.aliyun.dts:dts-new-subscribe-sdk 2.1.4",
        needs=_maven("com.aliyun.dts:dts-new-subscribe-sdk:2.1.4"),
        runs="java --add-exports java.base/sun.util.calendar=ALL-UNNAMED -cp 'lib/*' DtsConsumer.java",
        needs_schema=False,
    ),
    SampleLanguage(
        id="python",
        name="Python",
        file_name="consumer.py",
        library="kafka-python, fastavro",
        needs=("pip install kafka-python fastavro",),
        runs="python consumer.py",
        needs_schema=True,
    ),
    SampleLanguage(
        id="go",
        name="Go",
        file_name="main.go",
        library="github.com/IBM/sarama, github.com/linkedin/goavro/v2",
        needs=("go mod init consumer", "go get github.com/IBM/sarama github.com/linkedin/goavro/v2"),
        runs="go run main.go",
        needs_schema=True,
    ),
    SampleLanguage(
        id="node",
        name="Node.js",
        file_name="consumer.js",
        library="kafkajs, avsc",
        needs=("npm install kafkajs avsc",),
        runs="node consumer.js",
        needs_schema=True,
    ),
    SampleLanguage(
        id="c",
        name="C",
        file_name="consumer.c",
        library="librdkafka",
        needs=("apt-get install gcc libc6-dev librdkafka-dev",),
        runs="cc -o consumer consumer.c -lrdkafka && ./consumer",
        needs_schema=False,
    ),
    SampleLanguage(
        id="ruby",
        name="Ruby",
        file_name="consumer.rb",
        library="rdkafka, avro",
        needs=("gem install rdkafka avro",),
        runs="ruby consumer.rb",
        needs_schema=True,
    ),
    SampleLanguage(
        id="dotnet",
        name=".NET",
        file_name="Program.cs",
        library="Confluent.Kafka, Apache.Avro",
        needs=("dotnet new console", "dotnet add package Confluent.Kafka", "dotnet add package Apache.Avro"),
        runs="dotnet run",
        needs_schema=True,
    ),
    SampleLanguage(
        id="kcat",
        name="kcat",
        file_name="consumer.sh",
        library="kcat, and Python with fastavro to decode",
        needs=("apt-get install kcat", "pip install fastavro"),
        runs="sh consumer.sh",
        needs_schema=True,
    ),
)
BY_ID: Final = {language.id: language for language in LANGUAGES}


def sample(language_id: str, channel: ChannelView, group: GroupView | None, endpoint: Endpoint) -> Sample:
    """The program for a group of a channel at a listener."""
    language = BY_ID[language_id]
    group_id = NO_GROUP if group is None else group.id
    account = NO_USERNAME if group is None else group.username
    values = {
        "topic": channel.topic,
        "endpoint": endpoint.address,
        "group": group_id,
        "account": account,
        "login": f"{account}-{group_id}",
        "password": PASSWORD,
        "security": endpoint.security,
    }
    about = f"Reads the changes of channel {channel.id} ({channel.name})"
    if group is not None:
        about += f" as consumer group {group.id} ({group.name})"
    return Sample(language, filled(language_id, values, about), PASSWORD)


def filled(language_id: str, values: dict[str, str], about: str) -> str:
    """A template with literals of the language in place of its marks."""

    def fill(mark: re.Match[str]) -> str:
        return comment(about) if mark[1] == "about" else literal(language_id, values[mark[1]])

    return _MARK.sub(fill, _template(language_id))


@cache
def _template(language_id: str) -> str:
    name = f"{BY_ID[language_id].file_name}.txt"
    return Path(__file__).with_name(name).read_text("utf-8")
