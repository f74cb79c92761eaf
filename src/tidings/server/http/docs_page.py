"""`GET /docs`: the contract as a page for people, without scripts and without external resources."""

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from html import escape
from pkgutil import get_data
from typing import Final

from tidings.contract.contract import Contract
from tidings.contract.export import shapes
from tidings.contract.export.descriptions import describe_kind, describe_limits
from tidings.contract.export.examples import build_example
from tidings.contract.export.model import Definition, Message, Model, build_model
from tidings.contract.export.shapes import Shape, ShapeField
from tidings.protocol.message_types import ALIASES, LEGACY_TYPES, MessageType
from tidings.protocol.revisions import REVISIONS


def _css() -> str:
    text = get_data(__package__, "docs_page.css")
    assert text is not None
    return text.decode()


STYLE: Final = _css()
"""The style of the hub's pages."""
SECURITY_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
)
"""A page may load no resources, so that no text of a contract can run as a script, and no other page may frame it."""
PAGE_HEADERS: Final = {"content-security-policy": SECURITY_POLICY}
HTML: Final = "text/html; charset=utf-8"
_ENVELOPE: Final = (
    ("type", "text", "always", "The event type, <domain>:<action>."),
    ("timestamp", "text", "always", "RFC 3339, in UTC."),
    ("trace_id", "text", "always", "Trace id, shared by all events that belong together."),
    ("data", "object or null", "always", "The payload, as in the tables below."),
    ("channel", "text", "for events in the log", "The event's own channel, or global."),
    ("position", "text", "with tidings.v1", "The event's position in the log; opaque."),
    ("event_id", "text", "with tidings.v1", "The publisher's own id of the event, if it has one."),
    ("id, reply_to", "text", "with tidings.v1", "Id of a command, and the id that a reply answers."),
)


def contract_page(contract: Contract, documents: Sequence[tuple[str, str]]) -> str:
    """Return the page.

    Args:
        contract: The contract to show.
        documents: Links to other formats: the path relative to the page, and the title of each.
    """
    return _Page(contract, build_model(contract)).html(documents)


