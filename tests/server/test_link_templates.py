import re
from pathlib import Path

import pytest
from tests.cli.processes import tidings

from tidings.exceptions import ConfigError
from tidings.server.embedding import embedded_hub
from tidings.server.link_templates import MAX_LINKS, PLACEHOLDERS, LinkTemplate, check_links, parse_link

PAGE = Path(__file__).parents[2] / "dashboard/src/pages/operation/link-templates.ts"


@pytest.mark.parametrize(
    "template",
    [
        "https://traces.example/{trace_id}",
        "HTTP://{host}:9100/a?x={name}&y={started_ms}#{ended_ms}",
        "https://[::1]:3000/{operation_id}",
        'https://grafana.example/explore?left={"queries":[{"query":"{trace_id}"}]}',
        "https://bücher.example/{code}/{attempt}",
    ],
)
def test_template_of_the_web_is_accepted(template: str) -> None:
    assert parse_link(f" Trace viewer = {template} ") == LinkTemplate(label="Trace viewer", template=template)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://traces.example/", "LABEL=TEMPLATE"),
        ("=https://x/", "LABEL=TEMPLATE"),
        ("", "LABEL=TEMPLATE"),
        ("Trace", "LABEL=TEMPLATE"),
        ("Trace=", "an address that begins with https:// or http://"),
        ("Trace=javascript:alert(1)", "an address that begins with https:// or http://"),
        ("Trace=JaVaScRiPt:alert(1)//https://x", "an address that begins with https:// or http://"),
        ("Trace=java\tscript:alert(1)", "an address without blanks"),
        ("Trace={trace_id}", "an address that begins with https:// or http://"),
        ("Trace={trace_id}://x/", "an address that begins with https:// or http://"),
        ("Trace=data:text/html,x", "an address that begins with https:// or http://"),
        ("Trace=file:///etc/passwd", "an address that begins with https:// or http://"),
        ("Trace=//traces.example/", "an address that begins with https:// or http://"),
        ("Trace=https:traces.example", "an address that begins with https:// or http://"),
        ("Trace=https://hub.example@evil.example/", "an address that begins with https:// or http://"),
        ("Trace=https://x:port/", "an address that begins with https:// or http://"),
        ("Trace=https://[::1/", "an address that begins with https:// or http://"),
        ("Trace=https://a b/", "an address without blanks"),
        ("Trace=https:\\\\x/", "an address without blanks"),
        ("Trace=https://x/{token}", "a known placeholder in place of {token}: {operation_id}, "),
        ("Trace=https://x/{}", "a known placeholder in place of {}"),
        ("Trace=https://x/" + "a" * 4_000, "an address of at most 4,000 characters"),
        ("a" * 61 + "=https://x/", "a label of at most 60 printable characters"),
        ("a\x1b[31m=https://x/", "a label of at most 60 printable characters"),
    ],
)
def test_link_that_is_not_valid_is_refused(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_link(text)
    assert f": expected {expected}" in str(caught.value)
    assert (caught.value.code, caught.value.option) == ("invalid_config", "link")
    assert "--link 'Trace=https://" in caught.value.hint


def test_hub_has_a_bounded_number_of_links_with_labels_of_their_own() -> None:
    links = [LinkTemplate(label=str(number), template="https://x/") for number in range(MAX_LINKS)]
    assert check_links(links) == links
    with pytest.raises(ConfigError, match="21 links: expected at most 20"):
        check_links([*links, LinkTemplate(label="one more", template="https://x/")])
    with pytest.raises(ConfigError, match="two links have the label '3'"):
        check_links([*links[:5], links[3]])


def test_page_fills_in_the_placeholders_that_the_hub_accepts() -> None:
    of_page = re.search(r"PLACEHOLDERS = \[(.*?)\]", PAGE.read_text(), re.DOTALL)
    assert of_page is not None
    assert tuple(re.findall(r'"(\w+)"', of_page[1])) == PLACEHOLDERS


def test_embedded_hub_refuses_a_script() -> None:
    with pytest.raises(ConfigError, match="invalid link 'Trace=javascript:"):
        embedded_hub(links={"Trace": "javascript:alert({trace_id})"})


@pytest.mark.parametrize(
    ("links", "message"),
    [
        (["Trace=javascript:alert(1)"], "--link: invalid link 'Trace=javascript:alert(1)': expected an address"),
        (["Trace=https://x/", "Trace=https://y/"], "error: two links have the label 'Trace'"),
    ],
)
def test_hub_with_a_wrong_link_does_not_start(links: list[str], message: str) -> None:
    done = tidings("serve", "--memory", "--port", "0", *(part for link in links for part in ("--link", link)))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "hint: " in done.stderr
