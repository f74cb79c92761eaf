"""The command line, called within this process: for the many ways to use it wrongly."""

import io
import sys

import pytest

from tidings.cli.main import main


class Called:
    """What a call printed, and its exit code."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str, stdin: str = ""
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["tidings", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main()
        self.code = caught.value.code or 0
        self.stdout, self.stderr = capsys.readouterr()
