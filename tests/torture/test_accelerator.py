"""The accelerator reads strangers' bytes in C: millions of mutated events under the compiler's own checks."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hatch_build
from tests.c_sources import build_in

pytestmark = pytest.mark.torture

CHECKS = ("-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
EVENTS = int(os.environ.get("BINWIRE_FRAMES") or 200_000)


def checked_modules(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The modules with checks in them; the library that they need before Python starts."""
    build_in(folder, monkeypatch)
    monkeypatch.setenv("CC", "gcc")
    try:
        if not hatch_build.compile_modules((*hatch_build.FLAGS, *CHECKS)):
            pytest.skip("there is no C compiler here, or no Python.h")
    except hatch_build.NotCompiledError as error:
        pytest.skip(f"gcc has no sanitizers here: {error}")
    found = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    return Path(found.stdout.strip())


@pytest.mark.timeout(3600)
def test_no_event_is_read_beyond_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = hatch_build.ROOT
    library = checked_modules(tmp_path, monkeypatch)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(library),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        "BINWIRE_ACCELERATOR": "off",
    }
    command = [sys.executable, "-m", "tests.torture.accelerator_process", str(tmp_path), str(EVENTS), "1"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    taken = ast.literal_eval(done.stdout)
    assert all(count > EVENTS // 1000 for count in taken.values()), taken
