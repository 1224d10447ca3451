"""Metrics and health over HTTP.

    GET /metrics     Prometheus' text; with login where there is one
    GET /healthz     200: the server is alive and can write what it has to keep; 503: it cannot
    GET /readyz      200: that, and Kafka clients are served; 503: not. With `?channel=ID` (one or several, with login)
                     also only if each of these channels is in state Normal

The bodies are JSON: `is_well`, `meaning` as a sentence, and `checks`, of which each says what it `found` if that is not
well. Who is not logged in where that is needed is told the same without names, paths and reasons. What the answers mean
is `broker/health.py`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import Response
from starlette.routing import Route

from broker.console import rest
from broker.console.access import access_of
from broker.metrics import CONTENT_TYPE
from broker.operations.operation import OperationError, Refusal, builtins
from broker.watching import Watching

if TYPE_CHECKING:
    from starlette.requests import Request

    from broker.health import Verdict

UNWELL: Final = 503


def _watching(request: Request) -> Watching:
    watching = request.app.state.plane.watching
    assert isinstance(watching, Watching)
    return watching


async def _metrics(request: Request) -> Response:
    text = await _watching(request).metrics()
    return Response(text, headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"})


async def _healthz(request: Request) -> Response:
    return _answered(request, await _watching(request).health.healthy())


async def _readyz(request: Request) -> Response:
    wanted = request.query_params.getlist("channel")
    if wanted and not access_of(request).is_admitted:
        raise OperationError(Refusal.UNAUTHENTICATED, "channels are asked for with a login or a token")
    return _answered(request, await _watching(request).health.ready(wanted))


def _answered(request: Request, verdict: Verdict) -> Response:
    shown = verdict if access_of(request).is_admitted else verdict.public()
    response = rest.json_response(builtins(shown), 200 if verdict.is_well else UNWELL)
    response.headers["cache-control"] = "no-store"
    return response


ROUTES: Final = (Route("/metrics", _metrics), Route("/healthz", _healthz), Route("/readyz", _readyz))
