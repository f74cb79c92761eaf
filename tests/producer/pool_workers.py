"""Functions that the worker processes of a pool run."""

import tidings


def report_part(job: tuple[str, int]) -> str:
    """Report a part of the operation of another process, and return its id."""
    parent_id, rows = job
    with tidings.operation(f"Part {rows}", parent=parent_id, total=rows) as op:
        for _ in range(rows):
            op.advance()
    return op.id


def report_on_inherited(_: int) -> None:
    """Report on an operation that a forked process has inherited."""
    op = tidings.current_operation()
    assert op is not None
    op.advance()
    op.log("lost")
    with op.step("lost"):
        pass


def advance(op: tidings.Operation) -> None:
    """Report on an operation that was sent to this process."""
    op.advance()
