"""What the tests know of wire messages in general: their values as plain tuples, and strategies that make them up."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from broker.apis import APIS, Api
from broker.wire import BOOLEAN, Array, Fixed, Message, Sized, Type

EVERY_VERSION = [(api, version) for api in APIS.values() for version in range(api.max_version + 1)]
EVERY_SHAPE = [(cls, version) for api, version in EVERY_VERSION for cls in (api.request, api.response)]


def name_of(value: object) -> str | None:
    """Test ids."""
    if isinstance(value, Api):
        return value.name
    if isinstance(value, type):
        return value.__name__
    return f"v{value}" if isinstance(value, int) else None


def fields_of(cls: type[Message], version: int) -> list[tuple[str, Type]]:
    """The (name, type) of the fields that a version has, in wire order."""
    return [(name, field.type) for name, field in cls.fields.items() if field.is_in(version)]


def as_tuple(value: Any, version: int) -> Any:
    """A message as nested tuples of the fields that its version has.

    What takes no bytes is left out: a message that is a field is spliced in, one with a single field in a list is bare.
    """
    if isinstance(value, Message):
        flat: list[Any] = []
        for name, type_ in fields_of(type(value), version):
            each = as_tuple(getattr(value, name), version)
            flat += each if isinstance(type_, type) else [each]
        return tuple(flat)
    if isinstance(value, list):
        items = [as_tuple(each, version) for each in value]
        return tuple(item[0] if isinstance(item, tuple) and len(item) == 1 else item for item in items)
    return value


def messages(cls: type[Message], version: int) -> st.SearchStrategy[Message]:
    """Messages of a version; fields that it lacks keep their defaults."""
    fields = {name: values(type_, version) for name, type_ in fields_of(cls, version)}
    return st.builds(cls, **fields)


def values(type_: Type, version: int) -> st.SearchStrategy[Any]:
    """Values of a wire type."""
    if type_ is BOOLEAN:
        return st.booleans()
    if isinstance(type_, Fixed):
        limit = 1 << (8 * type_.size_bytes - 1)
        return st.integers(-limit, limit - 1)
    if isinstance(type_, Sized):
        plain: st.SearchStrategy[Any] = st.text(max_size=12) if type_.text else st.binary(max_size=12)
        return st.none() | plain if type_.nullable else plain
    if isinstance(type_, Array):
        items = st.lists(values(type_.element, version), max_size=3)
        return st.none() | items if version >= type_.nullable_since else items
    return messages(type_, version)
