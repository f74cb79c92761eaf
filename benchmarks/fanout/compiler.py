"""Compiling the two native programs: the load generator and the baseline server."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NATIVE = Path(__file__).parent / "native"
BINARIES = Path(__file__).parent / "bin"
FLAGS = ("-O2", "-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra")
SHARED = ("stream.c", "wire.c")
BASELINE = ("baseline.c", *SHARED)
LOAD = (
    "load.c",
    "options.c",
    "window.c",
    "process.c",
    "link.c",
    "event.c",
    "deliveries.c",
    "fanout.c",
    "idle.c",
    "http.c",
    *SHARED,
)


class CompilerError(Exception):
    """The native programs cannot be built here; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """The compiled programs."""

    baseline: Path
    load: Path


def find_compiler() -> str | None:
    """Return the C compiler (`$CC`, else `cc`, `gcc` or `clang`), or None if there is none."""
    named = os.environ.get("CC")
    for candidate in (named,) if named else ("cc", "gcc", "clang"):
        if found := shutil.which(candidate):
            return found
    return None


def supported() -> bool:
    """Say whether the programs can run here: they use epoll, timerfd and /proc."""
    return sys.platform == "linux"


def _compile(compiler: str, sources: tuple[str, ...], target: Path) -> None:
    # Built beside its place and moved there, so that two runs at once never execute half a file.
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    command = [compiler, *FLAGS, "-o", str(fresh), *(str(NATIVE / source) for source in sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fresh.unlink(missing_ok=True)
        raise CompilerError(f"{' '.join(command)} failed:\n{done.stderr}")
    fresh.replace(target)


def _is_current(target: Path) -> bool:
    newest = max(source.stat().st_mtime for source in NATIVE.iterdir())
    return target.exists() and target.stat().st_mtime > newest


def compile_binaries(folder: Path = BINARIES) -> Binaries:
    """Compile both programs into a folder, unless they are newer than every source.

    Raises:
        CompilerError: there is no C compiler, the system is not Linux, or compiling failed.
    """
    if not supported():
        raise CompilerError("the native programs need Linux (epoll, timerfd, /proc)")
    compiler = find_compiler()
    if compiler is None:
        raise CompilerError("no C compiler found: install gcc or clang, or set CC")
    folder.mkdir(parents=True, exist_ok=True)
    binaries = Binaries(baseline=folder / "baseline", load=folder / "load")
    for sources, target in ((BASELINE, binaries.baseline), (LOAD, binaries.load)):
        if not _is_current(target):
            _compile(compiler, sources, target)
    return binaries
