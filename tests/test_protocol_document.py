"""PROTOCOL.md and docs/protocol: transcripts are played against a real hub, tables compared with the code."""

import re
from collections.abc import Callable

import msgspec
import pytest
from tests.transcripts import fields, http_example, player, transcript
from tests.transcripts.markdown import ROOT, Block, Document, Table

from tidings.contract.event_types import BUILTIN, EventType, check_event_type
from tidings.exceptions import TidingsError
from tidings.hub import connection_output, rate_limits, subscription_reports, type_notices, undeclared_types
from tidings.hub.config import PACES_MS, HubConfig
from tidings.log.base import Retention
from tidings.operations import lifecycle, table, views
from tidings.protocol import envelope, messages, paths, payloads
from tidings.protocol.codes import CLOSE_CODES, CODES
from tidings.protocol.message_types import LEGACY_TYPES, ChannelType, MessageType
from tidings.protocol.revisions import REVISION
from tidings.server import operation_metrics
from tidings.server.http import body, long_poll, operations_query, publish, query
from tidings.server.websocket import inbound_budget, protocol, upgrade
from tidings.server.websocket import message_reader as message_reader

PROTOCOL = Document("PROTOCOL.md")
REFERENCE = {path.stem: Document(str(path.relative_to(ROOT))) for path in sorted(ROOT.glob("docs/protocol/*.md"))}
DOCUMENTS = [PROTOCOL, *REFERENCE.values()]
TEXT = "\n".join(document.text for document in DOCUMENTS)
TRANSCRIPTS = [block for document in DOCUMENTS for block in document.blocks_in("transcript")]
HTTP_EXAMPLES = [block for document in DOCUMENTS for block in document.blocks_in("http")]

_WITHOUT_A_TABLE = (messages.Nothing, payloads.ErrorData)
"""Data without fields, and data that has a heading of its own."""


def _heading(spec: messages.MessageSpec) -> str:
    """Return the heading of a message; only `operation:cancel` goes both ways."""
    return f"{spec.name}, pushed" if spec.direction == "to_client" and spec.name in messages.COMMANDS else spec.name


STRUCTS: dict[str, type[msgspec.Struct]] = {
    **{str(event.type): event.payload for event in BUILTIN},
    "ErrorData": payloads.ErrorData,
    "contract": payloads.ContractIdentity,
    **{_heading(spec): spec.data for spec in messages.MESSAGES if spec.data not in _WITHOUT_A_TABLE},
    "claim": messages.Claim,
    "verdict": messages.Verdict,
}
"""The struct behind each table of fields, by the heading of the table."""


def _table(heading: str) -> Table:
    """Return the only table right below a heading, in whichever document it is."""
    [found] = [table for document in DOCUMENTS for table in document.tables if table.heading == heading]
    return found


def _name(block: Block) -> str:
    return f"{block.heading}:{block.line}"


@pytest.mark.parametrize("block", TRANSCRIPTS, ids=_name)
async def test_transcript_played_against_a_hub_matches(block: Block) -> None:
    await player.play(transcript.parse(block.text))


@pytest.mark.parametrize("block", HTTP_EXAMPLES, ids=_name)
async def test_http_example_played_against_a_hub_matches(block: Block) -> None:
    await http_example.play(http_example.parse(block.text))


def test_every_section_of_transcripts_has_one() -> None:
    in_short = PROTOCOL.headings_below("Transcripts")
    assert len(in_short) == 4
    races = [*in_short, *REFERENCE["transcripts"].headings_below("Transcripts")]
    assert len(races) >= 20
    assert set(races) <= {block.heading for block in TRANSCRIPTS}


@pytest.mark.parametrize("heading", STRUCTS)
def test_table_of_a_message_matches_its_struct(heading: str) -> None:
    table = _table(heading)
    assert table.columns == ("field", "type", "presence", "meaning")
    assert all(row[3] for row in table.rows)
    assert tuple((row[0], _choices_sorted(row[1]), row[2]) for row in table.rows) == fields.rows(STRUCTS[heading])


def _choices_sorted(type_name: str) -> str:
    """Return a type with its choices in the order that msgspec reports."""
    return ", ".join(sorted(type_name.split(", "))) if type_name.startswith('"') else type_name


def test_tables_of_an_operation_match_their_structs() -> None:
    summary = fields.rows(views.OperationSummary)
    more = fields.rows(views.OperationDetail)[len(summary) :]
    for heading, rows in (("An operation in a list", summary), ("GET /v1/operations/{operation_id}", more)):
        table = _table(heading)
        assert tuple((row[0], _choices_sorted(row[1]), row[2]) for row in table.rows) == rows
        assert all(row[3] for row in table.rows)


