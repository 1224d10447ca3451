"""The OpenAPI 3.1 description of the REST interface, made from the operations.

Invariant: what it says of a path, a parameter or a body is what `rest.py` takes, because both are made of the same rows
and structs. Schemas are msgspec's; a `Secret` is a text that is only ever written.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broker.config import Secret
from broker.console.rest import PREFIX, WITHOUT_BODY
from broker.console.slices import JSON
from broker.operations.operation import HTTP_STATUS, Download, Refusal
from broker.operations.table import OPERATIONS

if TYPE_CHECKING:
    from broker.operations.operation import Operation

REFERENCE: Final = "#/components/schemas/{name}"
ABOUT: Final = (
    "What the console and the `binwire` command do, as an interface. Times end in `_ms` (Unix epoch), durations in "
    "`_s` or `_ms`. A refusal is one sentence for people in `error` and a word for programs in `refusal`. Where a "
    "password or tokens are configured, send a token: `Authorization: Bearer …`."
)


class Refused(msgspec.Struct, frozen=True):
    """Why something was not done."""

    error: str
    refusal: str
    field: str | None
    details: Any


@cache
def description(*, needs_token: bool = True) -> dict[str, Any]:
    """The document; `needs_token`: nobody is answered without one."""
    # Of results msgspec is asked once, so that kinds of the same name get names that tell them apart.
    results = [Refused if each.result is Download else each.result for each in OPERATIONS]
    kinds = [*results, *(each.arguments for each in OPERATIONS), Refused]
    schemas, components = msgspec.json.schema_components(kinds, schema_hook=_special, ref_template=REFERENCE)
    names = [schema.get("$ref", "").rpartition("/")[2] for schema in schemas]
    components[names[-1]]["properties"]["refusal"]["enum"] = [each.value for each in Refusal]
    arguments = names[len(results) : -1]
    paths: dict[str, dict[str, Any]] = {}
    for operation, result, name in zip(OPERATIONS, schemas, arguments, strict=False):
        entry = paths.setdefault(PREFIX + operation.path, {})
        entry[operation.method.lower()] = _described(operation, components[name], result)
    _forget_unused(paths, components, set(arguments))
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Binwire",
            "version": version("binwire"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": subject} for subject in dict.fromkeys(each.subject for each in OPERATIONS)],
        "security": [{"token": []}] if needs_token else [],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "responses": {"refused": _content(JSON, schemas[-1], "It was not done.")},
        },
    }
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(document))  # tuples of defaults are lists then
    return found


def _described(operation: Operation, schema: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    in_path = re.findall(r"\{(\w+)\}", operation.path)
    required = [name for name in schema.get("required", ()) if name not in in_path]
    others = {name: each for name, each in schema["properties"].items() if name not in in_path}
    statuses = sorted({str(status) for status in HTTP_STATUS.values()})
    found: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.subject],
        "summary": operation.summary,
        "parameters": [_parameter("path", name, schema["properties"][name], required=True) for name in in_path],
        "responses": {
            "200": _answer(operation, result),
            **{status: {"$ref": "#/components/responses/refused"} for status in statuses},
        },
    }
    if operation.handler.__doc__:
        found["description"] = re.sub(r"\s+", " ", operation.handler.__doc__).strip()
    if operation.method in WITHOUT_BODY:
        found["parameters"] += [
            _parameter("query", name, each, required=name in required) for name, each in others.items()
        ]
    else:
        body = {"type": "object", "properties": others, "required": required}
        if "additionalProperties" in schema:
            body["additionalProperties"] = schema["additionalProperties"]
        found["requestBody"] = {"required": bool(required), "content": {JSON: {"schema": body}}}
    return found


def _parameter(place: str, name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """A value that is written as text: what may be nothing is left out then."""
    if "anyOf" in schema:
        kinds = [each for each in schema["anyOf"] if each != {"type": "null"}]
        rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
        schema = {**kinds[0], **rest} if len(kinds) == 1 else {"anyOf": kinds, **rest}
    if place == "path" and schema.get("type") == "string":
        schema = {"minLength": 1, **schema}
    return {"name": name, "in": place, "required": required, "schema": schema}


def _answer(operation: Operation, schema: dict[str, Any]) -> dict[str, Any]:
    if operation.result is Download:
        return _content("application/octet-stream", {"type": "string", "format": "binary"}, "The bytes.")
    return _content(JSON, schema, "Done.")


def _content(media_type: str, schema: dict[str, Any], about: str) -> dict[str, Any]:
    return {"description": about, "content": {media_type: {"schema": schema}}}


def _special(kind: type) -> dict[str, Any]:
    if kind is Secret:
        return {"type": "string", "format": "password", "writeOnly": True}
    raise NotImplementedError(kind)


def _forget_unused(paths: dict[str, Any], components: dict[str, Any], names: set[str]) -> None:
    """Arguments are described where they are given: those that nothing refers to go."""
    for name in sorted(names):
        if f'"{REFERENCE.format(name=name)}"' not in msgspec.json.encode([paths, components]).decode():
            del components[name]
