"""Node.js clients: each in a version of its own, installed by npm into ``.clients/`` as its lock file says.

A folder of ``node/`` holds the ``package.json`` and the lock file of one client in one version; packages come from the
registry that npm is configured for and are checked against the lock's checksums. Nothing is compiled or run while
installing, and optional packages (which would be compiled) are left out.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from tests.tools.workplace import CLIENTS_DIRECTORY, NotPublishedError, ToolError, installed_once, run_quietly, say

_NODE = Path(__file__).parent / "node"
_PINNED = ("package.json", "package-lock.json")
_INSTALL = ("ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--prefer-offline", "--silent")
_INSTALL_TIMEOUT_S = 600
_NOT_PUBLISHED = ("E404", "ETARGET", "notarget")


def command(name: str, program: str | Path) -> tuple[str, ...]:
    """The command of ``node/<program>`` on the packages of ``node/<name>``; ToolError when they cannot be had."""
    tools = {tool: shutil.which(tool) for tool in ("node", "npm", "env")}
    for tool, found in tools.items():
        if found is None:
            raise ToolError(f"{tool} is not on the PATH: install Node.js (https://nodejs.org) to run {name}")
    target = CLIENTS_DIRECTORY / name
    digest = hashlib.sha256(b"".join((_NODE / name / file).read_bytes() for file in _PINNED)).hexdigest()
    installed_once(target, digest, lambda fresh: _install(fresh, str(tools["npm"]), name))
    return (str(tools["env"]), f"NODE_PATH={target / 'node_modules'}", str(tools["node"]), str(_NODE / program))


def _install(fresh: Path, npm: str, name: str) -> None:
    say(f"{name}: installing with npm")
    for file in _PINNED:
        shutil.copy(_NODE / name / file, fresh)
    done = run_quietly([npm, *_INSTALL], cwd=fresh, timeout_s=_INSTALL_TIMEOUT_S)
    if done.returncode:
        trouble = (done.stderr.strip() or done.stdout.strip() or "no output")[-300:]
        error = NotPublishedError if any(code in trouble for code in _NOT_PUBLISHED) else ToolError
        raise error(f"`npm ci` for {name} failed: {trouble}")