def test_every_struct_of_messages_has_a_table() -> None:
    """`Nothing` is the data of commands that need none; the others have their section."""
    own = {
        value
        for value in vars(messages).values()
        if isinstance(value, type) and issubclass(value, payloads.Payload) and value.__module__ == messages.__name__
    }
    assert own - {messages.Nothing} == {struct for struct in STRUCTS.values() if struct.__module__ == messages.__name__}


def test_catalogue_matches_the_event_types() -> None:
    assert _table("Catalogue").rows == tuple(_catalogue_row(event) for event in BUILTIN)


def _catalogue_row(event: EventType) -> tuple[str, ...]:
    kept = "" if event.keep_newest is None else f", newest {event.keep_newest:,} of a key"
    writer = "publishers" if event.publishable else "the hub"
    return str(event.type), event.channel or "–", event.key or "–", f"{event.event_class}{kept}", writer


def test_retention_per_key_matches_the_catalogue() -> None:
    assert dict(Retention().keep_newest) == {
        event.type: event.keep_newest for event in BUILTIN if event.keep_newest is not None
    }


def test_every_name_of_the_contract_is_documented() -> None:
    names = [*MessageType, *ChannelType, *messages.COMMANDS, *LEGACY_TYPES]
    assert [name for name in names if f"`{name}`" not in TEXT] == []
    assert f"`{REVISION}`" in TEXT


def test_table_of_commands_matches_the_messages() -> None:
    rows = _table("Commands and replies").rows
    replies = {row[0]: row[1] for row in rows}
    assert replies.pop("any event") == messages.ACCEPTED
    assert replies == {
        name: spec.answered_by or "none: it is an answer itself" for name, spec in messages.COMMANDS.items()
    }


def test_members_of_the_envelope_match_its_struct() -> None:
    assert [row[0] for row in _table("Envelope").rows] == list(envelope.Envelope.__struct_fields__)


def test_state_diagram_matches_the_transitions() -> None:
    assert f"```mermaid\n{lifecycle.render_diagram()}\n```" in REFERENCE["operations"].text


def test_table_of_error_codes_matches_the_code() -> None:
    rows = tuple(
        (row.code, str(row.http), str(row.close or "–"), "yes" if row.recoverable else "no") for row in CODES.values()
    )
    tables = REFERENCE["codes"].tables_with("code", "HTTP", "close", "recoverable", "cause", "cure")
    assert tuple(row[:4] for table in tables for row in table.rows) == rows


def test_table_of_close_codes_matches_the_code() -> None:
    rows = tuple((str(row.code), row.name, "yes" if row.reconnect else "no") for row in CLOSE_CODES.values())
    assert _table("Close codes").rows == rows


