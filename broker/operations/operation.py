"""What an operation is, how it is called, and how it says no.

Invariants: a handler sees arguments that fit their struct; whatever is refused is one `OperationError` with one
sentence for people and a refusal for programs; a call that changes something is told to the audit log, whether it
succeeded or was refused, without any `Secret`.

Left to others: transports (`broker/console/`, `broker/control.py`), what a handler does.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from broker.config import Secret
from broker.config_rules import ConfigError
from storage.errors import StorageError

if TYPE_CHECKING:
    from broker.operations.plane import ControlPlane

ENCODED_DEPTH: Final = 3
"""Down to here a result is encoded part by part: the fields of the items of a list of the result."""
_MSGSPEC_PATH: Final = re.compile(r" - at `\$\.?(.*)`\Z")


class Refusal(StrEnum):
    """Why an operation was not done; `HTTP_STATUS` has the status of each."""

    INVALID = "invalid"
    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    NOT_ALLOWED_NOW = "not_allowed_now"
    DEFINED_BY_FILE = "defined_by_file"
    PRECHECK_FAILED = "precheck_failed"
    LIMIT_REACHED = "limit_reached"
    TOO_LARGE = "too_large"
    UNSUPPORTED_TYPE = "unsupported_type"
    TOO_MANY_REQUESTS = "too_many_requests"
    SOURCE_UNAVAILABLE = "source_unavailable"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    FAILED = "failed"


HTTP_STATUS: Final = {
    Refusal.INVALID: 400,
    Refusal.UNAUTHENTICATED: 401,
    Refusal.FORBIDDEN: 403,
    Refusal.NOT_FOUND: 404,
    Refusal.NOT_ALLOWED_NOW: 409,
    Refusal.DEFINED_BY_FILE: 409,
    Refusal.PRECHECK_FAILED: 409,
    Refusal.LIMIT_REACHED: 409,
    Refusal.TOO_LARGE: 413,
    Refusal.UNSUPPORTED_TYPE: 415,
    Refusal.TOO_MANY_REQUESTS: 429,
    Refusal.SOURCE_UNAVAILABLE: 502,
    Refusal.STORAGE_UNAVAILABLE: 503,
    Refusal.FAILED: 500,
}


class OperationError(Exception):
    """An operation was not done; the message is one sentence. `field` names the argument that is to blame, if one is;
    `details` are for programs, as the failed items of a precheck.
    """

    def __init__(self, refusal: Refusal, sentence: str, *, field: str | None = None, details: Any = None) -> None:
        super().__init__(sentence)
        self.refusal = refusal
        self.field = field
        self.details = details


class Caller(Struct, frozen=True):
    """Who asks: a name for the audit log, by which way (`console`, `api`, `command`), and from which address."""

    name: str
    way: str
    origin: str


class Operation(Struct, frozen=True):
    """One row. `path` is below `/api/v1`; its `{names}` are fields of `arguments`, the other fields come from the query
    of a GET or DELETE and from the JSON body of what else. `is_change`: it is told to the audit log.
    """

    name: str
    method: str
    path: str
    subject: str
    summary: str
    arguments: type[Struct]
    result: Any
    handler: Callable[[ControlPlane, Any], Awaitable[Any]]
    is_change: bool = False


class NoArguments(Struct, frozen=True, forbid_unknown_fields=True):
    """Of an operation that takes nothing."""


class Done(Struct, frozen=True):
    """Of an operation that has nothing to give but that it is done, and what that means, in one sentence."""

    message: str


class Download(NamedTuple):
    """Of an operation that gives bytes as a file; over the control socket it is refused. `name` is ASCII."""

    name: str
    media_type: str
    size_bytes: int | None
    pieces: AsyncIterator[bytes]


async def call(
    plane: ControlPlane, operation: Operation, given: Mapping[str, Any], caller: Caller, *, typed: bool = True
) -> Any:
    """Do it; the result is an instance of `operation.result`. `typed` False: values are text, as in a query or a form.

    Raises OperationError.
    """
    arguments = read_arguments(operation.arguments, given, typed=typed)
    refusal: OperationError | None = None
    try:
        return await operation.handler(plane, arguments)
    except OperationError as error:
        refusal = error
        raise
    except ConfigError as error:
        refusal = OperationError(Refusal.INVALID, str(error))
        raise refusal from None
    except StorageError as error:
        refusal = OperationError(Refusal.STORAGE_UNAVAILABLE, str(error))
        raise refusal from None
    except Exception as error:
        # Not the error's own words: what they hold nobody knows.
        refusal = OperationError(Refusal.FAILED, f"it failed by a mistake in Binwire ({type(error).__name__})")
        raise
    finally:
        if operation.is_change:
            await plane.audit.note(operation.name, arguments, caller, refusal)


def read_arguments(kind: type[Struct], given: Mapping[str, Any], *, typed: bool) -> Any:
    """What was given as the struct it is to be; OperationError that names the field if it is not."""
    try:
        return msgspec.convert(dict(given), kind, strict=typed, dec_hook=_secret)
    except msgspec.ValidationError as error:
        told = str(error)
        if told.startswith("Object contains unknown field") and _MSGSPEC_PATH.search(told) is None:
            allowed = ", ".join(kind.__struct_encode_fields__)
            told += f"; allowed are {allowed}" if allowed else "; there are none"
        raise _invalid(told, None) from None


def read_text(name: str, kind: Any, text: str | list[str]) -> Any:
    """The value of one argument, of a path or a query, as what it is to be; OperationError that names it if it is not.

    What it is to be may be more than its type says: `read_arguments` looks at all of them together.
    """
    try:
        return msgspec.convert(text, kind, strict=False, dec_hook=lambda _, value: value)
    except msgspec.ValidationError as error:
        raise _invalid(str(error), name) from None


def _invalid(text: str, field: str | None) -> OperationError:
    """A refusal of msgspec's, with the path of what is to blame in front."""
    match = _MSGSPEC_PATH.search(text)
    told = text if match is None else text[: match.start()]
    if field is None and match is not None and match[1]:
        field = match[1]
    return OperationError(Refusal.INVALID, f"{field}: {told}" if field else told, field=field)


