"""The distributions contain the dashboard, so that an installed hub shows it without Node."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STATIC = Path("src/tidings/server/dashboard/static")
MADE_UP = {"index.html": "<html>", "elements.js": "export {};", "assets/index-Ab12.js": "1", "icon.svg": "<svg/>"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a copy of the project, in which a checkout without a build gets one that is made up."""
    project = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "PROTOCOL.md", ".gitignore"):
        shutil.copy(ROOT / name, project)
    shutil.copytree(ROOT / "src", project / "src", ignore=shutil.ignore_patterns("__pycache__"))
    if not (project / STATIC / "index.html").exists():
        for name, text in MADE_UP.items():
            (project / STATIC / name).parent.mkdir(parents=True, exist_ok=True)
            (project / STATIC / name).write_text(text)
    command = [sys.executable, "-m", "hatchling", "build", "--directory", str(project / "dist")]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return project


def test_wheel_and_source_archive_contain_every_file_of_the_dashboard(built: Path) -> None:
    [wheel], [archive] = (built / "dist").glob("*.whl"), (built / "dist").glob("*.tar.gz")
    files = {path.relative_to(built / STATIC).as_posix() for path in (built / STATIC).rglob("*") if path.is_file()}
    assert "index.html" in files
    with zipfile.ZipFile(wheel) as opened:
        assert files <= {
            name.removeprefix("tidings/server/dashboard/static/")
            for name in opened.namelist()
            if name.startswith("tidings/server/dashboard/static/")
        }
    with tarfile.open(archive) as opened_archive:
        names = {name.partition("/")[2] for name in opened_archive.getnames()}
    assert {f"{STATIC.as_posix()}/{name}" for name in files} <= names


def test_installed_wheel_serves_the_dashboard(built: Path, tmp_path: Path) -> None:
    [wheel] = (built / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path)
    code = (
        "from tidings.server.dashboard import bundle\n"
        "found = bundle.packaged_bundle()\n"
        "assert bundle.__file__.startswith(%r), bundle.__file__\n"
        "print(found.index.media_type, len(found.files))"
    )
    command = [sys.executable, "-c", code % str(tmp_path)]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("text/html; charset=utf-8 "), done.stderr
