"""Settings of Kafka clients for a channel's group, ready to use."""

from __future__ import annotations

from typing import Any


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
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": self.login,
            "sasl_plain_password": self.password,
            "auto_offset_reset": "earliest",
            "api_version": (1, 0, 0),
        }
