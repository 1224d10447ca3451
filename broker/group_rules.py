"""The service's rules for consumer groups: how many, their names, their logins. One set, for the file and operations;
that of names holds for channels too.

Owns the limits. Each function says what is allowed where a value breaks its rule, and None where it keeps it; nothing
that is said repeats a password.

Left to others: how a refusal is told (`config_rules.py` names the key, `operations/groups.py` the argument).
"""

from __future__ import annotations

import re
from typing import Final

GROUPS_PER_CHANNEL_MAX: Final = 20
NAME_CHARACTERS_MAX: Final = 128
USERNAME_CHARACTERS_MAX: Final = 16
PASSWORD_CHARACTERS_MIN: Final = 8
PASSWORD_CHARACTERS_MAX: Final = 32
PASSWORD_CLASSES_MIN: Final = 2

_USERNAME: Final = rf"[A-Za-z0-9_]{{1,{USERNAME_CHARACTERS_MAX}}}"
_NAME: Final = rf"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{{1,{NAME_CHARACTERS_MAX}}}"
"""No controls, which would act upon what shows a name, and no surrogates, which are not characters."""


def allowed_name(name: str) -> str | None:
    """What a group or a channel may be called, if this breaks it."""
    if re.fullmatch(_NAME, name):
        return None
    return f"1 to {NAME_CHARACTERS_MAX} characters, none of them a control character"


def allowed_username(username: str) -> str | None:
    """What a group's username may be, if this breaks it."""
    if re.fullmatch(_USERNAME, username):
        return None
    return f"1 to {USERNAME_CHARACTERS_MAX} letters, digits or underscores"


def broken_password(password: str) -> str | None:
    """What was found and what is allowed, if this cannot be a group's password."""
    classes = sum(
        (
            any("A" <= character <= "Z" for character in password),
            any("a" <= character <= "z" for character in password),
            any("0" <= character <= "9" for character in password),
            any(not (character.isascii() and character.isalnum()) for character in password),
        )
    )
    if PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX and classes >= PASSWORD_CLASSES_MIN:
        return None
    kinds = "kind" if classes == 1 else "kinds"
    return (
        f"found a password of {len(password)} characters and {classes} {kinds} of character; allowed are "
        f"{PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters with at least {PASSWORD_CLASSES_MIN} of "
        "upper case, lower case, digits and special characters"
    )
