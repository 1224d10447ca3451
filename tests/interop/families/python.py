"""Pure Python: kafka-python and aiokafka, each version in an environment of its own."""

from __future__ import annotations

import sys
from functools import partial

from tests.interop.client import Client, Command
from tests.tools import venvs
from tests.tools.workplace import ToolError

# What an environment holds beside the client: pinned, because a client of its day breaks on a later companion.
_KAFKA_PYTHON_OF_AIOKAFKA = "kafka-python==2.0.2"
_REQUIREMENTS = {
    "kafka-python-1.4.7": ("kafka-python==1.4.7",),
    "kafka-python-2.0.2": ("kafka-python==2.0.2",),
    "kafka-python-2.3.3": ("kafka-python==2.3.3",),
    "kafka-python-3.0.12": ("kafka-python==3.0.12",),
    "aiokafka-0.7.2": ("aiokafka==0.7.2", _KAFKA_PYTHON_OF_AIOKAFKA),
    "aiokafka-0.14.0": ("aiokafka==0.14.0", "async-timeout==5.0.1", "packaging==26.3", "typing-extensions==4.16.0"),
}
# The six that kafka-python carries until 2.0.2 relies on an importer interface that Python 3.12 dropped; aiokafka 0.7.2
# is built from Cython's output for earlier versions.
_BEFORE_PYTHON_312 = ("kafka-python-1.4.7", "kafka-python-2.0.2", "aiokafka-0.7.2")


def _command(name: str, program: str) -> Command:
    if sys.version_info >= (3, 12) and name in _BEFORE_PYTHON_312:
        raise ToolError(f"{name} does not run on Python 3.12 and newer, and this is {sys.version.split()[0]}")
    python = venvs.ensure(name, _REQUIREMENTS[name]) / "bin" / "python"
    return (str(python), "-m", f"tests.interop.python.{program}")


_kafka_python = partial(partial, _command, program="kafka_python_scenarios")
_aiokafka = partial(partial, _command, program="aiokafka_scenarios")

CLIENTS = (
    Client(
        "kafka-python-1.4.7",
        "python",
        _kafka_python("kafka-python-1.4.7"),
        wrong_password="NoBrokersAvailable",
        foreign_group="InvalidGroupIdError",
    ),
    Client(
        "kafka-python-2.0.2",
        "python",
        _kafka_python("kafka-python-2.0.2"),
        representative=True,
        wrong_password="NoBrokersAvailable",
        foreign_group="InvalidGroupIdError",
    ),
    Client(
        "kafka-python-2.3.3",
        "python",
        _kafka_python("kafka-python-2.3.3"),
        foreign_group="InvalidGroupIdError",
    ),
    Client(
        "kafka-python-3.0.12",
        "python",
        _kafka_python("kafka-python-3.0.12"),
        wrong_password="KafkaTimeoutError: Unable to bootstrap",
        foreign_group="InvalidGroupIdError",
    ),
    Client(
        "aiokafka-0.7.2",
        "python",
        _aiokafka("aiokafka-0.7.2"),
        not_applicable={"commit": "neither its consumer nor its admin client shows the metadata of a committed offset"},
        wrong_password="KafkaConnectionError",
        foreign_group="InvalidGroupIdError",
    ),
    Client(
        "aiokafka-0.14.0",
        "python",
        _aiokafka("aiokafka-0.14.0"),
        wrong_password="KafkaConnectionError",
        foreign_group="InvalidGroupIdError",
    ),
)
