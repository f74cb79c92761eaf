"""What can be waited for."""

from enum import StrEnum

from tidings.cli.exit_codes import ExitCode
from tidings.operations.lifecycle import OperationState


class Until(StrEnum):
    """What an operation is to come to."""

    COMPLETE = "complete"
    """It ended well."""
    ENDED = "ended"
    """It ended, however."""
    RUNNING = "running"
    """It has begun; if it ran and ended meanwhile, then how it ended counts."""

    def reached(self, state: OperationState) -> ExitCode | None:
        """Return the exit code for an operation in `state`, None where it is to be waited for."""
        if state is OperationState.QUEUED:
            return None
        if state is OperationState.RUNNING:
            return ExitCode.WELL if self is Until.RUNNING else None
        if state is OperationState.COMPLETE or self is Until.ENDED:
            return ExitCode.WELL
        return ExitCode.FAILED if state is OperationState.FAILED else ExitCode.CANCELLED
