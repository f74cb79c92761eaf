"""Running of a command as an operation: its output and exit code pass through, its progress is reported."""
