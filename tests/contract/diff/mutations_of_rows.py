"""Mutations of channels and events, and their verdicts, written by hand: `rule path readers/writers`."""

from tests.contract.diff.shop import Mutation, added_row, definition, document_member, mutated, row, without_row

Case = tuple[str, tuple[Mutation, ...], tuple[str, ...]]

_TRADE = {"payload": {"$ref": "#/$defs/Trade"}, "key": "trade_id"}
_RATE = {"payload": {"$ref": "#/$defs/Rate"}, "class": "latest"}
_CLOSING_CHANGED = {"title": "Closing", "type": "object", "additionalProperties": False}
_CHANNELS = mutated()["channels"]

ROWS: tuple[Case, ...] = (
    ("nothing", (), ()),
    (
        "a channel is added",
        (document_member("channels", [*_CHANNELS, "quotes"]),),
        ("channel-added channels.quotes fits/fits",),
    ),
    (
        "a channel is removed",
        (document_member("channels", _CHANNELS[:-1]),),
        ("channel-removed channels.trades breaks/breaks",),
    ),
    ("another revision", (document_member("version", "2026-01-01"),), ("revision-changed version note/note",)),
    ("another hash", (document_member("hash", "sha256:1"),), ()),
    ("an event is added", (added_row("trade:price"),), ("trade:price event-added - fits/fits",)),
    ("an event is removed", (without_row("trade:executed"),), ("event-removed - breaks/breaks",)),
    (
        "an event that the hub writes is removed",
        (without_row("trade:closing"),),
        ("trade:closing event-removed - breaks/fits",),
    ),
    (
        "an event is renamed",
        (
            without_row("trade:executed"),
            added_row("trade:done", **_TRADE, keep_newest=100, name="Trade", description="A trade was made."),
        ),
        ("trade:done event-renamed - breaks/breaks",),
    ),
    (
        "an event is renamed, and goes elsewhere",
        (
            without_row("trade:executed"),
            added_row(
                "deal:made", **_TRADE, channel="data", keep_newest=100, name="Trade", description="A trade was made."
            ),
        ),
        ("deal:made event-renamed - breaks/breaks", "deal:made channel-changed channel breaks/breaks"),
    ),
    (
        "an event is removed, and another of the same payload by another key comes",
        (without_row("trade:executed"), added_row("trade:done", **{**_TRADE, "key": "order_id"})),
        ("event-removed - breaks/breaks", "trade:done event-added - fits/fits"),
    ),
    (
        "an event is removed, and one of another class comes",
        (without_row("trade:executed"), added_row("trade:done", **{**_TRADE, "class": "latest"})),
        ("event-removed - breaks/breaks", "trade:done event-added - fits/fits"),
    ),
    (
        "an event is removed, and one of another payload comes",
        (
            without_row("trade:rate"),
            added_row("trade:rates", payload={"type": "object", "properties": {"rate": {"type": "string"}}}),
        ),
        ("trade:rate event-removed - breaks/breaks", "trade:rates event-added - fits/fits"),
    ),
    (
        "of two new names, the nearer is the new one",
        (
            without_row("trade:rate"),
            added_row("quote:changed", **_RATE, ends_key=True, deprecated="Publish trade:price.", name="Rate"),
            added_row("trade:rates", **_RATE, ends_key=True, deprecated="Publish trade:price.", name="Rate"),
        ),
        ("trade:rates event-renamed - breaks/breaks", "quote:changed event-added - fits/fits"),
    ),
    ("another channel", (row(channel="data"),), ("channel-changed channel breaks/breaks",)),
    ("to global", (row(channel="global"),), ("channel-to-global channel fits/breaks",)),
    ("from global", (row("trade:closing", channel="trades"),), ("trade:closing channel-changed channel breaks/fits",)),
    ("a key", (row("trade:rate", key="rate"),), ("trade:rate key-added key fits/breaks",)),
    ("no key", (row(key=None),), ("key-removed key breaks/fits",)),
    ("another key", (row(key="order_id"),), ("key-changed key breaks/breaks",)),
    ("durable to latest", (row(class_="latest"),), ("class-to-latest class breaks/fits",)),
    ("latest to durable", (row("trade:rate", class_="durable"),), ("trade:rate class-to-durable class fits/fits",)),
    (
        "durable to direct",
        (row(class_="direct", channel=None),),
        ("class-changed class breaks/breaks", "channel-changed channel breaks/breaks"),
    ),
    ("the hub's alone", (row(publishable=False),), ("hub-only publishable fits/breaks",)),
    (
        "no longer the hub's alone",
        (row("trade:closing", publishable=True),),
        ("trade:closing publishable publishable fits/fits",),
    ),
    ("it ends its key", (row(ends_key=True),), ("ends-key-added ends_key breaks/fits",)),
    (
        "it does not end its key",
        (row("trade:rate", ends_key=False),),
        ("trade:rate ends-key-removed ends_key fits/fits",),
    ),
    ("fewer are kept", (row(keep_newest=10),), ("kept-less keep_newest breaks/fits",)),
    ("more are kept", (row(keep_newest=1000),), ("kept-more keep_newest fits/fits",)),
    ("all are kept", (row(keep_newest=None),), ("kept-more keep_newest fits/fits",)),
    (
        "no longer all are kept",
        (row("trade:closing", keep_newest=5),),
        ("trade:closing kept-less keep_newest breaks/fits",),
    ),
    ("deprecated", (row(deprecated="Publish trade:done."),), ("event-deprecated deprecated note/note",)),
    ("not deprecated", (row("trade:rate", deprecated=""),), ("trade:rate event-not-deprecated deprecated note/note",)),
    (
        "otherwise deprecated",
        (row("trade:rate", deprecated="Do not."),),
        ("trade:rate deprecation-changed deprecated note/note",),
    ),
    ("the struct's name", (row(name="Executed"),), ("name-changed name note/note",)),
    (
        "the description",
        (row(description="Made."), definition("Trade", description="Made.")),
        ("description-changed - note/note",),
    ),
    (
        "more of the description",
        (definition("Trade", description="A trade was made.\n\nNot before it was settled."),),
        ("description-changed $.data note/note",),
    ),
    (
        "two changes together",
        (row(key="order_id", class_="latest"),),
        ("key-changed key breaks/breaks", "class-to-latest class breaks/fits"),
    ),
    (
        "what the hub alone writes needs more",
        (
            definition(
                "Closing",
                required=["reason", "by"],
                properties={"reason": {"type": "string"}, "by": {"type": "string"}},
            ),
        ),
        (
            "trade:closing field-added-required $.data.by fits/fits",
            "trade:closing field-unexpected $.data.by breaks/fits",
        ),
    ),
    (
        "what the hub alone writes allows more",
        (definition("Closing", **{**_CLOSING_CHANGED, "additionalProperties": True}),),
        ("trade:closing object-opened $.data breaks/fits",),
    ),
    (
        "what only the hub wrote takes less, and others may write it",
        (
            row("trade:closing", publishable=True),
            definition("Closing", properties={"reason": {"type": "string", "minLength": 3}}),
        ),
        (
            "trade:closing publishable publishable fits/fits",
            "trade:closing length-minimum-raised $.data.reason fits/fits",
        ),
    ),
)
