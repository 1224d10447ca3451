"""Binwire: a MySQL binlog as a Kafka topic, without Kafka.

The front door, and the only package users import. It needs nothing but the standard library, its plugin of pytest that
and pytest; the server itself runs in its own process (`python -m binwire`, or `binwire.testing.EmbeddedBroker`).
"""

__version__ = "0.1.0"
