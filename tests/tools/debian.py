"""Debian packages unpacked privately: nothing is installed into the system, and nothing needs root.

A *set* is a list of package names from one suite. Its closure down to libc is taken, as if nothing were installed,
and unpacked into one folder; programs in it start through the folder's own dynamic loader (:func:`program`), so that
a suite newer than the machine's works too. What a set consists of is recorded in ``locks/<set>.<architecture>.txt``,
one archive a line::

    <sha256> <size in bytes> <path in the archive, pool/…>

Recorded archives are taken from the cache or the mirror and checked against their checksum. When the mirror no longer
carries one (``sid`` moves), the set is resolved anew through a private apt root whose package state is empty, with a
notice. The mirror's address is taken from the machine's own apt sources, or from ``BINWIRE_DEBIAN_MIRROR``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from tests.tools.workplace import LOCKS_DIRECTORY, ToolError, cache_directory, exclusive, installed_once, say, sha256_of

_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_APT_HELPER = Path("/usr/lib/apt/apt-helper")
_DOWNLOAD_BATCH_BYTES = 16 << 20
_APT_TIMEOUT_S = 900
_MULTIARCH = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_LOADER = {"amd64": "ld-linux-x86-64.so.2", "arm64": "ld-linux-aarch64.so.1"}

# The machine's apt hooks (docker-clean, packagekit, appstream) are about the system's lists, not about ours.
_APT_CONFIGURATION = """\
#clear APT::Update;
#clear DPkg::Post-Invoke;
#clear DPkg::Pre-Install-Pkgs;
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State "{root}/state";
Dir::State::status "{root}/state/status";
Dir::Cache "{root}/cache";
Dir::Log "{root}/log";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Keep-Downloaded-Packages "true";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Update::Error-Mode "any";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
"""


@dataclass(frozen=True, slots=True)
class PackageSet:
    """Packages wanted from one suite; ``alone`` are unpacked without their dependencies (the others bring enough)."""

    name: str
    suite: str
    packages: tuple[str, ...]
    alone: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Archive:
    """One .deb: its checksum, its size in bytes and its path below the mirror's address."""

    sha256: str
    size: int
    path: str

    @property
    def file_name(self) -> str:
        return urllib.parse.unquote(self.path.rsplit("/", 1)[-1])

    @property
    def package(self) -> str:
        return self.file_name.split("_", 1)[0]

    @property
    def version(self) -> str:
        return self.file_name.split("_")[1]


def architecture() -> str:
    """Debian's name of this machine's architecture; ToolError where there is no dpkg."""
    if not shutil.which("dpkg") or not shutil.which("apt-get"):
        raise ToolError("this machine has no apt and dpkg, so Debian packages cannot be unpacked here")
    return _run(["dpkg", "--print-architecture"]).strip()


def mirror() -> str:
    """The Debian archive's address without trailing slash: ``BINWIRE_DEBIAN_MIRROR``, else from the apt sources."""
    named = os.environ.get("BINWIRE_DEBIAN_MIRROR")
    if named:
        return named.rstrip("/")
    sources = Path("/etc/apt")
    for path in [sources / "sources.list", *sorted(sources.glob("sources.list.d/*"))]:
        if path.is_file() and path.suffix in (".list", ".sources"):
            for uri, suites in _entries(path):
                if _is_main_archive(uri, suites):
                    return uri.rstrip("/")
    raise ToolError(
        "no Debian archive is named in this machine's apt sources: set BINWIRE_DEBIAN_MIRROR to the address of one"
    )


def recorded(wanted: PackageSet) -> list[Archive] | None:
    """The archives recorded for this set and architecture, or None when there are none."""
    path = LOCKS_DIRECTORY / f"{wanted.name}.{architecture()}.txt"
    if not path.is_file():
        return None
    lines = [
        line.split() for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
    ]
    return [Archive(sha256, int(size), pool_path) for sha256, size, pool_path in lines]


