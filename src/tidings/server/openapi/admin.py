"""OpenAPI 3.1 descriptions of the routes about access: tickets, revocations and sessions."""

from typing import Final

from tidings.hub.system_samples import MAX_SAMPLES
from tidings.server.http.admin import REVOCATIONS, SESSIONS
from tidings.server.http.audit_stream import AUDIT
from tidings.server.http.system import DEFAULT_SAMPLES, SYSTEM
from tidings.server.http.tickets import TICKETS
from tidings.server.http.whoami import WHOAMI
from tidings.server.openapi.schemas import (
    GUARDED_STATUSES,
    Schema,
    errors,
    limit_parameter,
    open_responses,
    parameter,
    ref,
    request_header,
    responses,
)

_AFTER: Final = "The `next` of the previous answer."


def admin_paths() -> Schema:
    """Return the paths about access."""
    return {
        WHOAMI: {"get": _whoami()},
        SYSTEM: {"get": _system()},
        TICKETS: {"post": _issue_ticket()},
        REVOCATIONS: {"get": _list_revocations(), "post": _revoke()},
        SESSIONS: {"get": _list_sessions()},
        AUDIT: {"get": _read_audit()},
    }


def _read_audit() -> Schema:
    since: Schema = {"type": "string", "enum": ["first", "now"]}
    return {
        "operationId": "readAudit",
        "tags": ["access"],
        "summary": "Read the audit trail as it is written (Server-Sent Events)",
        "parameters": [
            parameter("since", since, "`first`, the default: the newest records in memory, too. `now`: only new ones."),
            request_header("Last-Event-ID", {"type": "string"}, "Number of the last record that the client has."),
        ],
        "responses": {
            "200": {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **errors(400, *GUARDED_STATUSES, 404, 503),
        },
    }


def _whoami() -> Schema:
    return {
        "operationId": "whoami",
        "tags": ["access"],
        "summary": "Read who sends the request, and how the hub identifies its clients",
        "responses": open_responses("The sender, if it is identified.", ref("WhoamiView"), 400, 503),
    }


def _system() -> Schema:
    count = {"type": "integer", "format": "int32", "minimum": 0, "maximum": MAX_SAMPLES, "default": DEFAULT_SAMPLES}
    return {
        "operationId": "readSystem",
        "tags": ["hub"],
        "summary": "Read the state of the hub, its log, its clients and producers",
        "parameters": [parameter("samples", count, "Number of one-minute samples, the newest.")],
        "responses": responses("The state.", ref("SystemView"), 400, 503),
    }


def _issue_ticket() -> Schema:
    return {
        "operationId": "issueTicket",
        "tags": ["access"],
        "summary": "Get a single-use ticket for a stream or a WebSocket",
        "responses": responses("The ticket.", ref("TicketView"), 400, 408, 413, 415, 503),
    }


def _list_revocations() -> Schema:
    kind: Schema = {"type": "string", "enum": ["credential", "subject"]}
    return {
        "operationId": "listRevocations",
        "tags": ["access"],
        "summary": "List the credentials that no longer count",
        "parameters": [
            parameter("kind", kind, "Only revocations of credentials, or of subjects."),
            parameter("name", {"type": "string"}, "Only the revocation of this credential id, or this subject."),
            limit_parameter(),
            parameter("after", {"type": "string"}, _AFTER),
        ],
        "responses": responses("One page.", ref("RevocationPage"), 400, 404, 503),
    }


def _revoke() -> Schema:
    return {
        "operationId": "revoke",
        "tags": ["access"],
        "summary": "Revoke a credential, or all that a subject has",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": ref("RevocationRequest"),
                    "examples": {"credential": {"value": {"credential_id": "k3v7ab2q"}}},
                }
            },
        },
        "responses": {
            **responses("It counts from now on.", ref("RevocationView"), 400, 404, 408),
            **errors(413, 415, 422, 503),
        },
    }


def _list_sessions() -> Schema:
    return {
        "operationId": "listSessions",
        "tags": ["access"],
        "summary": "List open connections, streams and waiting requests, with their subjects",
        "parameters": [
            parameter("subject", {"type": "string"}, "Only those of this subject."),
            limit_parameter(),
            parameter("after", {"type": "string", "pattern": "^(0|[1-9][0-9]{0,18})$"}, _AFTER),
        ],
        "responses": responses("One page.", ref("SessionPage"), 400, 404, 503),
    }
