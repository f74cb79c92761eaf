"""Copy log records to the log of the operation. Start a hub, then run `python examples/logging_handler.py`."""

import logging
import logging.config
import logging.handlers
import queue

import tidings
from tidings.integrations.logging import OperationFilter, OperationHandler

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "console": {"class": "logging.StreamHandler"},
        "operation": {"class": "tidings.integrations.logging.OperationHandler", "level": "INFO"},
    },
    "root": {"level": "INFO", "handlers": ["console", "operation"]},
}

logger = logging.getLogger("shop.prices")


def import_prices(rows: list[str]) -> None:
    with tidings.operation("Import prices") as op:
        for row in op.track(rows, unit="rows"):
            try:
                float(row)
            except ValueError:
                logger.exception("row %r has no price", row)
        logger.info("%d rows read", len(rows))


def import_behind_a_queue(rows: list[str]) -> None:
    """If logging must never wait for a disk, another thread handles the records; the filter stores their operation."""
    records: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    sender = logging.handlers.QueueHandler(records)
    sender.addFilter(OperationFilter())
    listener = logging.handlers.QueueListener(records, OperationHandler(logging.INFO))
    listener.start()
    logger.addHandler(sender)
    with tidings.operation("Import behind a queue"):
        logger.info("%d rows to read", len(rows))
        logger.removeHandler(sender)
        listener.stop()


if __name__ == "__main__":
    logging.config.dictConfig(LOGGING)
    import_prices(["1.5", "?", "2.5"])
    logging.basicConfig(level=logging.INFO, force=True)  # without the handler, which would log each line twice
    import_behind_a_queue(["1.5"])
