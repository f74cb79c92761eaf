"""Running of a command as an operation: its output and exit code pass through, its progress is reported."""

from tidings.cli.run.command import run_command as run_command
from tidings.cli.run.reader.output import CommandProgress as CommandProgress
from tidings.cli.run.reader.output import OutputReader as OutputReader
from tidings.cli.run.reader.output import Source as Source
from tidings.cli.run.reporter import Reporter as Reporter

__all__ = ["CommandProgress", "OutputReader", "Reporter", "Source", "run_command"]
