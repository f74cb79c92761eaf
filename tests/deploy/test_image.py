"""deploy/Dockerfile, as far as it runs without a container engine: what it copies, and the commands that it names."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from tests.cli.processes import Hub, tidings
from tests.deploy.files import DEPLOY, Image
from tests.nats_server import free_port
from tests.transcripts.markdown import ROOT


def test_copied_files_suffice_to_build_the_wheel(tmp_path: Path) -> None:
    image = Image()
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    admitted = {line[1:] for line in ignored if line.startswith("!")}
    copied = [words.split() for word, words in image.instructions if word == "COPY"]
    assert {name for *names, _ in copied for name in names} == admitted
    project = tmp_path / "src"
    project.mkdir()
    for *names, target in copied:
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, project / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, project / target)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("*.whl"))) == 1


def test_options_of_the_image_are_accepted() -> None:
    image = Image()
    options = image.options([], {})
    assert options == {"host": "0.0.0.0", "data": "/data", "auth": ["keys"], "log-format": "json"}
    assert yaml.safe_load(image.last("VOLUME")) == [options["data"]]
    assert image.last("EXPOSE") == "8765"
    assert "port" not in options, "the default"


def test_health_check_succeeds_only_beside_a_hub() -> None:
    _, _, command = Image().last("HEALTHCHECK").partition("CMD")
    program, *arguments = yaml.safe_load(command)
    assert program == "python"

    def check(port: int) -> int:
        filled = [each.replace("127.0.0.1:8765", f"127.0.0.1:{port}") for each in arguments]
        assert filled != arguments
        return subprocess.run([sys.executable, *filled], capture_output=True, check=False).returncode

    with Hub() as hub:
        assert check(hub.port) == 0
    assert check(free_port()) != 0


def test_hub_reads_keys_of_root_in_a_folder_that_it_cannot_write(tmp_path: Path) -> None:
    """As Kubernetes mounts a secret: links to files of root, which the group of the hub may read."""
    version = tmp_path / "..2026"
    version.mkdir()
    made = tidings("key", "add", "reader", "--grant", "read *", "--keys", str(version / "keys.jsonl"))
    assert made.returncode == 0, made.stderr
    (version / "keys.jsonl").chmod(0o440)
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "keys.jsonl").symlink_to("..data/keys.jsonl")
    for folder in (version, tmp_path):
        folder.chmod(0o555)
    try:
        with Hub("--auth", "keys", "--keys", str(tmp_path / "keys.jsonl")) as hub:
            assert tidings("ls", TIDINGS_URL=hub.url, TIDINGS_TOKEN=made.stdout.strip()).returncode == 0
            assert hub.stop()[0] == 0
    finally:
        for folder in (version, tmp_path):
            folder.chmod(0o755)
    assert os.listdir(version) == ["keys.jsonl"] or os.geteuid() == 0
