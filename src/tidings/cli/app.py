"""The root of the command line."""

import typer

from tidings.cli.cancel.command import EPILOG as CANCEL_CODES
from tidings.cli.cancel.command import cancel
from tidings.cli.contract.command import contract
from tidings.cli.doctor.command import doctor
from tidings.cli.flush.command import flush
from tidings.cli.log.command import log
from tidings.cli.operation.command import operation
from tidings.cli.operations.command import EPILOG as OPERATIONS_CODES
from tidings.cli.operations.command import operations
from tidings.cli.publish.command import publish
from tidings.cli.record.command import record
from tidings.cli.relay.command import relay
from tidings.cli.replay.command import replay
from tidings.cli.running import CONTEXT, run
from tidings.cli.serve.command import serve
from tidings.cli.wait.command import EPILOG as WAIT_CODES
from tidings.cli.wait.command import wait
from tidings.cli.watch.command import watch
from tidings.version import __version__

app = typer.Typer(
    name="tidings",
    no_args_is_help=True,
    # A fault of ours is reported as Python reports it, so that it can be sent in.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(serve)
app.command()(watch)
app.command()(publish)
app.command(context_settings=CONTEXT)(run)
app.command(epilog=OPERATIONS_CODES)(operations)
app.add_typer(operation)
app.command(epilog=WAIT_CODES)(wait)
app.command(epilog=CANCEL_CODES)(cancel)
app.command()(flush)
app.command()(relay)
app.command()(record)
app.command()(replay)
app.command()(doctor)
app.add_typer(contract)
app.add_typer(log)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"tidings {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True, help="Print the version."),
) -> None:
    """See long-running work as it happens."""
