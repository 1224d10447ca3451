"""A running server's operations as commands call them: over its control socket, or at its HTTP address.

The socket belongs to whoever may read the data directory and asks for nothing more. An address (`--url`) takes a token
where the server wants one: from the environment's `BINWIRE_TOKEN`, or from a file. A certificate is verified against
the machine's trust store (`SSL_CERT_FILE` names another), and a token never travels in clear text to another machine.

Blocking, for commands. What the server refuses is an `OperationError` with its own sentence; what keeps it from being
asked a `ControlError`.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from broker.control import ControlError, ask
from broker.listener import Address
from broker.operations.operation import OperationError, Refusal
from broker.operations.table import BY_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broker.operations.operation import Operation

TOKEN_VARIABLE: Final = "BINWIRE_TOKEN"  # noqa: S105 - its name
PREFIX: Final = "/api/v1"
ANSWER_TIMEOUT_S: Final = 120  # a precheck of a slow source takes the longest


class Local(msgspec.Struct, frozen=True):
    """The server on a data directory of this machine."""

    data_directory: Path

    def call(self, operation: Operation, given: Mapping[str, Any]) -> Any:
        """Its answer, a JSON document. Raises OperationError or ControlError."""
        request = {"request": "operation", "name": operation.name, "arguments": dict(given)}
        try:
            [answer] = ask(self.data_directory / "control.sock", request)
        except ControlError as error:
            raise error if error.answer is None else refusal_of(error.answer) from None
        return answer["result"]


class Web(msgspec.Struct, frozen=True):
    """The server at an address such as `https://binwire.example.org:18080`."""

    url: str
    token: str | None

    def call(self, operation: Operation, given: Mapping[str, Any]) -> Any:
        """Its answer, a JSON document. Raises OperationError or ControlError."""
        target, body = _request(operation, given)
        connection = _connection(self.url, has_token=self.token is not None)
        headers = {"Accept": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(operation.method, urlsplit(self.url).path.rstrip("/") + target, body, headers)
            response = connection.getresponse()
            text = response.read()
        except ssl.SSLCertVerificationError as error:
            why = error.verify_message
            raise ControlError(f"{self.url} cannot be trusted: {why}; SSL_CERT_FILE may name its CA's file") from None
        except (OSError, http.client.HTTPException) as error:
            raise ControlError(f"{self.url} cannot be asked: {_why(error)}") from None
        finally:
            connection.close()
        return _answer(self.url, response.status, text)


Place = Local | Web


def web(url: str, token_file: Path | None, environment: Mapping[str, str] = os.environ) -> Web:
    """The server at an address, with the token of the file or else of the environment. Raises ControlError."""
    if token_file is None:
        return Web(url, environment.get(TOKEN_VARIABLE) or None)
    try:
        token = token_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ControlError(f"the token file {token_file} cannot be read: {why}") from None
    return Web(url, token)


def call(place: Place, name: str, given: Mapping[str, Any]) -> Any:
    """Do an operation there; the result is an instance of what the operation gives.

    Raises OperationError or ControlError.
    """
    operation = BY_NAME[name]
    document = place.call(operation, given)
    try:
        return msgspec.convert(document, operation.result)
    except msgspec.ValidationError as error:
        raise ControlError(f"the server answers {name} in another form ({error}); is it another version?") from None


def _request(operation: Operation, given: Mapping[str, Any]) -> tuple[str, bytes | None]:
    """The target of a request and its body."""
    rest = dict(given)
    steps = operation.path.split("/")
    for index, step in enumerate(steps):
        if step.startswith("{"):
            # A segment of its own whatever it holds: `.` and `..` would be taken for steps of the path.
            steps[index] = quote(str(rest.pop(step[1:-1])), safe="").replace(".", "%2E")
    target = PREFIX + "/".join(steps)
    if operation.method not in ("GET", "DELETE"):
        return target, json.dumps(rest).encode()
    pairs = {key: _query(value) for key, value in rest.items() if value is not None}
    return (f"{target}?{urlencode(pairs)}" if pairs else target), None


def _query(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _connection(url: str, *, has_token: bool) -> http.client.HTTPConnection:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise ControlError(
            f"{url!r} is not an address of a server; write one such as https://binwire.example.org:18080"
        )
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, port, timeout=ANSWER_TIMEOUT_S, context=context)
    if has_token and not Address(host, 0).is_loopback:
        raise ControlError(f"the token would go to {host} in clear text; use https://")
    return http.client.HTTPConnection(host, port, timeout=ANSWER_TIMEOUT_S)


def _answer(url: str, status: int, text: bytes) -> Any:
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if status == http.HTTPStatus.OK and document is not None:
        return document
    if not isinstance(document, dict) or not isinstance(document.get("error"), str):
        raise ControlError(f"{url} answers with status {status} and nothing that a Binwire server says; is it one?")
    if document.get("refusal") == Refusal.UNAUTHENTICATED:
        raise ControlError(
            f"{url}: {document['error']}; put a token into the environment as {TOKEN_VARIABLE}, or name its file with "
            "--token-file"
        )
    raise refusal_of(document)


def refusal_of(document: Mapping[str, Any]) -> Exception:
    """What a server answered instead of a result."""
    kinds = [kind for kind in Refusal if kind.value == document.get("refusal")]
    if not kinds:
        return ControlError(str(document["error"]))
    return OperationError(kinds[0], document["error"], field=document.get("field"), details=document.get("details"))


def _why(error: Exception) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it does not speak HTTP"
