"""What the numbers were measured on."""

import os
import platform
import shlex
import sqlite3
import sys
from importlib import metadata
from pathlib import Path

LIBRARIES = ("msgspec", "websockets", "uvloop", "uvicorn", "httptools", "starlette")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _library_version(name: str) -> str:
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return f"{name} –"


def describe_machine(*, network: str, pinning: str, program: str = "benchmarks.fanout") -> str:
    """Return the head of the report: machine, kernel, versions, network and the command."""
    kernel = platform.uname()
    libraries = ", ".join(_library_version(name) for name in LIBRARIES)
    command = shlex.join([Path(sys.executable).name, "-m", program, *sys.argv[1:]])
    return "\n".join(
        [
            f"machine   {_processor()}, {os.cpu_count()} cores, {kernel.system} {kernel.release}",
            f"python    {platform.python_implementation()} {platform.python_version()}, {libraries}, "
            f"SQLite {sqlite3.sqlite_version}",
            f"network   {network}",
            f"cores     {pinning}",
            f"command   {command}",
        ]
    )
