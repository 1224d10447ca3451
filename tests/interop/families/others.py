"""Clients of further languages, and a REST proxy."""

from __future__ import annotations

from tests.interop.client import Client

CLIENTS: tuple[Client, ...] = ()