def builtins(result: Any) -> Any:
    """A result in the form of JSON."""
    return msgspec.to_builtins(result, enc_hook=_no_secret)


def encoded(result: Any) -> Iterator[bytes]:
    """A result as JSON, in pieces that are small where the result has many parts."""
    yield from _encoded(result, 0)


def _encoded(value: Any, depth: int) -> Iterator[bytes]:
    if depth < ENCODED_DEPTH and isinstance(value, (list, tuple)) and not hasattr(value, "_fields") and value:
        between = b"["
        for item in value:
            yield between
            yield from _encoded(item, depth + 1)
            between = b","
        yield b"]"
    elif depth < ENCODED_DEPTH and isinstance(value, Struct) and _is_plain(type(value)):
        between = b"{"
        for name in type(value).__struct_fields__:
            yield between + msgspec.json.encode(name) + b":"
            yield from _encoded(getattr(value, name), depth + 1)
            between = b","
        yield b"}"
    else:
        yield msgspec.json.encode(value, enc_hook=_no_secret)


def _is_plain(kind: type[Struct]) -> bool:
    """Whether JSON has exactly the fields of this struct, under their names."""
    config = kind.__struct_config__
    is_renamed = kind.__struct_encode_fields__ != kind.__struct_fields__
    is_special = config.tag is not None or config.array_like or config.omit_defaults or is_renamed
    return bool(kind.__struct_fields__) and not is_special


def refusal_document(error: OperationError) -> dict[str, Any]:
    """A refusal in the form of JSON."""
    return {
        "error": str(error),
        "refusal": error.refusal.value,
        "field": error.field,
        "details": builtins(error.details),
    }


def _secret(kind: type, value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise ValueError("Expected `str`")


def _no_secret(value: Any) -> Any:
    if isinstance(value, Secret):
        raise AssertionError("a secret is in a result")
    raise NotImplementedError(type(value).__name__)
