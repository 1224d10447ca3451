"""Prove the README in a bare Debian 12: nothing but the packages it names, an ordinary user, a clone, and its
commands.

``make fresh`` (as root, because chroot and mounts need it) makes ``.fresh/bare`` with debootstrap once, copies it,
installs the packages that the README's sentence "You need …" names, clones what is committed, and runs the targets as
the user ``newcomer`` who has no rights beyond a home directory. Caches are empty, so every download is tried. What
the machine needs to reach its package registries (name resolution, certificates, proxies) is taken over from it; all
mounts live in a namespace that ends with the run.

``FRESH="demo test"`` chooses the targets; ``FRESH_TEST="PYTEST_OPTIONS=-x"`` adds make arguments to ``test``.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.tools import debian
from tests.tools.debian import PackageSet
from tests.tools.workplace import CHECKOUT, ToolError, say

DEBOOTSTRAP = PackageSet("debootstrap", "bookworm", (), alone=("debootstrap",))
SUITE = "bookworm"
PLACE = CHECKOUT / ".fresh"
USER = "newcomer"

# How this machine reaches its registries: files first, then variables that name such files or addresses.
_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs/ca-certificates.crt")
_FILE_VARIABLES = ("NODE_EXTRA_CA_CERTS", "PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
_VARIABLES = ("PIP_INDEX_URL", "http_proxy", "https_proxy", "no_proxy", "npm_config_registry")
_SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def prerequisites() -> list[str]:
    """The packages the README says one needs: the names set as code in its sentence "You need …"."""
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    sentence = re.search(r"^You need .*?\.(?=\s)", text, re.MULTILINE | re.DOTALL)
    names = re.findall(r"`([a-z0-9+.-]+)`", sentence.group()) if sentence else []
    if not names:
        raise ToolError('README.md has no sentence "You need …" that names packages as code')
    return names


def main() -> int:
    """Make the root, run the targets in it; the result is the exit status."""
    if os.geteuid() != 0:
        say("make fresh needs root, because it enters a root file system of its own: run it as root, or in a container")
        return 1
    targets = os.environ.get("FRESH", "demo test").split()
    try:
        root = _bare_root()
        _take_over_network(root)
        _install(root, prerequisites())
        _take_over_network(root)  # installing certificates has written over the machine's
        _clone(root)
        for target in targets:
            _make(root, target)
    except (ToolError, OSError, subprocess.SubprocessError) as error:
        say(f"fresh: {error}")
        return 1
    say(f"fresh: {' and '.join(f'make {target}' for target in targets)} work in a bare Debian 12")
    return 0


def _bare_root() -> Path:
    """A copy of a bare Debian 12, debootstrapped once."""
    bare, root = PLACE / "bare", PLACE / "root"
    if not (bare / "etc" / "debian_version").is_file() or (bare / "debootstrap").exists():
        shutil.rmtree(bare, ignore_errors=True)
        say("fresh: making a bare Debian 12 in .fresh/bare with debootstrap; this takes a minute or two")
        _run([*_debootstrap(), "--variant=minbase", SUITE, str(bare), debian.mirror()])
    if root.exists():
        shutil.rmtree(root)
    _run(["cp", "-a", str(bare), str(root)])
    return root


def _take_over_network(root: Path) -> None:
    for name in [*_FILES, *(os.environ[v] for v in _FILE_VARIABLES if os.environ.get(v))]:
        if Path(name).is_file():
            copy = root / name.lstrip("/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(name, copy)


def _debootstrap() -> list[str]:
    """The installed debootstrap, else Debian's unpacked privately: it is a set of shell scripts."""
    installed = shutil.which("debootstrap")
    if installed:
        return [installed]
    unpacked = debian.unpack(DEBOOTSTRAP, PLACE / "debootstrap")
    scripts = unpacked / "usr" / "share" / "debootstrap"
    return ["env", f"DEBOOTSTRAP_DIR={scripts}", "sh", str(unpacked / "usr" / "sbin" / "debootstrap")]


def _install(root: Path, packages: list[str]) -> None:
    say(f"fresh: installing what the README names and nothing else: {' '.join(packages)}")
    quiet = "DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0"
    command = f"{quiet} update && {quiet} install --yes --no-install-recommends {shlex.join(packages)} >/dev/null"
    _enter(root, f"{command} && useradd --create-home --shell /bin/sh {USER}", user=None)


def _clone(root: Path) -> None:
    bundle = root / "tmp" / "binwire.bundle"
    _run(["git", "-C", str(CHECKOUT), "bundle", "create", "--quiet", str(bundle), "HEAD", "--branches"])
    _enter(root, f"cd && git clone --quiet {Path('/tmp') / bundle.name} binwire", user=USER)


def _make(root: Path, target: str) -> None:
    arguments = os.environ.get(f"FRESH_{target.upper()}", "RECORDS=12" if target == "demo" else "")
    say(f"fresh: make {target} {arguments}".rstrip())
    started = time.monotonic()
    _enter(root, f"cd binwire && make {target} {arguments}", user=USER)
    say(f"fresh: make {target} took {time.monotonic() - started:.0f} s")


def _enter(root: Path, command: str, user: str | None) -> None:
    """Run a shell command inside the root, as a user, with mounts and processes that end with it."""
    home = f"/home/{user}" if user else "/root"
    environment = {"HOME": home, "PATH": _SYSTEM_PATH, "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb")}
    environment |= {name: os.environ[name] for name in (*_FILE_VARIABLES, *_VARIABLES) if os.environ.get(name)}
    login = f"su {user} --preserve-environment -c" if user else "sh -c"
    inside = f"cd {home} && exec {login} {shlex.quote(f'cd {home} && {command}')}"
    mounts = (
        f"mount -t proc proc {shlex.quote(str(root / 'proc'))}"
        f" && mount --rbind /dev {shlex.quote(str(root / 'dev'))}"
        f" && exec chroot {shlex.quote(str(root))} sh -c {shlex.quote(inside)}"
    )
    unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "sh", "-c", mounts]
    done = subprocess.run(unshare, env=environment, stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise ToolError(f"`{command}` failed in the bare Debian 12 with status {done.returncode}")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        detail = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise ToolError(f"`{' '.join(command)}` failed with status {done.returncode}: {detail}")


if __name__ == "__main__":
    sys.exit(main())
