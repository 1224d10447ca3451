"""Sample code: a whole consumer of this channel in each language, and the Avro schema of what it reads.

A sample has the values of a group and of a listener, never a password: `placeholder` stands where it goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec import json
from starlette.responses import Response
from starlette.routing import Route

from broker.console.pages.base import view
from broker.console.rendering import page_call
from broker.samples import Sample, SampleLanguage

if TYPE_CHECKING:
    from starlette.requests import Request

SCHEMA_FILE: Final = "record.avsc"


async def samples(request: Request) -> Response:
    """One language's program, and which others there are."""
    channel_id = request.path_params["channel_id"]
    channel = await page_call(request, "show_channel", {"channel_id": channel_id})
    languages: tuple[SampleLanguage, ...] = await page_call(request, "list_samples", {"channel_id": channel_id})
    return view(
        request,
        "samples.html",
        tab="samples",
        channel=channel,
        sample_languages=languages,
        sample=await _sample(request, languages[0].id),
        group_id=request.query_params.get("group", ""),
    )


async def download(request: Request) -> Response:
    """The program as the file that it is to be."""
    sample = await _sample(request, request.path_params["language"])
    return _file(sample.language.file_name, "text/plain; charset=utf-8", sample.text.encode())


async def schema(request: Request) -> Response:
    """The Avro schema as a file."""
    document = await page_call(request, "show_schema")
    return _file(SCHEMA_FILE, "application/json", json.format(json.encode(document), indent=2))


async def _sample(request: Request, usual: str) -> Sample:
    given = {
        "channel_id": request.path_params["channel_id"],
        "language": request.path_params.get("language") or request.query_params.get("language") or usual,
    }
    if group_id := request.query_params.get("group"):
        given["group_id"] = group_id
    sample: Sample = await page_call(request, "show_sample", given)
    return sample


def _file(name: str, kind: str, content: bytes) -> Response:
    return Response(content, headers={"Content-Type": kind, "Content-Disposition": f'attachment; filename="{name}"'})


ROUTES: Final = (
    Route("/channels/{channel_id}/samples", samples),
    Route("/channels/{channel_id}/samples/{language}", download),
    Route("/schema", schema),
)
