"""`binwire completion bash|zsh|fish`: a script that has the shell complete commands, options and their values.

Owns how the parsers of all commands become a script; what there is to complete is read from the parsers themselves, so
that no command can be missing. The script is static: completing starts no process. Names of channels, topics and
groups are not completed: they are the server's.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

Parsers = dict[str, Callable[[], argparse.ArgumentParser]]

_FOLDERS: Final = ("DIR", "TARGET")


class Value(NamedTuple):
    """What an option or argument takes: `kind` is `words` (the `words` themselves), `files`, `folders` or `text`."""

    kind: str
    name: str
    words: tuple[str, ...] = ()


class Option(NamedTuple):
    """An option by all its names; `value` is None for a switch."""

    names: tuple[str, ...]
    summary: str
    value: Value | None


class Command(NamedTuple):
    """A command by its path (empty for `binwire` itself), what it takes, and the names of its own commands."""

    path: tuple[str, ...]
    summary: str
    options: tuple[Option, ...]
    arguments: tuple[Value, ...]
    commands: tuple[str, ...]

    @property
    def words(self) -> Iterator[str]:
        """All that may be typed at its first place, but for options."""
        yield from self.commands
        for argument in self.arguments[:1]:
            yield from argument.words


def script(shell: str, parser: argparse.ArgumentParser, own: Parsers) -> str:
    """The script for a shell. `own` are the parsers of commands that parse their arguments themselves, by path."""
    return SHELLS[shell](list(_commands((), "", parser, own)))


def _commands(path: tuple[str, ...], summary: str, parser: argparse.ArgumentParser, own: Parsers) -> Iterator[Command]:
    """A command and all below it."""
    inner: dict[str, argparse.ArgumentParser] = {}
    summaries: dict[str, str] = {}
    options, arguments = [], []
    formatter = parser._get_formatter()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner.update(action.choices)
            summaries.update({choice.dest: choice.help or "" for choice in action._choices_actions})
        elif action.option_strings and action.help is not argparse.SUPPRESS:
            summary_of = formatter._expand_help(action) if action.help else ""
            value = None if action.nargs == 0 else _value(action)
            options.append(Option(tuple(action.option_strings), summary_of, value))
        elif not action.option_strings and action.help is not argparse.SUPPRESS:
            arguments.append(_value(action))
    more = {name for known in own if (name := _below(path, known))}
    names = (*inner, *sorted(more - inner.keys()))
    yield Command(path, summary, tuple(options), tuple(arguments), names)
    for name in names:
        below = (*path, name)
        known = own.get(" ".join(below))
        yield from _commands(below, summaries.get(name, ""), known() if known else inner[name], own)


def _below(path: tuple[str, ...], known: str) -> str | None:
    """The command of `known` that is right below this path."""
    words = known.split()
    return words[-1] if tuple(words[:-1]) == path else None


def _value(action: argparse.Action) -> Value:
    name = action.metavar if isinstance(action.metavar, str) else action.dest
    if action.choices:
        return Value("words", name, tuple(map(str, action.choices)))
    if action.type is Path:
        return Value("folders" if name in _FOLDERS else "files", name)
    return Value("text", name)


# --- bash: no feature after 3.2, which macOS has --------------------------------------------------------------------

_BASH = """\
# Completion of binwire for bash. Load it with: source <(binwire completion bash)
_binwire_words() {{ COMPREPLY=($(compgen -W "$*" -- "$current")); }}
_binwire_files() {{ local IFS=$'\\n'; COMPREPLY=($(compgen -f -- "$current")); compopt -o filenames 2>/dev/null; }}
_binwire_folders() {{ local IFS=$'\\n'; COMPREPLY=($(compgen -d -- "$current")); compopt -o filenames 2>/dev/null; }}
_binwire_text() {{ COMPREPLY=(); }}
_binwire() {{
    local IFS=$' \\t\\n' path= word i current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${{COMP_WORDS[i]}}
        case "$path/$word" in
        {paths}) path="$path/$word";;
        esac
    done
    case "$path $previous" in
{values}
        *) case "$path" in
{words}
        esac;;
    esac
}}
complete -F _binwire binwire
"""


def _bash(commands: list[Command]) -> str:
    values, words = [], []
    for command in commands:
        path = "".join(f"/{name}" for name in command.path)
        for option in command.options:
            if option.value is not None:
                names = "|".join(f"'{path} {name}'" for name in option.names)
                values.append(f"        {names}) _binwire_{option.value.kind} {' '.join(option.value.words)};;")
        switches = " ".join(name for option in command.options for name in option.names)
        kind, plain = _first(command)
        answer = f"-*) _binwire_words {switches};; *) _binwire_{kind} {plain};;"
        words.append(f"        '{path}') case \"$current\" in {answer} esac;;")
    paths = "|".join("".join(f"/{name}" for name in command.path) for command in commands if command.path)
    return _BASH.format(paths=paths, values="\n".join(values), words="\n".join(words))


def _first(command: Command) -> tuple[str, str]:
    """Which kind of word a command takes first, and the words."""
    words = " ".join(command.words)
    if words or not command.arguments:
        return "words", words
    return command.arguments[0].kind, ""


# --- zsh ------------------------------------------------------------------------------------------------------------

_ZSH = """\
#compdef binwire
# Completion of binwire for zsh. Load it with: source <(binwire completion zsh), after compinit
{functions}
if [[ $funcstack[1] == _binwire ]]; then _binwire "$@"; else compdef _binwire binwire; fi
"""
_ZSH_GROUP = """\
{function}() {{
    local curcontext="$curcontext" state line
    local -a commands=({commands})
    _arguments -C {options} '1: :->command' '*:: :->arguments'
    case $state in
        command) _describe command commands;;
        arguments) case $words[1] in
{cases}
        esac;;
    esac
}}
"""
_ZSH_ACTIONS: Final = {"files": "_files", "folders": "_path_files -/", "text": " "}


def _zsh(commands: list[Command]) -> str:
    summaries = {command.path: command.summary for command in commands}
    functions = []
    for command in commands:
        options = " ".join(_zsh_option(option) for option in command.options)
        if command.commands:
            inner = [(name, (*command.path, name)) for name in command.commands]
            described = " ".join(_quoted(f"{name}:{_colons(summaries[path])}") for name, path in inner)
            cases = "\n".join(f"            {name}) {_function(path)};;" for name, path in inner)
            functions.append(
                _ZSH_GROUP.format(function=_function(command.path), commands=described, options=options, cases=cases)
            )
        else:
            arguments = " ".join(
                _quoted(f"*:{_colons(each.name)}:{_zsh_action(each)}") for each in command.arguments[:1]
            )
            functions.append(f"{_function(command.path)}() {{ _arguments {options} {arguments} }}\n")
    return _ZSH.format(functions="".join(functions))


def _zsh_option(option: Option) -> str:
    value = "" if option.value is None else f":{_colons(option.value.name)}:{_zsh_action(option.value)}"
    summary = re.sub(r"[\[\]\\]", r"\\\g<0>", option.summary)
    return " ".join(_quoted(f"{name}[{summary}]{value}") for name in option.names)


def _zsh_action(value: Value) -> str:
    return f"({' '.join(value.words)})" if value.words else _ZSH_ACTIONS[value.kind]


def _function(path: tuple[str, ...]) -> str:
    return "_".join(("_binwire", *path))


def _colons(text: str) -> str:
    return text.replace("\\", r"\\").replace(":", r"\:")


def _quoted(text: str) -> str:
    """A word of a shell, of which no character means anything."""
    return "'" + text.replace("'", "'\\''") + "'"


# --- fish -----------------------------------------------------------------------------------------------------------

_FISH = """\
# Completion of binwire for fish. Load it with: binwire completion fish | source
function __binwire_at
    set -l path
    for word in (commandline -opc)[2..]
        set -l longer (string join ' ' -- $path $word)
        contains -- $longer {paths}; and set path $longer
    end
    test "$path" = "$argv"