def record(wanted: PackageSet) -> Path:
    """Resolve the set as the suite stands today and write its lock file."""
    archives, _ = _resolve(wanted)
    path = LOCKS_DIRECTORY / f"{wanted.name}.{architecture()}.txt"
    path.parent.mkdir(exist_ok=True)
    head = f"# {wanted.name}: {' '.join(wanted.packages + wanted.alone)} from Debian {wanted.suite}, {architecture()}\n"
    path.write_text(head + "".join(f"{a.sha256} {a.size} {a.path}\n" for a in archives), encoding="utf-8")
    return path


def unpack(wanted: PackageSet, target: Path) -> Path:
    """Have the set unpacked in ``target`` and return it; quick when it is there already."""
    archives = recorded(wanted)
    stamp = "\n".join(a.sha256 for a in archives) if archives else f"unrecorded {wanted}"
    return installed_once(target, stamp, lambda fresh: _unpack_archives(wanted, archives, fresh))


def program(root: Path, path: str) -> tuple[str, ...]:
    """The command that starts the program ``path`` of an unpacked set through the set's own loader and libraries."""
    debian = architecture()
    libraries = root / "usr" / "lib" / _MULTIARCH[debian]
    return (str(libraries / _LOADER[debian]), "--library-path", str(libraries), str(root / path))


def _entries(path: Path) -> list[tuple[str, list[str]]]:
    """(address, suites) of each package source in a one-line or deb822 apt sources file."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".list":
        found = re.findall(r"^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", text, re.MULTILINE)
        return [(uri, [suite]) for uri, suite in found]
    entries = []
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^(\w[\w-]*):[ \t]*(.*)$", stanza, re.MULTILINE))
        entries += [(uri, fields.get("Suites", "").split()) for uri in fields.get("URIs", "").split()]
    return entries


def _is_main_archive(uri: str, suites: list[str]) -> bool:
    release = re.search(r"^VERSION_CODENAME=(\w+)", _os_release(), re.MULTILINE)
    known = {"stable", "testing", "sid", "unstable", release.group(1) if release else "stable"}
    return "ID=debian" in _os_release().splitlines() and uri.startswith("http") and not known.isdisjoint(suites)


def _os_release() -> str:
    path = Path("/etc/os-release")
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _unpack_archives(wanted: PackageSet, archives: list[Archive] | None, fresh: Path) -> None:
    files = _fetch_recorded(wanted, archives) if archives else None
    if files is None:
        if archives is None:
            say(
                f"{wanted.name}: nothing is recorded for this architecture, taking what Debian {wanted.suite} has today"
            )
        _, files = _resolve(wanted)
    say(f"{wanted.name}: unpacking {len(files)} packages privately into {fresh.parent.name}/")
    # Suites before the merged /usr carry /lib and /lib64; links made first put both layouts in one place.
    for name in ("bin", "sbin", "lib", "lib64"):
        (fresh / "usr" / name).mkdir(parents=True)
        (fresh / name).symlink_to(f"usr/{name}")
    for file in files:
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(file)], stdout=subprocess.PIPE) as extract:
            _run(["tar", "-x", "-C", str(fresh), "--keep-directory-symlink", "--no-same-owner"], stdin=extract.stdout)
        if extract.returncode:
            raise ToolError(f"{file.name} could not be unpacked: remove it from {file.parent} and try again")


def _fetch_recorded(wanted: PackageSet, archives: list[Archive]) -> list[Path] | None:
    """The recorded archives as cached files, each checked; None when the mirror no longer has them all."""
    cache = cache_directory() / "debian"
    cache.mkdir(parents=True, exist_ok=True)
    with exclusive(cache):
        missing = [a for a in archives if not _cached(cache, a)]
        total = sum(a.size for a in missing)
        if missing:
            say(f"{wanted.name}: downloading {len(missing)} packages of Debian {wanted.suite}, {total / 1e6:.0f} MB")
        done = 0
        for batch in _batches(missing):
            if not _download(mirror(), cache, batch):
                say(f"{wanted.name}: the mirror lacks recorded versions, resolving Debian {wanted.suite} anew")
                return None
            done += sum(a.size for a in batch)
            say(f"{wanted.name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")
    return [cache / a.sha256 / a.file_name for a in archives]


def _cached(cache: Path, archive: Archive) -> bool:
    path = cache / archive.sha256 / archive.file_name
    return path.is_file() and path.stat().st_size == archive.size and sha256_of(path) == archive.sha256


def _batches(archives: list[Archive]) -> list[list[Archive]]:
    batches: list[list[Archive]] = []
    filled = _DOWNLOAD_BATCH_BYTES
    for archive in archives:
        if filled >= _DOWNLOAD_BATCH_BYTES:
            batches.append([])
            filled = 0
        batches[-1].append(archive)
        filled += archive.size
    return batches


def _download(address: str, cache: Path, archives: list[Archive]) -> bool:
    """Fetch archives through apt's own downloader (its proxies and certificates); False when one is not to be had."""
    arguments: list[str] = []
    for archive in archives:
        (cache / archive.sha256).mkdir(exist_ok=True)
        path = cache / archive.sha256 / archive.file_name
        path.unlink(missing_ok=True)
        arguments += [f"{address}/{archive.path}", str(path), f"SHA256:{archive.sha256}"]
    command = [
        str(_APT_HELPER),
        "-o",
        "APT::Sandbox::User=",
        "-o",
        "Acquire::Retries=3",
        "-qq",
        "download-file",
        *arguments,
    ]
    subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=_APT_TIMEOUT_S,
        check=False,
    )
    return all(_cached(cache, archive) for archive in archives)


