"""Handlers of the commands of a `tidings.v1` connection (PROTOCOL.md, "Commands and replies").

Each handler stands once, registered for the command that it serves. The commands themselves are rows of
`tidings.protocol.messages.MESSAGES`.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final, Protocol

import msgspec
from msgspec import structs

from tidings.access.audit import AuditAction, AuditOutcome
from tidings.access.subjects import Subject
from tidings.exceptions import (
    AccessError,
    Draining,
    Forbidden,
    InvalidCommand,
    InvalidPath,
    InvalidPayload,
    LimitExceeded,
    NotSupported,
    OperationUnknown,
)
from tidings.hub.connection_access import ConnectionAccess
from tidings.hub.hub import Hub
from tidings.hub.interfaces import LeaseHolder
from tidings.hub.lanes import Subscriber
from tidings.hub.wire import Outlet
from tidings.log.newest import SEPARATOR
from tidings.protocol import messages
from tidings.protocol.codes import error_data
from tidings.protocol.envelope import Envelope, parse_validation_error
from tidings.protocol.messages import MessageSpec
from tidings.protocol.paths import EVERYTHING, Path, PathSet, check_key, parse_path, parse_paths
from tidings.protocol.payloads import Payload
from tidings.protocol.positions import Since, parse_since
from tidings.protocol.strict_json import check_message

Wait = Callable[[Callable[[], None]], None]
"""Calls its argument once, now or later."""


class CommandConnection(LeaseHolder, Protocol):
    """The part of a connection that command handlers use."""

    hub: Hub
    outlet: Outlet
    subscriber: Subscriber
    versioned: bool
    access: ConnectionAccess | None
    """The subject of the connection; None where the hub does not identify its clients."""
    producer_id: str
    """The producer that is attached on this connection; "" without one."""

    def reply(self, command: Envelope, data: Payload) -> None:
        """Send the reply to `command`."""

    def subscribe(self, paths: PathSet, since: Since, command: Envelope | None) -> None:
        """Add `paths` to those that the connection reads, and report how reading begins in reply to `command`."""

    def record(self, action: AuditAction, outcome: AuditOutcome, **facts: str | None) -> None:
        """Add a record to the audit trail."""

    def hold_messages(self) -> None:
        """Process no message that follows until `release_messages`."""

    def release_messages(self) -> None:
        """Process the messages that were held."""

    def run_after(self, wait: Wait, command: Envelope, step: Callable[[], None]) -> None:
        """Call `step` when `wait` calls back, and process the messages that follow `command` then.

        Args:
            wait: Called with a function that it calls back.
            command: The command: an error of `step` is the reply to it.
            step: Runs the command, or a part of it.
        """

    def notify_unavailable(self, type: str) -> None:
        """Send a notice if the hub never delivers events of `type`, because the type is unknown or deprecated."""


MAX_HINT_PATHS: Final = 20
"""Paths of a connection that the hint of an error lists."""

CommandHandler = Callable[[CommandConnection, Envelope, Any], None]
"""Called with the connection, the command, and the command's decoded data."""

OPERATION_COMMANDS: Final = frozenset({messages.ATTACH, messages.CANCEL})
"""Commands whose answer depends on the state of operations: they follow the events that were sent before them."""

HANDLERS: dict[str, CommandHandler] = {}
"""The handler of each command, by name."""


def run_command(connection: CommandConnection, command: Envelope, spec: MessageSpec, body: bytes) -> None:
    """Decode the data of `command`, whose row in the table is `spec` and whose message `body`, and call its handler.

    Raises:
        InvalidCommand: The data does not fit, or the command has no id.
        InvalidJSON: The message has two members of one name, or a number beyond 64 bits.
        TidingsError: The handler rejects the command.
    """
    hint = f'Send {spec.name} as in PROTOCOL.md, "Commands and replies".'
    try:
        check_message(body, spec.data)
        data = spec.decode(command.data)
    except InvalidPayload as cause:
        raise InvalidCommand(cause.message, hint=cause.hint) from cause
    except msgspec.ValidationError as cause:
        message, path = parse_validation_error(cause, "$.data")
        raise InvalidCommand(f"{path}: {message}", hint=hint) from cause
    if spec.answered_by is not None and command.id is None and connection.versioned:
        raise InvalidCommand(f"{spec.name} needs an `id`")
    try:
        HANDLERS[spec.name](connection, command, data)
    except AccessError as error:
        if spec.name != messages.CANCEL:  # which records its operation, too
            connection.record("request", "refused", code=error.code, transport="websocket", type=spec.name)
        raise


def _handles(name: str) -> Callable[[CommandHandler], CommandHandler]:
    def register(handler: CommandHandler) -> CommandHandler:
        HANDLERS[name] = handler
        return handler

    return register


@_handles(messages.SUBSCRIBE)
def _subscribe(connection: CommandConnection, command: Envelope, data: messages.Subscribe) -> None:
    channels, access = connection.hub.contract.channels, connection.access
    parse = parse_paths if access is None else access.grants.parse_read
    paths = parse(data.channels, channels)
    since = parse_since(data.since)
    own = connection.subscriber.paths.paths
    limit = connection.hub.config.paths_of_connection
    if len(own) + len(paths.paths) > limit:
        more = frozenset(paths.paths).difference(own)
        if len(own) + len(more) > limit:
            raise LimitExceeded(
                f"this connection would read {len(own) + len(more)} paths; {limit:,} are allowed",
                hint="Read a prefix (`operations/acme.*`) or the whole channel, or open another connection.",
            )
    for type in data.handles or ():
        connection.notify_unavailable(type)
    if access is not None and EVERYTHING in data.channels:
        access.everything = True
    connection.subscribe(paths, since, command)


