"""Request frames as an attacker would write them: valid ones of every API and version, and what mutations make of them.

Everything follows from one seed. `Corpus.burst(number)` is the number-th connection's frames, the same in every run of
that seed: first whether it logs in, then requests, each changed by one or two of `MUTATIONS` or left as it is. Most
mutations keep the frame's size true, so that the requests behind it are read too; those that lie about the size end
the burst. Only field tables and the writer of `broker.wire` are used; what the server makes of a frame is not known
here.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from broker.apis import APIS, Api
from broker.wire import BOOLEAN, Array, Fixed, Message, Sized, Type, encode
from tests.broker.api_values import EVERY_VERSION, fields_of
from tests.broker.frames import frame

SIZE_BYTES = 4
CLIENT_ID = "test"
HEADER_BYTES = 10 + len(CLIENT_ID)  # key, version, correlation id, length of the client id, client id
FRAMES_PER_VERSION = 24
LOGGED_IN_SHARE = 0.85
UNCHANGED_SHARE = 0.2
TWICE_SHARE = 0.2
BURST_FRAMES_MAX = 24
SIZE_LIE_SHARE = 0.02
_TEXTS = ("", "x", "consumer", "range", "é☎", "a" * 300, "..", "no/legal name")
_NUMBERS = (0, 0, 0, 1, -1, -2, 2, 7, 1000, 6000, 30_000, 2**31 - 1, -(2**31), 1_700_000_000, 1_700_000_000_000)


@dataclass(frozen=True, slots=True)
class Burst:
    """One connection's bytes, after its login if it has one."""

    number: int
    logs_in: bool
    frames: tuple[bytes, ...]


class Corpus:
    """The frames of one seed. `topic` and `group` exist on the server and stand in many of them."""

    def __init__(self, seed: int, topic: str, group: str) -> None:
        self.seed = seed
        self._words = {"topic": topic, "group": group, "member": ""}
        chance = random.Random(seed)
        self._valid = [
            self._frame(chance, api, version) for api, version in EVERY_VERSION for _ in range(FRAMES_PER_VERSION)
        ]
        self._before_login = [each for each in self._valid if each[4:6] in (b"\0\x11", b"\0\x12", b"\0\x24")]

    def burst(self, number: int) -> Burst:
        """The frames of one connection."""
        chance = random.Random(self.seed << 40 | number)
        logs_in = chance.random() < LOGGED_IN_SHARE
        frames = [self.mutant(chance, logs_in=logs_in) for _ in range(chance.randint(1, BURST_FRAMES_MAX))]
        if chance.random() < SIZE_LIE_SHARE:
            frames.append(size_lie(chance, self.valid(chance, logs_in=logs_in)))
        return Burst(number, logs_in, tuple(frames))

    def valid(self, chance: random.Random, *, logs_in: bool = True) -> bytes:
        """A frame that nothing is wrong with, except perhaps its values."""
        return chance.choice(self._valid if logs_in or chance.random() < 0.1 else self._before_login)

    def mutant(self, chance: random.Random, *, logs_in: bool = True) -> bytes:
        """A frame whose size is true and whose content mostly is not."""
        changed = bytearray(self.valid(chance, logs_in=logs_in)[SIZE_BYTES:])
        if chance.random() >= UNCHANGED_SHARE:
            for _ in range(2 if chance.random() < TWICE_SHARE else 1):
                mutate = chance.choice(MUTATIONS)
                changed = mutate(chance, changed, self)
        return struct.pack(">i", len(changed)) + bytes(changed)

    def _frame(self, chance: random.Random, api: Api, version: int) -> bytes:
        body = encode(self._message(chance, api.request, version), version)
        return frame(api.key, version, chance.randrange(1 << 31), body, CLIENT_ID)

    def _message(self, chance: random.Random, cls: type[Message], version: int) -> Message:
        fields = fields_of(cls, version)
        return cls(**{name: self._value(chance, name, type_, version) for name, type_ in fields})

    def _value(self, chance: random.Random, name: str, type_: Type, version: int) -> Any:
        if isinstance(type_, Fixed):
            return _number(chance, name, type_)
        if isinstance(type_, Sized):
            if type_.nullable and chance.random() < 0.2:
                return None
            return self._text(chance, name) if type_.text else chance.randbytes(chance.choice((0, 4, 60)))
        if isinstance(type_, Array):
            if version >= type_.nullable_since and chance.random() < 0.2:
                return None
            return [self._value(chance, name, type_.element, version) for _ in range(chance.choice((0, 1, 1, 1, 2, 5)))]
        return self._message(chance, type_, version)

    def _text(self, chance: random.Random, name: str) -> str:
        likely = next((word for part, word in self._words.items() if part in name), "x")
        if name == "coordinator_key":
            likely = self._words["group"]
        if name == "mechanism":
            likely = "PLAIN"
        return likely if chance.random() < 0.7 else chance.choice(_TEXTS)


