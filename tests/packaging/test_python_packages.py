"""The wheel and the sdist as package indexes get them."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUNDLE = "src/tidings/server/dashboard/static/"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both archives."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def committed() -> frozenset[str]:
    """The paths that git has, or would have with the next commit."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return frozenset(path for path in listed if (ROOT / path).exists())


def test_wheel_holds_the_package_with_the_bundle_and_nothing_else(built: Path, committed: frozenset[str]) -> None:
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    package = {path.removeprefix("src/") for path in committed if path.startswith("src/tidings/")}
    assert names == package
    assert any(path.startswith(f"{BUNDLE}assets/") for path in committed)


def test_sdist_holds_what_git_holds_and_nothing_else(built: Path, committed: frozenset[str]) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as opened:
        names = {name.split("/", 1)[1] for name in opened.getnames()}
    assert names - {"PKG-INFO"} == committed
    assert {"package-lock.json", "dashboard/package.json", "clients/typescript/package.json"} <= names