@_handles(messages.UNSUBSCRIBE)
def _unsubscribe(connection: CommandConnection, command: Envelope, data: messages.Unsubscribe) -> None:
    hub, subscriber = connection.hub, connection.subscriber
    own = subscriber.paths
    held = frozenset(own.paths)
    removed: set[Path] = set()
    for text in frozenset(data.channels):
        if text == EVERYTHING:
            removed |= held
            continue
        paths = parse_path(text, hub.contract.channels)
        if not held.issuperset(paths):
            raise InvalidPath(f"this connection does not read {text[:80]!r}", hint=_describe_paths(own))
        removed.update(paths)
    if connection.access is not None:
        connection.access.everything = False
    hub.delivery.unsubscribe(subscriber, PathSet.of(removed))
    connection.reply(command, messages.Unsubscribed(channels=subscriber.paths.names()))


def _describe_paths(paths: PathSet) -> str:
    shown = [str(path) for path in paths.paths[:MAX_HINT_PATHS]]
    more = len(paths.paths) - len(shown)
    return f"It reads {', '.join(shown) or 'nothing'}{f' and {more} others' if more else ''}."


@_handles(messages.PING)
def _ping(connection: CommandConnection, command: Envelope, data: messages.Nothing) -> None:
    connection.reply(command, messages.Pong(now=connection.hub.timestamp()))


@_handles(messages.AUTH_TOKEN)
def _authenticate(connection: CommandConnection, command: Envelope, data: messages.AuthToken) -> None:
    if connection.access is None:
        raise NotSupported("this hub asks for no credentials", hint="Leave auth:token out.")
    connection.access.renew(command, data.token)


@_handles(messages.ATTACH)
def _attach(connection: CommandConnection, command: Envelope, data: messages.Attach) -> None:
    subject = None if connection.access is None else connection.access.subject
    producer_id = data.producer_id if subject is None else subject.qualify(data.producer_id)
    if connection.producer_id not in ("", producer_id):
        raise InvalidCommand(
            f"this connection already belongs to producer {connection.producer_id.rpartition(SEPARATOR)[2]!r}",
            hint="Open another connection for this producer.",
        )
    for claim in data.operations:
        check_key(claim.operation_id)
    attach, uncovered = (data, ()) if subject is None else _covered(subject, data)
    connection.producer_id = producer_id

    def answer(attached: messages.Attached) -> None:
        connection.outlet.set_peer_timeout(attached.lease_s)
        connection.reply(command, _answer_all(data, attached, uncovered))
        connection.release_messages()

    connection.hold_messages()
    connection.hub.leases.attach(connection, attach, answer)


def _covered(subject: Subject, data: messages.Attach) -> tuple[messages.Attach, Collection[str]]:
    """Return what a subject's grants cover of a command, and the operations that they do not, which are lost to it.

    Raises:
        Forbidden: The subject may publish nothing.
    """
    grants = subject.grants
    if not grants.publish:
        raise Forbidden(
            "no grant to publish anything", hint="Use a token or key with a grant such as `publish operations`."
        )
    uncovered = {each.operation_id for each in data.operations if not grants.may_hold(each.operation_id)}
    covered = [each for each in data.operations if each.operation_id not in uncovered]
    return structs.replace(data, producer_id=subject.qualify(data.producer_id), operations=covered), uncovered


def _answer_all(data: messages.Attach, attached: messages.Attached, uncovered: Collection[str]) -> messages.Attached:
    """Return the answer to all claims of a command, those that the grants do not cover included."""
    verdicts = iter(attached.operations)
    answers = [
        messages.Verdict(operation_id=claim.operation_id, verdict="lost")
        if claim.operation_id in uncovered
        else next(verdicts)
        for claim in data.operations
    ]
    return structs.replace(attached, producer_id=data.producer_id, operations=answers)


@_handles(messages.CANCEL)
def _cancel(connection: CommandConnection, command: Envelope, data: messages.Cancel) -> None:
    request = partial(_request_cancel, connection, command, data)
    if connection.hub.operations.life(data.operation_id) is None:  # another hub of the log may know it already
        connection.run_after(connection.hub.log.catch_up, command, request)
    else:
        request()


def _request_cancel(connection: CommandConnection, command: Envelope, data: messages.Cancel) -> None:
    draining = error_data(Draining("the hub is shutting down, and the operation has not ended yet"))
    on_drain = partial(connection.reply, command, draining)
    subject = None if connection.access is None else connection.access.subject
    record = partial(connection.record, "cancel", operation_id=data.operation_id)
    try:
        connection.hub.cancellations.request(
            data, partial(connection.reply, command), on_drain=on_drain, owner=connection, subject=subject
        )
    except (AccessError, OperationUnknown) as error:
        record("refused", code=error.code)
        raise
    record("accepted")


@_handles(messages.CANCEL_ANSWER)
def _answer_cancel(connection: CommandConnection, command: Envelope, data: messages.CancelAnswer) -> None:
    if command.reply_to is None:
        raise InvalidCommand(f"{messages.CANCEL_ANSWER} needs `reply_to`, the id of the push that it answers")
    connection.hub.cancellations.record_answer(connection, command.reply_to, data)
