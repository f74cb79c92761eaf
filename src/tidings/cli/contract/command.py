"""The commands `tidings contract …`."""

from functools import partial
from typing import Annotated

import msgspec
import typer

from tidings.cli.contract.check import check
from tidings.cli.contract.diff import diff
from tidings.cli.contract.writing import write_export
from tidings.contract.contract import Contract
from tidings.contract.export.formats import FORMATS, Format
from tidings.contract.export.golang import PACKAGE, export_go
from tidings.contract.loading import load_contract
from tidings.exceptions import ConfigError

contract = typer.Typer(
    name="contract", no_args_is_help=True, help="Write a contract for other languages and tools, and check against it."
)
contract.command()(diff)
contract.command()(check)

ContractOption = Annotated[
    str | None,
    typer.Option(
        "--contract",
        metavar="SPEC",
        envvar="TIDINGS_CONTRACT",
        help="module:attribute, or a .json or .toml file. Default: what every hub speaks.",
        show_default=False,
    ),
]
"""The option that names a contract, the same for every command that needs one."""


def chosen_contract(spec: str | None) -> Contract:
    """Return the contract that the option names; where it names none, what every hub speaks.

    Raises:
        InvalidContract: There is none, or it cannot be held.
    """
    return Contract() if spec is None else load_contract(spec)


@contract.command()
def export(
    format: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT",
            help="; ".join(f"{each.name}: {each.about}" for each in FORMATS.values()) + ".",
            show_default=False,
        ),
    ],
    spec: ContractOption = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE|DIR",
            help="Where to write it. A folder gets a file of the usual name, and of json-schema one an event.",
            show_default=False,
        ),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option("--package", metavar="NAME", help=f"Of go. Default: {PACKAGE}.", show_default=False),
    ] = None,
) -> None:
    """Write a contract in another form, to stdout or to a file."""
    chosen = FORMATS.get(format)
    if chosen is None:
        raise ConfigError(
            f"there is no format {format!r}",
            option="FORMAT",
            source="the command line",
            hint=f"Formats are {', '.join(FORMATS)}.",
        )
    if package is not None:
        chosen = _packaged(chosen, package)
    write_export(chosen, chosen_contract(spec), output)


def _packaged(format: Format, package: str) -> Format:
    if format.render is not export_go:
        raise ConfigError(
            f"{format.name} has no packages", option="package", source="--package", hint="Leave --package out."
        )
    return msgspec.structs.replace(format, render=partial(export_go, package=package))
