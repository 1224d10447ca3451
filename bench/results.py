"""Result files: what a run measured, written and read back.

A run has a folder named by its day and commit: `results.json` (below), `results.md` and an SVG file per benchmark.

    {"taken": "2026-11-21 17:20 UTC", "size": "full" | "quick" | "smoke", "left_out": {benchmark: reason},
     "machine": {…}, "versions": {…}, "commit", "clean", "accelerator", "results": [see bench/harness.py]}

In a checkout the folders lie in `bench/results/`. Leaves tables to `bench/report.py` and pictures to `bench/plots.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from bench import plots, report
from bench.harness import Figure, Measure, Result, Spread

ROOT: Final = Path(__file__).resolve().parent.parent
DIRECTORY: Final = ROOT / "bench" / "results"
FILE_NAME: Final = "results.json"
_COMMIT_DIGITS: Final = 8


class ResultFileError(Exception):
    """A file is not a benchmark's result; the message says which and why."""


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A run's results and what they were measured on."""

    context: Mapping[str, Any]
    results: tuple[Result, ...]

    def to_json(self) -> str:
        document = {**self.context, "results": [result.to_json() for result in self.results]}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, path: Path) -> ResultFile:
        """Raises ResultFileError; a folder stands for the file in it."""
        path = path / FILE_NAME if path.is_dir() else path
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ResultFileError(f"{path} cannot be read: {error.strerror}") from None
        except ValueError:
            raise ResultFileError(f"{path} is not JSON, and so no result of binwire bench") from None
        try:
            entries = document.pop("results")
            return cls(document, tuple(_result(entry) for entry in entries))
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ResultFileError(f"{path} has not the form of a result that binwire bench --json writes") from None

    def folder_name(self) -> str:
        """By day and commit; what was measured with changes, or in part, has another name than what was not."""
        commit = (self.context["commit"] or "unknown")[:_COMMIT_DIGITS]
        changes = "" if self.context["clean"] else "-changed"
        return f"{self.context['taken'][:10]}-{commit}{changes}{self.context['part']}"

    def write(self, directory: Path, questions: Mapping[str, str]) -> Path:
        """JSON, Markdown and pictures into a folder of their own under `directory`; the folder."""
        folder = directory / self.folder_name()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE_NAME).write_text(self.to_json(), encoding="utf-8")
        pictures: dict[str, str] = {}
        for name, group in groupby(self.results, key=lambda result: result.benchmark):
            pictures[name] = f"{name}.svg"
            (folder / pictures[name]).write_text(plots.picture(list(group)), encoding="utf-8")
        text = report.markdown(self.results, self.context, questions, pictures)
        (folder / "results.md").write_text(text, encoding="utf-8")
        return folder


def why_not_writable(file: Path) -> str | None:
    """Why a file cannot be written that is to be there in the end, as far as that is known before; None if it can."""
    if file.is_dir():
        return f"{file} is a folder; name a file"
    if not file.parent.is_dir():
        return f"{file} cannot be written: there is no folder {file.parent}; make it first"
    return None if os.access(file.parent, os.W_OK) else f"{file} cannot be written: {file.parent} takes no files"


def newest(directory: Path = DIRECTORY) -> dict[str, ResultFile]:
    """The newest run of each benchmark in full size, of a commit without changes."""
    found: dict[str, ResultFile] = {}
    files = [ResultFile.read(path) for path in directory.glob(f"*/{FILE_NAME}")]
    for file in sorted(files, key=lambda file: str(file.context["taken"])):
        if file.context["size"] == "full" and file.context["clean"]:
            found |= dict.fromkeys((result.benchmark for result in file.results), file)
    return found


def _result(entry: Mapping[str, Any]) -> Result:
    if not all(isinstance(entry[name], str) for name in ("benchmark", "measure", "unit")):
        raise TypeError
    measure = Measure(entry["measure"], entry["unit"], higher_is_better=entry["higher_is_better"])
    ours = entry["binwire"]
    peers: Sequence[Mapping[str, Any]] = entry["peers"]
    return Result(
        entry["benchmark"],
        measure,
        None if ours is None else _figure(ours),
        tuple(_figure(peer) for peer in peers),
        tuple(entry["missing"]),
        entry["parameters"],
        entry["hash"],
    )


def _figure(entry: Mapping[str, Any]) -> Figure:
    spread = Spread(float(entry["min"]), float(entry["median"]), float(entry["max"]))
    return Figure(entry["name"], spread, int(entry["rounds"]))
