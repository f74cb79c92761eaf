"""`make run` continues after an install that Ctrl-C interrupted."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent


def test_install_interrupted_before_pip_is_completed(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "Makefile", tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    environment = tmp_path / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)

    # Without a registry, the install itself fails; here only pip matters.
    kept = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}  # those of `make test`
    variables = {**kept, "PIP_NO_INDEX": "1"}
    subprocess.run(["make", ".venv/.hub", f"PYTHON={sys.executable}"], cwd=tmp_path, env=variables, capture_output=True)

    subprocess.run([environment / "bin" / "python", "-m", "pip", "--version"], check=True, capture_output=True)
