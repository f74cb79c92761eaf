"""The table of export formats."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from tidings.contract.contract import Contract
from tidings.contract.export.asyncapi import export_asyncapi
from tidings.contract.export.document import export_json
from tidings.contract.export.golang import export_go
from tidings.contract.export.json_schema import export_files, export_json_schema
from tidings.contract.export.typescript.source_file import export_typescript

# Neither language has a registered media type. Browsers show text/plain, and save files of most other types.
_SOURCE = "text/plain; charset=utf-8"


class Format(Struct, frozen=True, kw_only=True):
    """One export format."""

    name: str
    """Name on the command line."""
    title: str
    """Name in texts."""
    file: str
    """Usual file name."""
    media_type: str
    """Media type in HTTP."""
    about: str
    """Purpose, in a few words."""
    render: Callable[[Contract], str]
    """Returns the whole contract as one text."""
    files: Callable[[Contract], Mapping[str, str]] | None = None
    """Returns one text for each event, by file name; None if the format is always one file."""


FORMATS: Mapping[str, Format] = {
    format.name: format
    for format in (
        Format(
            name="json",
            title="JSON",
            file="contract.json",
            media_type="application/json",
            about="the whole contract, which tidings can load",
            render=export_json,
        ),
        Format(
            name="json-schema",
            title="JSON Schema",
            file="contract.schema.json",
            media_type="application/schema+json",
            about="JSON Schema 2020-12",
            render=export_json_schema,
            files=export_files,
        ),
        Format(
            name="asyncapi",
            title="AsyncAPI",
            file="asyncapi.json",
            media_type="application/vnd.aai.asyncapi+json;version=3.0.0",
            about="AsyncAPI 3.0",
            render=export_asyncapi,
        ),
        Format(
            name="typescript",
            title="TypeScript",
            file="tidings.ts",
            media_type=_SOURCE,
            about="types and guards in one file",
            render=export_typescript,
        ),
        Format(
            name="go",
            title="Go",
            file="tidings.go",
            media_type=_SOURCE,
            about="types in one file",
            render=export_go,
        ),
    )
}
