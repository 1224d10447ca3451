"""What is told of an incident: the facts, once for all ways of telling.

`Notice` is the JSON body of a webhook; its fields are the variables of a command, in capitals behind `BINWIRE_`.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct, structs

Event = Literal["begun", "ended", "test"]

VARIABLE_CHARACTERS_MAX: Final = 4096


class Notice(Struct, frozen=True):
    """That an incident has begun or ended. `id` is the same at each try, so that a receiver can know what it has seen.

    Times are Unix epoch ms of this server; `sentence` says all of it to people.
    """

    id: str
    event: Event
    incident_id: str
    rule_id: str
    rule_name: str
    kind: str
    threshold_s: int
    channel_id: str
    channel_name: str
    topic: str
    group_id: str | None
    group_name: str | None
    begun_ms: int
    ended_ms: int | None
    sentence: str

    @property
    def subject(self) -> str:
        """One line, such as heads a mail."""
        about = self.channel_name if self.group_name is None else f"{self.group_name} of {self.channel_name}"
        word = {"begun": "ALERT", "ended": "OVER", "test": "TEST"}[self.event]
        return " ".join(f"[Binwire] {word}: {self.rule_name} ({about})".split())[:200]

    def variables(self) -> dict[str, str]:
        """The facts as environment variables; what is not known is empty."""
        return {
            f"BINWIRE_{name.upper()}": "" if value is None else str(value).replace("\0", "")[:VARIABLE_CHARACTERS_MAX]
            for name, value in structs.asdict(self).items()
        }


class TellingFailedError(Exception):
    """A target was not told; one sentence, without any secret."""
