"""The command line: `tidings serve`, `watch`, `publish`, `run`, `log`, `doctor`."""

from tidings.cli.app import main as main