class _Page:
    """One contract's page."""

    def __init__(self, contract: Contract, model: Model) -> None:
        self._contract = contract
        self._model = model
        self._old: dict[str, list[str]] = {}
        for message in model.renamed:
            self._old.setdefault(str(LEGACY_TYPES[message.type]), []).append(message.type)
        payloads = {message.payload for message in (*model.messages, *model.commands)}
        self._parts = [each for name, each in model.definitions.items() if name not in payloads]

    def html(self, documents: Sequence[tuple[str, str]]) -> str:
        identity = self._model.identity
        links = " · ".join(f'<a href="{escape(path)}">{escape(about)}</a>' for path, about in documents)
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>The contract of this hub</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
            "<header>\n<h1>The contract of this hub</h1>\n"
            f'<p class="facts">Revision {_code(identity.version)}, {_code(identity.hash)}</p>\n'
            f"<p>For programs: {links}</p>\n</header>\n"
            f"{self._contents()}<main>\n{_envelope()}{''.join(self._sections())}{self._old_names()}</main>\n"
            "</body>\n</html>\n"
        )

    def _groups(self) -> list[tuple[str, str, list[Message]]]:
        """Return the sections of messages: anchor, title and messages of each."""
        events = self._model.events
        groups = [
            (
                f"channel-{channel}",
                f"Channel {_code(channel)}",
                [event for event in events if event.channel == channel],
            )
            for channel in self._model.channels
        ]
        direct = [event for event in events if event.channel is None]
        groups.append(("direct", "Sent to one connection", direct))
        groups.append(("said", "Replies and pushes", list(self._model.hub_messages)))
        groups.append(("commands", "Commands", list(self._model.commands)))
        return [group for group in groups if group[2]]

    def _contents(self) -> str:
        rows = []
        for anchor, title, messages in self._groups():
            items = "".join(f'<li><a href="#{self._place(each)}">{_code(each.type)}</a></li>\n' for each in messages)
            rows.append(f'<h2><a href="#{anchor}">{title}</a></h2>\n<ul>\n{items}</ul>\n')
        return f'<nav aria-label="Contents">\n{"".join(rows)}</nav>\n'

    def _sections(self) -> Iterable[str]:
        for anchor, title, messages in self._groups():
            yield f'<section id="{anchor}">\n<h2>{title}</h2>\n'
            yield from map(self._message, messages)
            yield "</section>\n"
        if self._parts:
            yield '<section id="parts">\n<h2>Parts of payloads</h2>\n'
            yield from map(self._part, self._parts)
            yield "</section>\n"

    def _place(self, message: Message) -> str:
        """Return the anchor of a message; a command and a push share a type."""
        return f"command-{message.type}" if message in self._model.commands else message.type

    def _message(self, message: Message) -> str:
        type, place = message.type, self._place(message)
        badges = "".join(f'<span class="badge">{escape(text)}</span>' for text in _badges(message))
        deprecated = (
            f'<p class="deprecated">Deprecated. {_prose(message.deprecated)}</p>\n' if message.deprecated else ""
        )
        old = self._old.get(type, [])
        before = f"<p>Formerly {', '.join(map(_code, old))}.</p>\n" if old else ""
        example = json.dumps(build_example(self._contract, self._model, message), indent=2, ensure_ascii=False)
        definition = self._model.definitions.get(message.payload)
        table = "" if definition is None else self._table(definition, f"The data of {type}")
        return (
            f'<article id="{place}">\n<h3><a href="#{place}">{_code(type)}</a></h3>\n'
            f'<p class="facts">{badges}</p>\n{deprecated}<p>{_prose(message.about)}</p>\n{before}'
            f"{table}"
            f"<details open>\n<summary>Example</summary>\n<pre>{escape(example)}</pre>\n</details>\n</article>\n"
        )

    def _part(self, part: Definition) -> str:
        anchor = escape(_anchor(part.name))
        return (
            f'<article id="{anchor}">\n<h3><a href="#{anchor}">{_code(_short(part.name))}</a></h3>\n'
            f"<p>{_prose(part.about)}</p>\n{self._table(part, f'Members of {_short(part.name)}')}</article>\n"
        )

    def _table(self, definition: Definition, caption: str) -> str:
        shape = definition.shape
        if not isinstance(shape, shapes.ObjectShape):
            return f"<p>Kind: {self._kind(shape)}.</p>\n"
        if not shape.fields:
            return "<p>No members.</p>\n"
        rows = "".join(self._row(field) for field in shape.fields)
        return (
            f'<div class="wide"><table>\n<caption>{escape(caption)}</caption>\n<thead><tr><th scope="col">Member</th>'
            '<th scope="col">Kind</th><th scope="col">Written</th><th scope="col">Meaning</th></tr></thead>\n'
            f"<tbody>\n{rows}</tbody>\n</table></div>\n"
        )

    def _row(self, field: ShapeField) -> str:
        limits = describe_limits(field.shape)
        kind = self._kind(shapes.remove_null(field.shape))
        if field.required and shapes.is_nullable(field.shape) and not isinstance(field.shape, shapes.AnyShape):
            kind += " or null"
        kind += f" ({_prose(limits)})" if limits else ""
        written = "always" if field.required else "optional"
        if not field.required and field.default:
            written = f"default {_code(json.dumps(field.default, ensure_ascii=False))}"
        return (
            f'<tr><th scope="row">{_code(field.name)}</th><td>{kind}</td><td>{written}</td>'
            f"<td>{_prose(field.about)}</td></tr>\n"
        )

    def _kind(self, shape: Shape) -> str:
        """Return the kind of a shape, with links to its definitions."""
        # Escaped first; names contain no NUL.
        pieces = escape(describe_kind(shape, lambda name: f"\0{name}\0")).split("\0")
        return "".join(self._link(piece) if index % 2 else piece for index, piece in enumerate(pieces))

    def _link(self, definition: str) -> str:
        used = [message.type for message in self._model.messages if message.payload == definition]
        anchor = used[0] if used else _anchor(definition)
        return f'<a href="#{anchor}">{_short(definition)}</a>'

    def _old_names(self) -> str:
        types = {event.type for event in self._model.events}
        rows = [
            (_code(old), _code(now), "accepted from publishers, with one notice per connection")
            for now, names in self._old.items()
            for old in names
        ]
        rows += [
            (_code(alias), _code(name), "a constant of the same value")
            for alias, name in ALIASES.items()
            if MessageType[name] in types
        ]
        for revision in REVISIONS.values():
            rewritten = ", ".join(_code(type) for type in revision.rewrites if type in types)
            if rewritten:
                readers = f"clients that connect with {_code(f'?contract={revision.date}')}"
                rows.append((f"revision {revision.date}", rewritten, f"sent with their old names to {readers}"))
        if not rows:
            return ""
        body = "".join(f"<tr><td>{old}</td><td>{now}</td><td>{how}</td></tr>\n" for old, now, how in rows)
        return (
            '<section id="old-names">\n<h2>Old names</h2>\n<div class="wide"><table>\n<thead><tr><th scope="col">Old'
            '</th><th scope="col">Now</th><th scope="col">How</th></tr></thead>\n'
            f"<tbody>\n{body}</tbody>\n</table></div>\n</section>\n"
        )


def _envelope() -> str:
    rows = "".join(
        f'<tr><th scope="row">{_code(name)}</th><td>{kind}</td><td>{written}</td><td>{_prose(about)}</td></tr>\n'
        for name, kind, written, about in _ENVELOPE
    )
    return (
        '<section id="envelope">\n<h2>Every message</h2>\n<div class="wide"><table>\n<caption>The envelope</caption>\n'
        '<thead><tr><th scope="col">Member</th><th scope="col">Kind</th><th scope="col">Written</th>'
        f'<th scope="col">Meaning</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n</section>\n'
    )


def _badges(message: Message) -> Iterable[str]:
    if message.event_class:
        yield message.event_class
    if message.key:
        yield f"key {message.key}"
    if message.event_class and not message.publishable:
        yield "published by the hub only"


def _anchor(definition: str) -> str:
    return f"part-{definition}"


def _short(definition: str) -> str:
    return definition.rpartition(".")[2]


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _prose(text: str) -> str:
    """Return a text as HTML, with the parts between backticks as code."""
    parts = escape(text).split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
