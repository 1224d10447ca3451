"""What is made once and kept, and configuration in the form in which the parts take it.

Ids are given when something is first seen and stay: the cluster's, a channel's server id and id base, a group's id. The
catalog keeps them; a configuration that names its own wins.
"""

from __future__ import annotations

import base64
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broker.config_rules import ConfigError
from broker.listener import Listener, Security, address_range
from storage.catalog import ChannelRow
from storage.config import LogConfig

if TYPE_CHECKING:
    from broker.certificate import ServerCertificate
    from broker.config import ChannelConfig, ListenerConfig
    from storage.catalog import Catalog
    from storage.clock import Clock

GROUP_ID_PREFIX: Final = "dts"  # the service's sid is `dts` and a random part
GROUP_ID_CHARACTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
SERVER_ID_MIN: Final = 1 << 30  # a random server id keeps clear of those that people number by hand
SERVER_ID_MAX: Final = (1 << 32) - 1
ID_BASE_MAX: Final = 1 << 28  # record ids start anywhere, so that nobody takes an id for an offset


def new_channel_row(channel_id: str, topic: str, clock: Clock) -> ChannelRow:
    """The catalog's row for a channel seen for the first time; name, source and objects are still to be filled in."""
    return ChannelRow(
        id=channel_id,
        name=channel_id,
        topic=topic,
        source="",
        server_id=random.randrange(SERVER_ID_MIN, SERVER_ID_MAX),
        start=None,
        objects="[]",
        id_base=random.randrange(ID_BASE_MAX),
        created_ms=clock.now_ms(),
        state="Not Started",
        reason=None,
    )


def listener(config: ListenerConfig, path: str, clock: Clock) -> Listener:
    """A listener as the broker takes it; `ConfigError` under `path` if its certificate cannot be used."""
    return Listener(
        name=config.name,
        bind=config.bind_address,
        security=Security(config.security),
        advertised=config.advertised_address,
        allow_anonymous=config.allow_anonymous,
        certificate=_certificate(config, path, clock),
        allow_from=tuple(address_range(text) for text in config.allow_from or ()),
        dts_quirks=config.dts_quirks,
    )


def _certificate(config: ListenerConfig, path: str, clock: Clock) -> ServerCertificate | None:
    if config.tls_cert is None or config.tls_key is None:
        return None
    # Imported where there is TLS: a certificate is read with a package that takes 60 ms to load.
    from broker.certificate import CertificateError, ServerCertificate

    try:
        return ServerCertificate(Path(config.tls_cert), Path(config.tls_key), clock, _told_host(config))
    except CertificateError as error:
        raise ConfigError(f"{path}.{error.key}: {error}") from None


def _told_host(config: ListenerConfig) -> str | None:
    """The host that Metadata tells the clients of a listener, None if it is the address they came in on."""
    if config.advertised_address is not None:
        return config.advertised_address.host
    if config.bind_address.host == "localhost":
        return "127.0.0.1"
    return config.bind_address.host if config.bind_address.is_of_one_host else None


def log_config(config: ChannelConfig) -> LogConfig:
    """The log of a channel as storage takes it."""
    return LogConfig(
        segment_bytes=config.segment_bytes,
        retention_ms=config.retention_ms,
        retention_bytes=config.retention_bytes,
        flush_interval_ms=config.flush_interval_ms,
        flush_bytes=config.flush_bytes,
        flush_before_visible=config.flush == "before-visible",
    )


def cluster_id(catalog: Catalog) -> str:
    """The cluster's id in Kafka's form, 22 characters; made once for each data directory."""
    kept = catalog.setting("cluster_id")
    if kept is None:
        kept = new_cluster_id()
        catalog.set_setting("cluster_id", kept)
    return kept


def new_cluster_id() -> str:
    """An id for a cluster, in Kafka's form."""
    return base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")


def new_group_id() -> str:
    """An id for a consumer group, in the service's form."""
    return GROUP_ID_PREFIX + "".join(random.SystemRandom().choices(GROUP_ID_CHARACTERS, k=15))
