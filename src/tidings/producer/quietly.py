"""Reporting must not hurt the job: what goes wrong in it is noted once, and goes no further."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

from tidings.exceptions import OperationCancelled
from tidings.producer.remarks import Remarks

P = ParamSpec("P")

REMARKS = Remarks()
"""This process's."""


def quietly(report: Callable[P, None]) -> Callable[P, None]:
    """Return `report` so that of its exceptions only OperationCancelled reaches the job, which is meant for it."""

    @wraps(report)
    def guarded(*arguments: P.args, **options: P.kwargs) -> None:
        try:
            report(*arguments, **options)
        except OperationCancelled:
            raise
        except Exception as error:
            REMARKS.fault(f"reporting ({report.__qualname__})", error)

    return guarded
