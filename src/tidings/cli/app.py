"""The root of the command line."""

import typer

from tidings.cli.serve import serve

app = typer.Typer(name="tidings", no_args_is_help=True, help=__doc__)
app.command()(serve)


@app.callback()
def root() -> None:
    """See long-running work as it happens."""


def main() -> None:
    """Run the command line."""
    app()
