"""librdkafka in several versions, kcat, and what is compiled against them, all private to the checkout.

Debian's packages give kcat, librdkafka 2.0.2 with its headers, and a C library to compile against; the wheels of
confluent-kafka, whose files on the package index never change, carry the librdkafka of their day. A program compiled
against the headers of 2.0.2 runs on any of them: librdkafka keeps its binary interface, and the program uses nothing
younger than the library it runs on.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.tools import debian, venvs
from tests.tools.debian import PackageSet
from tests.tools.workplace import CLIENTS_DIRECTORY, ToolError, installed_once, run_quietly, say

KCAT_PACKAGES = PackageSet("kcat", "bookworm", ("kcat",))
LIBRDKAFKA_PACKAGES = PackageSet(
    "librdkafka", "bookworm", ("librdkafka1",), ("librdkafka-dev", "libc6-dev", "linux-libc-dev")
)
DEBIAN_VERSION = "2.0.2"

# The wheels: for which Python one was published, and the platform it names. Only the library in it is used.
_WHEELS = {
    "0.11.6": ("36", "manylinux1_x86_64"),
    "1.9.2": ("310", "manylinux_2_17_x86_64"),
    "2.16.1": ("311", "manylinux_2_28_x86_64"),
}
_COMPILE_TIMEOUT_S = 120
_DOWNLOAD_TIMEOUT_S = 300
_C_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-D_GNU_SOURCE", "-pthread")


def kcat_command() -> tuple[str, ...]:
    """The command of kcat: the installed one, else Debian's, unpacked privately."""
    installed = shutil.which("kcat")
    if installed:
        return (installed,)
    return debian.program(debian.unpack(KCAT_PACKAGES, CLIENTS_DIRECTORY / "kcat"), "usr/bin/kcat")


def program(source: Path, version: str) -> tuple[str, ...]:
    """The command of a C program on librdkafka ``version``, through the loader of the C library it was made for."""
    root = _debian_root()
    loader, option, path, _ = debian.program(root, "")
    libraries = path if version == DEBIAN_VERSION else f"{_library_of_a_wheel(version)}:{path}"
    return (loader, option, libraries, str(_compiled(root, Path(path), source)))


def confluent_kafka(version: str) -> str:
    """The interpreter of an environment with confluent-kafka ``version`` as its wheel for this Python has it."""
    return str(venvs.ensure(f"confluent-kafka-{version}", [f"confluent-kafka=={version}"]) / "bin" / "python")


def confluent_kafka_compiled(version: str) -> str:
    """The same for a version older than this Python: its source compiled against the library of its own wheel."""
    _compiler()
    library = _library_of_a_wheel(version)
    build = {
        "C_INCLUDE_PATH": str(library / "include"),
        "LIBRARY_PATH": str(library),
        "LDFLAGS": f"-Wl,-rpath,{library}",
    }
    requirements = [f"confluent-kafka=={version}"]
    return str(venvs.ensure(f"confluent-kafka-{version}", requirements, build) / "bin" / "python")


def _debian_root() -> Path:
    return debian.unpack(LIBRDKAFKA_PACKAGES, CLIENTS_DIRECTORY / "librdkafka")


def _compiler() -> str:
    found = shutil.which("gcc") or shutil.which("cc")
    if not found:
        raise ToolError("there is no C compiler (gcc or cc) on the PATH: install one to run clients written in C")
    return found


def _compiled(root: Path, libraries: Path, source: Path) -> Path:
    """The program, compiled against headers and C library of ``root``, so that it needs none of the machine's."""
    compiler = _compiler()
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    target = CLIENTS_DIRECTORY / f"c-{source.stem}"
    stamp = f"{digest} {' '.join(_C_FLAGS)} {(root / '.stamp').read_text(encoding='utf-8')}"

    def compile_into(fresh: Path) -> None:
        say(f"{source.name}: compiling")
        _run(
            [
                *(compiler, *_C_FLAGS, f"--sysroot={root}", str(source), "-o", str(fresh / source.stem)),
                *(f"-L{libraries}", "-lrdkafka", "-Wl,--allow-shlib-undefined", "-Wl,-z,now"),
            ],
            _COMPILE_TIMEOUT_S,
        )

    return installed_once(target, stamp, compile_into) / source.stem


def _library_of_a_wheel(version: str) -> Path:
    """A folder with the librdkafka that the wheel of confluent-kafka ``version`` carries, and headers beside it."""
    python, wheel_platform = _WHEELS[version]
    if platform.machine() != "x86_64":
        raise ToolError(f"no wheel of confluent-kafka {version} was published for {platform.machine()}")
    headers = _debian_root() / "usr" / "include" / "librdkafka"

    def fill(fresh: Path) -> None:
        say(f"librdkafka {version}: taking it from the wheel of confluent-kafka")
        with tempfile.TemporaryDirectory(prefix="binwire-wheel-") as folder:
            _run(
                [
                    *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
                    *("--implementation", "cp", "--python-version", python, "--platform", wheel_platform),
                    *("--dest", folder, f"confluent-kafka=={version}"),
                ],
                _DOWNLOAD_TIMEOUT_S,
            )
            (wheel,) = Path(folder).glob("*.whl")
            _unpack_libraries(wheel, fresh)
        shutil.copytree(headers, fresh / "include" / "librdkafka")

    return installed_once(CLIENTS_DIRECTORY / f"librdkafka-{version}", f"{version} {wheel_platform}", fill)


def _unpack_libraries(wheel: Path, target: Path) -> None:
    """The libraries under their own names; librdkafka also under the names a linker and a loader look for."""
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            folder, _, name = member.rpartition("/")
            if name and folder.endswith(".libs"):
                (target / name).write_bytes(archive.read(member))
    (library,) = target.glob("librdkafka*.so.1")
    for alias in ("librdkafka.so.1", "librdkafka.so"):
        if alias != library.name:
            (target / alias).symlink_to(library.name)


def _run(command: list[str], timeout_s: int) -> None:
    done = run_quietly(command, timeout_s=timeout_s)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        detail = lines[0] if lines else f"status {done.returncode}"
        raise ToolError(f"`{Path(command[0]).name} {command[1]} …` failed: {detail}")