def test_table_of_limits_matches_the_code() -> None:
    info = fields.rows(messages.Subscribe)[0][1]
    event_ids = _accepted_lengths(envelope.check_event_id)
    limits = {
        "data of an event": f"{envelope.MAX_DATA_BYTES:,} bytes",
        "a WebSocket message": f"{message_reader.MAX_MESSAGE_BYTES:,} bytes",
        "nesting of a message": f"{envelope.MAX_DEPTH} levels",
        "type": f"{_accepted_lengths(_declare)[-1]} characters",
        "trace_id": f"{_accepted_lengths(envelope.check_trace_id)[-1]} characters",
        "event_id": f"{event_ids[0]}–{event_ids[-1]} characters",
        "id of a command": f"{envelope.MAX_ID_CHARS} characters",
        "a key": f"{paths.MAX_KEY_BYTES} bytes",
        "paths in one command": re.findall(r"–([0-9,]+) ", info)[0],
        "paces": f"{', '.join(map(str, PACES_MS))} ms",
        "body of a post": f"{body.MAX_BODY_BYTES:,} bytes",
        "events in a post": f"{body.MAX_BATCH_EVENTS:,}",
        "pause in the body of a post": f"{body.BODY_TIMEOUT_S:g} s",
        "unfinished bodies of all posts together": f"{body.MAX_UNFINISHED_BYTES:,} bytes",
        "Idempotency-Key of a batch": f"{event_ids[0]}–{publish.MAX_BATCH_KEY_CHARS} characters",
        "paths, keys or types in the URL of a GET": f"{query.MAX_VALUES}",
        "URL of a request": f"{upgrade.MAX_URL_BYTES:,} bytes",
        "headers of a request": f"{upgrade.MAX_HEADERS}, and {upgrade.MAX_HEAD_BYTES:,} bytes together",
        f"bytes by which the chunks of a body are shorter than {upgrade.PAID_CHUNK_BYTES} bytes each, together": (
            f"{upgrade.MAX_CHUNK_OVERHEAD_BYTES:,}"
        ),
        "time for the head of a request": f"{upgrade.HEAD_TIMEOUT_S:g} s",
        "requests of one connection that wait for earlier answers": f"{upgrade.MAX_PIPELINED}",
        "events in one answer of history": f"{query.MAX_LIMIT:,}",
        "events in one answer of history, by default": f"{query.DEFAULT_LIMIT}",
        "operations in one answer": f"{query.MAX_LIMIT:,}",
        "wait for an operation's end, in one request": f"{operations_query.MAX_WAIT_S:g} s",
        "requests that wait for operations, of all clients": f"{long_poll.MAX_LONG_POLLS:,}",
        "operation names with their own series in /metrics": f"{operation_metrics.MAX_NAMES}",
        "subscriptions of one connection that are not live yet": (
            f"{subscription_reports.MAX_PENDING_SUBSCRIPTIONS}; the hub then stops reading from it"
        ),
        "notices of one connection about types": f"{type_notices.MAX_TYPE_NOTICES}",
        "undeclared types that a lenient hub accepts": f"{undeclared_types.MAX_UNDECLARED_TYPES:,} from its start on",
        "undeclared types of one subject": f"{undeclared_types.MAX_UNDECLARED_TYPES_OF_SUBJECT}",
        "live operations that one subject has begun": f"{table.MAX_LIVE_OF_OWNER:,}",
        "refused messages, Pings and small fragments of one connection": (
            f"{rate_limits.MAX_OVERHEAD:,}, and {rate_limits.OVERHEAD_PER_S:g} more each second"
        ),
        "incomplete messages of all WebSocket connections": f"{inbound_budget.MAX_INBOUND_BYTES:,} bytes",
        "unread replies of one connection": f"{connection_output.MAX_UNSENT_REPLY_BYTES:,} bytes",
        "wait for the peer's part of a close": f"{protocol.CLOSE_TIMEOUT_S:g} s",
    }
    assert {name.replace("`", ""): value for name, value in _table("Limits").rows} == limits
    assert envelope.MAX_BODY_BYTES == message_reader.MAX_MESSAGE_BYTES


def _accepted_lengths(check: Callable[[str], object]) -> list[int]:
    """Return the lengths of the texts that `check` lets through."""
    lengths = []
    for length in range(1, 300):
        try:
            check("x" * length)
        except TidingsError:
            continue
        lengths.append(length)
    return lengths


def _declare(name: str) -> None:
    """Declare an event whose type is as long as `name`."""
    type_name = f"weather:{name}"[: len(name)]
    check_event_type(EventType(type=type_name, channel="weather", payload=payloads.DataUpdateData))


@pytest.mark.parametrize(("heading", "struct"), [("Defaults", HubConfig), ("Retention defaults", Retention)])
def test_table_of_defaults_matches_the_code(heading: str, struct: type[msgspec.Struct]) -> None:
    default = struct()
    numbers = {
        name: getattr(default, name)
        for name in struct.__struct_fields__
        if isinstance(getattr(default, name), int | float)
    }
    told = {row[0]: row[1] for row in _table(heading).rows}
    assert told == {name: f"{value:,}".removesuffix(".0") for name, value in numbers.items()}


def test_sections_named_in_code_exist() -> None:
    """Hints and docstrings name a section like this: `PROTOCOL.md, "Resuming"`."""
    named = {
        reference
        for folder in ("src", "tests")
        for source in (ROOT / folder).rglob("*.py")
        for reference in _SECTION.findall(_WRAPPED.sub(" ", source.read_text()))
    }
    assert named
    documents = {name: Document(name) for name, _ in named}
    assert [(name, heading) for name, heading in named if heading not in documents[name].headings] == []


_SECTION = re.compile(r"([\w./-]+\.md), \"([^\"]+)\"")
_WRAPPED = re.compile(r"\n\s*(?:#\s*)?")


def test_documents_named_in_code_exist() -> None:
    named = {
        (path.name, name)
        for path in (ROOT / "src").rglob("*.py")
        for name in re.findall(r"CONTRACT §|\bDESIGN\b|[\w./-]+\.md(?: §)?", path.read_text())
    }
    assert named
    assert [(source, name) for source, name in named if not (ROOT / name).exists()] == []


def test_protocol_fits_in_30_kilobytes() -> None:
    assert len(PROTOCOL.path.read_bytes()) <= 30 * 1024
