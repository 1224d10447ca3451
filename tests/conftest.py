"""Fixtures every test may use: real servers, started on first use and shared by the whole run.

``mysql97``, ``mysql56`` and ``mariadb1011`` are running servers (:class:`tests.live_server.LiveServer`); ``server``
runs a test once on each of them, ``every_server`` also on those that only `make torture` starts; ``server_factory``
starts one of the test's own, with other options. A test that uses any of them carries the marker ``server(kind)``, so
that ``-m "not server"`` runs without databases.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator

import hypothesis
import pytest

from tests.installed import Distribution
from tests.live_server import LiveServer, open_server
from tests.tools.server_builds import CORE_KINDS, KINDS

ServerFactory = Callable[..., LiveServer]

OPEN_FILES_MAX = 1024

collect_ignore = ["examples"]
"""Projects of their own, run as such by `tests/interop/test_examples.py`."""


def pytest_configure() -> None:
    """Allow no more open files than a login on a stranger's machine has, so that a leak shows everywhere; and let an
    example take its time: how long one takes on a busy machine proves nothing.
    """
    hypothesis.settings.register_profile("binwire", deadline=None)
    hypothesis.settings.load_profile("binwire")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, OPEN_FILES_MAX), hard))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the servers its fixtures ask for."""
    for item in items:
        for name in getattr(item, "fixturenames", ()):
            if name in KINDS:
                item.add_marker(pytest.mark.server(name))


def _shared(kind: str) -> Iterator[LiveServer]:
    server = open_server(kind)
    yield server
    server.close()


@pytest.fixture(scope="session")
def mysql97() -> Iterator[LiveServer]:
    """MySQL 9.7: GTIDs on, row metadata minimal, TLS, caching_sha2_password."""
    yield from _shared("mysql97")


@pytest.fixture(scope="session")
def mysql56() -> Iterator[LiveServer]:
    """MySQL 5.6: no GTIDs, no row metadata, native passwords; latin1 unless a table says otherwise."""
    yield from _shared("mysql56")


@pytest.fixture(scope="session")
def mariadb1011() -> Iterator[LiveServer]:
    """MariaDB 10.11 with its own GTIDs and no row metadata."""
    yield from _shared("mariadb1011")


@pytest.fixture(scope="session")
def mysql55() -> Iterator[LiveServer]:
    """MySQL 5.5: rows events of version 1, no checksums, whole seconds only."""
    yield from _shared("mysql55")


@pytest.fixture(scope="session")
def mariadb105() -> Iterator[LiveServer]:
    """MariaDB 10.5."""
    yield from _shared("mariadb105")


@pytest.fixture(scope="session")
def mariadb118() -> Iterator[LiveServer]:
    """MariaDB 11.8: the types and collations of the newest line."""
    yield from _shared("mariadb118")


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.server(kind)) for kind in CORE_KINDS])
def server(request: pytest.FixtureRequest) -> LiveServer:
    """Each kind of server of the core suite in turn."""
    shared: LiveServer = request.getfixturevalue(request.param)
    return shared


def _marks(kind: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.server(kind), *([] if kind in CORE_KINDS else [pytest.mark.torture])]


@pytest.fixture(params=[pytest.param(kind, marks=_marks(kind)) for kind in KINDS])
def every_server(request: pytest.FixtureRequest) -> LiveServer:
    """Each kind of server in turn; those beyond the core suite in `make torture`."""
    shared: LiveServer = request.getfixturevalue(request.param)
    return shared


@pytest.fixture
def server_factory() -> Iterator[ServerFactory]:
    """Start servers of the test's own, ``server_factory("mysql56", "--binlog-checksum=NONE")``, which end with it."""
    started: list[LiveServer] = []

    def start(kind: str, *options: str) -> LiveServer:
        started.append(open_server(kind, options))
        return started[-1]

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def distribution(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """The wheel and the sdist of this checkout."""
    return Distribution(tmp_path_factory.mktemp("distribution"))