def _resolve(wanted: PackageSet) -> tuple[list[Archive], list[Path]]:
    """Resolve and download the set as its suite stands now, in an apt root where nothing is installed."""
    cache = cache_directory() / "debian"
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="binwire-apt-") as folder:
        apt = _private_apt(Path(folder), wanted)
        say(f"{wanted.name}: reading the package lists of Debian {wanted.suite}")
        _run([*apt, "update"])
        uris = _run([*apt, "--print-uris", "install", *wanted.packages])
        uris += "".join(_run([*apt, "--print-uris", "download", name], cwd=folder) for name in wanted.alone)
        lines = re.findall(r"^'([^']+)' (\S+) (\d+)", uris, re.MULTILINE)
        say(f"{wanted.name}: downloading {len(lines)} packages, {sum(int(size) for *_, size in lines) / 1e6:.0f} MB")
        _run([*apt, "--download-only", "install", *wanted.packages])
        if wanted.alone:
            _run([*apt, "download", *wanted.alone], cwd=folder)
        archives = []
        for uri, name, size in lines:
            saved = Path(folder, "cache", "archives", name)
            saved = saved if saved.is_file() else Path(folder, name)
            archive = Archive(sha256_of(saved), int(size), uri.removeprefix(mirror() + "/"))
            (cache / archive.sha256).mkdir(exist_ok=True)
            shutil.move(saved, cache / archive.sha256 / archive.file_name)
            archives.append(archive)
    archives.sort(key=lambda archive: archive.path)
    return archives, [cache / a.sha256 / a.file_name for a in archives]


def _private_apt(root: Path, wanted: PackageSet) -> list[str]:
    for folder in ("state/lists/partial", "cache/archives/partial", "log"):
        (root / folder).mkdir(parents=True)
    (root / "state" / "status").touch()
    options = f"[signed-by={_KEYRING}] " if _KEYRING.is_file() else ""
    (root / "sources.list").write_text(f"deb {options}{mirror()} {wanted.suite} main\n", encoding="utf-8")
    (root / "apt.conf").write_text(_APT_CONFIGURATION.format(root=root), encoding="utf-8")
    return ["apt-get", "-c", str(root / "apt.conf"), "-qq", "--yes"]


def _run(command: list[str], **options: object) -> str:
    options.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(command, capture_output=True, text=True, timeout=_APT_TIMEOUT_S, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        detail = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise ToolError(f"`{Path(command[0]).name} {command[-1]}` failed with status {done.returncode}: {detail}")
    return str(done.stdout)
