"""The page as a browser parses it: well-formed, linked, safe, and without external resources."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from tests.contract.export.odd_contract import ODD
from tests.contract.export.test_document import SHOP

from tidings.contract.contract import Contract
from tidings.contract.event_types import event
from tidings.contract.export.model import build_model
from tidings.server.http.docs_page import SECURITY_POLICY, contract_page

_VOID = {"meta"}
DOCUMENTS = [("v1/contract.json", "JSON"), ("asyncapi.json", "AsyncAPI")]


class Page(HTMLParser):
    """A parsed page; an element that is not closed in order is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.examples: list[Any] = []
        self.styles = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "pre":
            self.examples.append(json.loads(data))
        if self.open and self.open[-1] == "style":
            self.styles += data

    def values(self, attribute: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(attribute)) is not None]


@pytest.fixture(scope="module", params=[Contract(), SHOP, ODD], ids=["everyone", "shop", "odd"])
def contract(request: pytest.FixtureRequest) -> Contract:
    found: Contract = request.param
    return found


@pytest.fixture(scope="module")
def page(contract: Contract) -> Page:
    return Page(contract_page(contract, DOCUMENTS))


def test_page_uses_no_script_and_no_external_resource(page: Page) -> None:
    assert {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "embed", "form"} == set()
    assert page.values("src") == []
    assert [
        name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"
    ] == []
    assert "url(" not in page.styles
    assert "@import" not in page.styles


def test_policy_allows_only_the_pages_style(page: Page) -> None:
    digest = base64.b64encode(hashlib.sha256(page.styles.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in SECURITY_POLICY
    assert SECURITY_POLICY.startswith("default-src 'none'")


def test_links_have_targets(page: Page) -> None:
    anchors = page.values("id")
    assert len(anchors) == len(set(anchors))
    links = page.values("href")
    assert {link[1:] for link in links if link.startswith("#")} <= set(anchors)
    assert {link for link in links if not link.startswith("#")} == {path for path, _ in DOCUMENTS}


def test_message_has_a_section_and_an_example(contract: Contract, page: Page) -> None:
    model = build_model(contract)
    types = [message.type for message in (*model.events, *model.hub_messages)]
    assert set(types) <= set(page.values("id"))
    commands = [message.type for message in model.commands]
    assert {f"command-{type}" for type in commands} <= set(page.values("id"))
    types += commands
    assert sorted(example["type"] for example in page.examples) == sorted(types)
    assert {f"channel-{channel}" for channel in contract.channels} <= set(page.values("id"))


def test_payload_is_shown_as_a_table() -> None:
    text = contract_page(SHOP, DOCUMENTS)
    price = text[text.index('<article id="trade:price">') :].partition("</article>")[0]
    assert '<span class="badge">latest</span><span class="badge">key symbol</span>' in price
    assert "Deprecated. Publish quote:changed." in price
    assert "The price of a symbol, as it is now." in price
    assert re.search(r"<code>symbol</code></th><td>text \(1–8 characters, matches <code>\^\[A-Z\]\+\$</code>\)", price)
    assert re.search(r"<code>price</code></th><td>number \(above 0\)</td><td>always</td>", price)
    assert re.search(
        r"<code>venues</code></th><td>array of <a href=\"#part-Venue\">Venue</a> \(at most 3 items\)", price
    )


def test_old_names_are_shown() -> None:
    text = contract_page(Contract(), DOCUMENTS)
    failed = text[text.index('<article id="operation:failed">') :].partition("</article>")[0]
    assert "Formerly <code>operation:error</code>." in failed
    old = text[text.index('<section id="old-names">') :]
    for name in ("operation:error", "PIPELINE_START", "?contract=2025-01-30"):
        assert name in old
    assert "old-names" not in contract_page(Contract(SHOP.own), DOCUMENTS)


class Hostile(msgspec.Struct, rename={"shown": "<b>"}):
    """</style><script>alert(1)</script> and `one backtick.

    Not shown.
    """

    shown: str
    """<img src=x onerror=alert(1)> `<i>` & "quoted"."""


def test_contract_texts_are_escaped() -> None:
    contract = Contract.of(event("a:b", Hostile, channel="data", deprecated="</p><script>"))
    text = contract_page(contract, [("x", "<u>")])
    tags = {tag for tag, _ in Page(text).tags}
    assert tags.isdisjoint({"script", "img", "b", "i", "u"})
    assert "<code>&lt;i&gt;</code>" in text
    assert "and `one backtick." in text
