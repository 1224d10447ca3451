"""From the address of a source to a channel that can begin: login, account, objects, precheck, in that order.

The account is tried first. Where the source does not let it in, the statements that make it and the lines that my.cnf
lacks are shown, and with an administrator's credentials, typed or given and used for this alone, the account is made:
for the chosen objects and nothing beside them. Nothing is written here.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote

from msgspec import Struct
from msgspec.structs import replace

from broker import check
from broker.config import ChannelConfig, Secret
from broker.config_rules import ConfigError
from broker.init_file import source_password
from broker.render import style_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from broker.control import PrecheckItem
    from broker.init_dialogue import Dialogue
    from broker.operations.sources import SourceDesk

DEFAULT_USER: Final = "binwire"
DEFAULT_PORT: Final = 3306
SOURCE_PASSWORD: Final = "BINWIRE_SOURCE_PASSWORD"  # noqa: S105  the name of a variable
ADMINISTRATOR_PASSWORD: Final = "BINWIRE_ADMINISTRATOR_PASSWORD"  # noqa: S105  likewise
SHOWN_MAX: Final = 40
_LISTED_MAX: Final = 1000
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_COLUMNS_MAX: Final = 110


class GivenSource(Struct, frozen=True):
    """An address as it was typed, in parts. `password` may refer to the environment; `options` begin with a ?."""

    scheme: str
    user: str
    password: str
    hosts: str
    options: str

    @classmethod
    def parse(cls, text: str) -> GivenSource:
        """Read `mysql://user:password@host:3306/?…`, of which all but the host may be left out."""
        scheme, separator, rest = text.partition("://")
        if not separator:
            scheme, rest = "mysql", text
        location, question, options = rest.partition("?")
        credentials, _, hosts = location.rpartition("@")
        user, _, password = credentials.partition(":")
        hosts = hosts.removesuffix("/") if scheme != "file" else location
        if not hosts:
            raise ConfigError("SOURCE names no host; write it as mysql://user@host:3306")
        return cls(scheme, unquote(user), password, hosts, f"/{question}{options}" if question else "")

    @property
    def is_files(self) -> bool:
        return self.scheme == "file"

    def url(self, password: str | None) -> str:
        """The address with this password, percent-encoded here, or without one."""
        if self.is_files:
            return f"file://{self.hosts}{self.options.removeprefix('/')}"
        secret = "" if password is None else f":{quote(password, safe='')}"
        return f"{self.scheme}://{quote(self.user, safe='')}{secret}@{self.hosts}{self.options}"

    @property
    def written(self) -> str:
        """The address for the file: with a password that refers to the environment, and no other."""
        if self.password and _REFERENCE.search(self.password):
            return f"{self.scheme}://{quote(self.user, safe='')}:{self.password}@{self.hosts}{self.options}"
        return self.url(None)


class Found(Struct, frozen=True):
    """What a channel is made of: its source for the file and with its password, the objects, and the account if it was
    created here.
    """

    source: GivenSource
    password: str | None
    objects: tuple[str, ...]
    created: str | None = None

    @property
    def url(self) -> str:
        return self.source.url(self.password)


class Reaching:
    """The way to a source; one for each `init`."""

    def __init__(
        self,
        desk: SourceDesk,
        dialogue: Dialogue,
        *,
        objects: Sequence[str],
        administrator: str | None,
        is_agreed: bool,
    ) -> None:
        self._desk = desk
        self._dialogue = dialogue
        self._objects = tuple(objects)
        self._administrator = administrator
        self._is_agreed = is_agreed

    def reach(self, text: str) -> Found:
        """Raises ConfigError with one sentence where there is no way on."""
        given = GivenSource.parse(text)
        if given.is_files:
            return Found(given, None, self._objects or self._typed_objects())
        if not given.user:
            given = replace(
                given, user=self._dialogue.ask("Account to read the source with", "it in SOURCE", DEFAULT_USER)
            )
        password = self._password(given)
        if self._administrator is not None:
            return self._with_account(given, password, None)
        try:
            self._run(self._desk.databases(given.url(password), "", 0, 1))
        except self._desk.failures as refusal:
            return self._with_account(given, password, f"{refusal}.")
        return Found(given, password, self._objects or self._chosen(given.url(password)))

    def _password(self, given: GivenSource) -> str:
        if given.password:
            return _REFERENCE.sub(lambda match: self._variable(match[1]), unquote(given.password))
        if self._administrator is not None:
            return self._dialogue.environment.get(SOURCE_PASSWORD, "")
        return self._dialogue.secret(
            f"Password of {given.user} at {given.hosts} (empty if there is no such account yet)", SOURCE_PASSWORD
        )

    def _variable(self, name: str) -> str:
        try:
            return self._dialogue.environment[name]
        except KeyError:
            raise ConfigError(f"SOURCE refers to ${{{name}}}, which the environment does not have; set it") from None

    def _run(self, asked: Awaitable[Any]) -> Any:
        async def run() -> Any:
            return await asked

        return asyncio.run(run())

    # ---- the account ----

    def _with_account(self, given: GivenSource, password: str, refusal: str | None) -> Found:
        say = self._dialogue.say
        try:
            plan = self._run(self._desk.plan_account(given.url(password), self._objects, None, None))
        except self._desk.failures as error:
            raise ConfigError(str(error)) from None
        if refusal is not None:  # said once: where the source is out of reach the plan has failed by it, too
            say(refusal, "")
        if self._administrator is None:
            narrow = "" if self._objects else " (--objects narrows them to what is tracked)"
            say(f"The account is made by these statements, run as an administrator of the source{narrow}:", "")
            say(*(f"    {statement}" for statement in plan.statements), "")
            say("and the server needs under [mysqld] in my.cnf, if it is not set so already:", "")
            say(*(f"    {line}" for line in plan.my_cnf[1:]), "")
        administrator = self._administrator or self._dialogue.ask_or_nothing(
            "Administrator's user name, to have the account made now (empty: you ran the statements yourself)"
        )
        if administrator:
            return self._created(given, password, administrator)
        if not self._dialogue.is_interactive:
            raise ConfigError(
                f"the source does not let {given.user} in; run the statements above, or name --administrator and set "
                f"{ADMINISTRATOR_PASSWORD}"
            )
        again = self._dialogue.secret(f"Password of {given.user}", SOURCE_PASSWORD)
        try:
            self._run(self._desk.databases(given.url(again), "", 0, 1))
        except self._desk.failures as refusal:
            raise ConfigError(f"{refusal}; nothing was written") from None
        return Found(given, again, self._objects or self._chosen(given.url(again)))

    def _created(self, given: GivenSource, password: str, administrator: str) -> Found:
        secret = self._dialogue.secret(f"Password of {administrator} (used once, not kept)", ADMINISTRATOR_PASSWORD)
        by = replace(given, user=administrator).url(secret)
        password = password or source_password()
        url = given.url(password)
        try:
            objects = self._objects or self._chosen(by)
            plan = self._run(self._desk.plan_account(url, objects, (administrator, secret), None))
            self._dialogue.say("", "These statements are run now, with a password that only the new file has:", "")
            self._dialogue.say(*(f"    {statement}" for statement in plan.statements), "")
            if plan.my_cnf:
                self._dialogue.say("What my.cnf lacks (the precheck says what else helps):", "")
                self._dialogue.say(*(f"    {line}" for line in plan.my_cnf), "")
            if not self._dialogue.confirm("Run them?", is_agreed=self._is_agreed):
                raise ConfigError("the account was not made and nothing was written; --yes agrees without a question")
            self._run(self._desk.create_account(url, objects, (administrator, secret), None))
        except self._desk.failures as error:
            raise ConfigError(str(error)) from None
        self._dialogue.say(f"{plan.account} is there.")
        # A reference to the environment would be to a password that is not this account's.
        return Found(replace(given, password=""), password, objects, plan.account)

    # ---- objects ----

    def _chosen(self, url: str) -> tuple[str, ...]:
        if not self._dialogue.is_interactive:
            raise ConfigError("no objects are named; give --objects, databases or tables with commas between")
        try:
            total, found = self._run(self._desk.databases(url, "", 0, _LISTED_MAX))
        except self._desk.failures as error:
            raise ConfigError(str(error)) from None
        self._dialogue.say("", "Databases there:", "")
        for number, database in enumerate(found[:SHOWN_MAX], 1):
            tables = f"{database.tables:,} table{'s' * (database.tables != 1)}"
            self._dialogue.say(f"  {number:3} {database.name}  ({tables})")
        if total > SHOWN_MAX:
            self._dialogue.say(f"      and {total - SHOWN_MAX:,} more")
        if not found:
            self._dialogue.say("      none that this account sees")
        question = "Which to track (numbers or names with commas between, database.table for one table, * for all)"
        while True:
            answer = self._dialogue.ask(question, "--objects", "1" if len(found) == 1 else None)
            try:
                return selected(answer, [database.object for database in found])
            except ConfigError as error:
                self._dialogue.say(str(error))

    def _typed_objects(self) -> tuple[str, ...]:
        return split_objects(self._dialogue.ask("Databases or tables to track, with commas between", "--objects"))


def selected(answer: str, listed: Sequence[str]) -> tuple[str, ...]:
    """The objects that an answer means: numbers of a list, names, or all of it. Raises ConfigError."""
    if answer.strip() == "*" and listed:
        return tuple(listed)
    objects = []
    for part in split_objects(answer):
        if part.isascii() and part.isdigit() and part not in listed:
            if not 1 <= int(part) <= len(listed):
                raise ConfigError(f"there is no number {part}; the last one is {len(listed)}")
            part = listed[int(part) - 1]
        elif part.lower() in ("y", "yes", "n", "no") and part not in listed:
            raise ConfigError(f"{part!r} is not in the list; write numbers or names of it, or * for all")
        objects.append(part)
    return tuple(dict.fromkeys(objects))


def split_objects(text: str) -> tuple[str, ...]:
    """Objects with commas between, of which backticks may hold more. Raises ConfigError for none."""
    parts = [part.strip() for part in re.findall(r"(?:`(?:[^`]|``)*`|[^,`])+", text)]
    if not (objects := tuple(part for part in parts if part)):
        raise ConfigError('no objects are named; write databases such as shop, or tables such as "crm.customer"')
    return objects


# ---- the precheck ----


def channel_config(found: Found, *, channel_id: str, region: str, instance_id: str) -> ChannelConfig:
    """The channel as the precheck looks at it."""
    return ChannelConfig(
        id=channel_id,
        region=region,
        instance_id=instance_id,
        source=Secret(found.url),
        objects=list(found.objects),
    )


def precheck(config: ChannelConfig, data_path: Path, dialogue: Dialogue) -> None:
    """Look at the source until nothing fails, and show what is found. Raises ConfigError for who gives up."""
    from broker.capturing import channel_spec, run_precheck
    from storage.clock import SystemClock

    spec = channel_spec(config, "the channel")
    while True:
        dialogue.say("")
        items = asyncio.run(run_precheck(spec, SystemClock(), data_path))
        dialogue.show(_shown(str(spec.address), items))
        if not any(item.outcome == check.FAILED for item in items):
            return
        if not dialogue.confirm("Look again, when that is mended?", is_agreed=False):
            raise ConfigError("a channel begins only where no item of its precheck fails; nothing was written")


def _shown(place: str, items: Sequence[PrecheckItem]) -> list[str]:
    terminal = sys.stdout.isatty()
    style = style_for(terminal=terminal, environment=os.environ)
    columns = min(_COLUMNS_MAX, shutil.get_terminal_size().columns) if terminal else 1 << 20
    return list(check.shown("precheck", place, items, style, columns))
