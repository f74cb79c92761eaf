"""HTTP examples as docs/protocol/http.md writes them, played against a real hub."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from tests.transcripts import pattern
from tests.transcripts.pattern import Mismatch, Names
from tests.transcripts.served import TIMEOUT_S, served


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request, and the shown part of its answer."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: str
    status: int
    answer_headers: tuple[tuple[str, str], ...]
    answer: tuple[str, ...]
    """Lines of the body."""


def parse(text: str) -> list[Exchange]:
    """Parse `text`: `>` starts the lines of a request, `<` those of its answer."""
    exchanges = []
    request: list[str] = []
    answer: list[str] = []
    for line in text.splitlines():
        way, line = line[:1], line[2:]
        if way not in "<>" or not way:
            raise ValueError(f"neither request nor answer: {line!r}")
        if way == ">" and answer:
            exchanges.append(_exchange(request, answer))
            request, answer = [], []
        (request if way == ">" else answer).append(line)
    exchanges.append(_exchange(request, answer))
    return exchanges


def _exchange(request: list[str], answer: list[str]) -> Exchange:
    asked, body = _split(request)
    told, lines = _split(answer)
    method, target = asked[0].split(" ")
    return Exchange(
        method=method,
        target=target,
        headers=tuple(_headers(asked[1:])),
        body="\n".join(body),
        status=int(told[0]),
        answer_headers=tuple(_headers(told[1:])),
        answer=tuple(lines),
    )


def _split(lines: list[str]) -> tuple[list[str], list[str]]:
    if "" not in lines:
        return lines, []
    border = lines.index("")
    return lines[:border], lines[border + 1 :]


def _headers(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, _, value = line.partition(": ")
        yield name, value


async def play(exchanges: list[Exchange]) -> None:
    """Play `exchanges` in order against one hub.

    Raises:
        Mismatch: The hub's answer differs.
    """
    async with served({}) as hub:
        address = await hub.ready
        names = Names()
        base = f"http://{address.host}:{address.port}"
        async with httpx.AsyncClient(base_url=base, timeout=TIMEOUT_S, trust_env=False) as client:
            for exchange in exchanges:
                try:
                    await _play(client, exchange, names)
                except Mismatch as error:
                    raise Mismatch(f"{exchange.method} {exchange.target}: {error}") from error


async def _play(client: httpx.AsyncClient, exchange: Exchange, names: Names) -> None:
    async with client.stream(
        exchange.method,
        names.fill_text(exchange.target),
        headers=[(name, names.fill_text(value)) for name, value in exchange.headers],
        content=exchange.body.encode() if exchange.body else None,
    ) as response:
        if response.status_code != exchange.status:
            raise Mismatch(f"{response.status_code} {(await response.aread()).decode()}")
        for name, value in exchange.answer_headers:
            shown = response.headers.get(name, "")
            if shown != value:
                raise Mismatch(f"{name} is {shown!r}, not {value!r}")
        if response.headers.get("content-type") == "text/event-stream":
            await _match_stream(response.aiter_lines(), exchange, names)
        else:
            body = await response.aread()
            if exchange.answer:
                names.match(pattern.read("".join(exchange.answer)), pattern.read(body.decode()))


async def _match_stream(lines: AsyncIterator[str], exchange: Exchange, names: Names) -> None:
    for shown in exchange.answer:
        line = await anext(lines)
        name, _, value = shown.partition(": ")
        told, _, content = line.partition(": ")
        if told != name:
            raise Mismatch(f"{line!r} came instead of {shown!r}")
        names.match(_value(value), _value(content))


def _value(text: str) -> Any:
    return pattern.read(text) if text.startswith("{") else text