def _number(chance: random.Random, name: str, type_: Fixed) -> Any:
    """A number of the type, mostly one that lets the request go deep. Waits are short, so that bursts go on."""
    if type_ is BOOLEAN:
        return chance.random() < 0.5
    if name == "max_wait_time" and chance.random() < 0.97:
        return chance.choice((0, 0, 0, 1, -1))
    if name == "partition" and chance.random() < 0.8:
        return 0
    if name == "max_bytes" and chance.random() < 0.7:
        return chance.choice((100, 5000))
    if name.endswith("timeout") and chance.random() < 0.7:
        return 6000
    limit = 1 << (8 * type_.size_bytes - 1)
    number = chance.choice(_NUMBERS)
    return number if -limit <= number < limit else chance.randrange(-limit, limit)


# Mutations: (chance, frame without its size, corpus) -> changed frame

Mutation = Callable[[random.Random, bytearray, Corpus], bytearray]


def _somewhere(chance: random.Random, data: bytearray) -> int:
    """A position, mostly behind the header: a header that is broken closes the connection and teaches little."""
    start = HEADER_BYTES if len(data) > HEADER_BYTES and chance.random() < 0.9 else 0
    return chance.randrange(start, len(data)) if data else 0


def flip_bit(chance: random.Random, data: bytearray, corpus: Corpus) -> bytearray:
    """One bit."""
    if data:
        data[_somewhere(chance, data)] ^= 1 << chance.randrange(8)
    return data


def change_byte(chance: random.Random, data: bytearray, corpus: Corpus) -> bytearray:
    """One byte, to one of the values at which readers go wrong."""
    if data:
        data[_somewhere(chance, data)] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
    return data


def truncate(chance: random.Random, data: bytearray, corpus: Corpus) -> bytearray:
    """The end missing, the size true."""
    return data[: _somewhere(chance, data)]


def extend(chance: random.Random, data: bytearray, corpus: Corpus) -> bytearray:
    """More behind the end, which brokers ignore."""
    return data + chance.randbytes(chance.choice((1, 4, 64)))


def lie_about_a_length(chance: random.Random, data: bytearray, corpus: Corpus) -> bytearray:
    """A 16 or 32 bit number somewhere, taken for a length or count by chance."""
    position = _somewhere(chance, data)
    code, numbers = chance.choice(
        ((">h", (-1, -2, 0, 1, 255, 32767, -32768)), (">i", (-1, -2, 0, 2, 1 << 16, 1 << 24, 2**31 - 1, -(2**31))))
    )
    packed = struct.pack(code, chance.choice(numbers))
    data[position : position + len(packed)] = packed
    return data


def splice(chance: random.Random, data: bytearray, corpus: Corpus) -> bytearray:
    """The beginning of one frame and the end of another."""
    other = corpus.valid(chance)[SIZE_BYTES:]
    return data[: _somewhere(chance, data)] + other[chance.randrange(len(other)) :]


def repeat(chance: random.Random, data: bytearray, corpus: Corpus) -> bytearray:
    """A part of the body many times over."""
    start = _somewhere(chance, data)
    end = min(len(data), start + chance.randint(1, 40))
    return data[:end] + data[start:end] * chance.choice((1, 3, 50)) + data[end:]


def scramble(chance: random.Random, data: bytearray, corpus: Corpus) -> bytearray:
    """Noise behind a header that is whole."""
    return data[:HEADER_BYTES] + chance.randbytes(chance.randrange(80))


def another_version(chance: random.Random, data: bytearray, corpus: Corpus) -> bytearray:
    """The body of one version under the number of another."""
    api = APIS.get(struct.unpack_from(">h", data)[0]) if len(data) >= HEADER_BYTES else None
    if api is not None:
        struct.pack_into(">h", data, 2, chance.randint(0, api.max_version))
    return data


def noise(chance: random.Random, data: bytearray, corpus: Corpus) -> bytearray:
    """Nothing but noise."""
    return bytearray(chance.randbytes(chance.randrange(64)))


MUTATIONS: tuple[Mutation, ...] = (
    flip_bit,
    flip_bit,
    flip_bit,
    change_byte,
    change_byte,
    truncate,
    extend,
    lie_about_a_length,
    splice,
    repeat,
    scramble,
    another_version,
    noise,
)


def size_lie(chance: random.Random, whole: bytes) -> bytes:
    """A frame whose size is not that of what follows."""
    size = chance.choice((-1, -(2**31), 2**31 - 1, 100 << 20, 1 << 20, 0, 1, len(whole)))
    return struct.pack(">i", size) + whole[SIZE_BYTES:]
