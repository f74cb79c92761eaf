"""The command line: `tidings serve`, `watch`, `publish`, `run`, `log`, `doctor`."""

from tidings.cli.main import main as main
