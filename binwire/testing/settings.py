"""Settings of Kafka clients for a channel's group, ready to use: each in the words of its client.

All of them log in with SASL/PLAIN and begin at the beginning where the group has committed nothing, so that a test
misses nothing that was written before its consumer came.
"""

from __future__ import annotations

from typing import Any

_JAVA_BYTES = "org.apache.kafka.common.serialization.ByteArrayDeserializer"


class Settings:
    """Where a channel is and who may read it, in the words of each client."""

    bootstrap_servers: str
    topic: str
    sid: str
    """The consumer group's id, the only `group_id` that this channel's account may use."""
    username: str
    password: str

    @property
    def login(self) -> str:
        """The SASL user name, `<username>-<sid>`."""
        return f"{self.username}-{self.sid}"

    def kafka_python(self) -> dict[str, Any]:
        """Settings for kafka-python's `KafkaConsumer(channel.topic, group_id=channel.sid, **settings)`."""
        return {**self._for_python(), "api_version": (1, 0, 0)}

    def aiokafka(self) -> dict[str, Any]:
        """Settings for aiokafka's `AIOKafkaConsumer(channel.topic, group_id=channel.sid, **settings)`."""
        return self._for_python()

    def confluent(self) -> dict[str, Any]:
        """Settings for confluent-kafka's `Consumer(settings)`, and for whatever else stands on librdkafka."""
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanisms": "PLAIN",
            "sasl.username": self.login,
            "sasl.password": self.password,
            "group.id": self.sid,
            "auto.offset.reset": "earliest",
        }

    def java_properties(self) -> str:
        """The text of a properties file for Java's `KafkaConsumer` from 0.10.2 on, and for Kafka's own tools."""
        jaas = (
            "org.apache.kafka.common.security.plain.PlainLoginModule required "
            f"username={_quoted(self.login)} password={_quoted(self.password)};"
        )
        settings = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.jaas.config": jaas,
            "group.id": self.sid,
            "auto.offset.reset": "earliest",
            "key.deserializer": _JAVA_BYTES,
            "value.deserializer": _JAVA_BYTES,
        }
        return "".join(f"{name}={_property(value)}\n" for name, value in settings.items())

    def env(self) -> dict[str, str]:
        """Environment variables for a consumer that is a process of its own, as `binwire bench client` gives them."""
        host, _, port = self.bootstrap_servers.rpartition(":")
        return {
            "BINWIRE_BOOTSTRAP": self.bootstrap_servers,
            "BINWIRE_HOST": host,
            "BINWIRE_PORT": port,
            "BINWIRE_TOPIC": self.topic,
            "BINWIRE_GROUP": self.sid,
            "BINWIRE_USERNAME": self.login,
            "BINWIRE_PASSWORD": self.password,
        }

    def _for_python(self) -> dict[str, Any]:
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": self.login,
            "sasl_plain_password": self.password,
            "auto_offset_reset": "earliest",
        }


def _quoted(value: str) -> str:
    """A value as JAAS reads it."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _property(value: str) -> str:
    """A value as `java.util.Properties` reads it, which takes bytes for Latin-1."""
    return "".join(letter if " " <= letter <= "~" else _escaped(letter) for letter in value.replace("\\", "\\\\"))


def _escaped(letter: str) -> str:
    units = letter.encode("utf-16-be")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))