end
complete -c binwire -f
{lines}
"""


def _fish(commands: list[Command]) -> str:
    lines = []
    for command in commands:
        at = f"complete -c binwire -n {_fish_quoted('__binwire_at ' + ' '.join(command.path))}"
        lines += [
            f"{at} -a {inner.path[-1]} -d {_fish_quoted(inner.summary)}"
            for inner in commands
            if inner.path and inner.path[:-1] == command.path
        ]
        lines += [f"{at} {_fish_option(option)}" for option in command.options]
        for argument in command.arguments[:1]:
            if taken := _fish_value(argument):
                lines.append(f"{at} {taken}")
    paths = " ".join(_fish_quoted(" ".join(command.path)) for command in commands if command.path)
    return _FISH.format(paths=paths, lines="\n".join(lines))


def _fish_option(option: Option) -> str:
    names = [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    taken = []
    if option.value is not None:
        taken = ["-r" if option.value.kind == "files" else "-x", _fish_value(option.value)]
    return " ".join(filter(None, [*names, *taken, "-d", _fish_quoted(option.summary)]))


def _fish_value(value: Value) -> str:
    if value.words:
        return f"-a {_fish_quoted(' '.join(value.words))}"
    return {"files": "-F", "folders": "-a '(__fish_complete_directories)'"}.get(value.kind, "")


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SHELLS: Final[dict[str, Callable[[list[Command]], str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
