"""The option `--log` of `tidings serve`: the journal of a hub of several machines."""

from tidings.cli.serve.settings import ServeSettings
from tidings.exceptions import ConfigError
from tidings.log.journal.engines import JournalEngine, find_engine


def find_journal(settings: ServeSettings) -> JournalEngine | None:
    """Return the journal that the settings name; None for a hub of one machine.

    Raises:
        ConfigError: They do not fit together, or the URL or a file is not valid.
        MissingExtra: The driver of the engine is not installed.
    """
    if settings.log is None:
        for name, value in (("log-credentials", settings.log_credentials), ("log-ca", settings.log_ca)):
            if value is not None:
                raise _refuse(name, f"--{name} is for the servers that --log names", "Pass --log too, or neither.")
        return None
    if settings.data is None:
        raise _refuse("log", "--log and --memory exclude each other: each node has a folder", "Pass only one of them.")
    if settings.workers != 1:
        raise _refuse(
            "log",
            "--log and --workers exclude each other",
            "Run one node for each core instead, each with a folder and a port of its own.",
        )
    try:
        return find_engine(settings.log, credentials=settings.log_credentials, ca=settings.log_ca)
    except ValueError as cause:
        raise _refuse("log", f"--log: {cause}", "See docs/cluster.md.") from cause


def _refuse(option: str, message: str, hint: str) -> ConfigError:
    return ConfigError(message, option=option, source=option, hint=hint)
