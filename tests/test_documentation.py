"""The documents: their links, their code, and the commands and options that they name."""

import ast
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.authentication import AuthCredentials, AuthenticationBackend, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.routing import Route
from tests.transcripts.markdown import ROOT, Document, anchor
from tests.transcripts.served import served

from tidings.cli.app import COMMANDS, load_command
from tidings.cli.errors import ExitCode
from tidings.cli.serve.options import OPTIONS
from tidings.protocol.codes import CODES
from tidings.server.embedding import embedded_hub

DOCUMENTS = {
    str(path.relative_to(ROOT)): Document(str(path.relative_to(ROOT)))
    for path in [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]
}
OURS = {name: document for name, document in DOCUMENTS.items() if name.startswith("docs/")}
OTHER_PROGRAMS = {"docker", "journalctl", "kubectl", "nats-server", "py-spy", "python", "systemctl", "useradd"}
"""Programs that documents run with options of their own."""
EMBEDDING = [block.text for block in DOCUMENTS["docs/embedding.md"].blocks_in("python")]

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_have_targets(name: str) -> None:
    document = DOCUMENTS[name]
    for target in _LINK.findall(document.text):
        if "://" in target:
            continue
        file, _, fragment = target.partition("#")
        path = (document.path.parent / file).resolve() if file else document.path
        assert path.exists(), target
        if fragment:
            headings = Document(str(path.relative_to(ROOT))).headings
            assert fragment in {anchor(heading) for heading in headings}, target


def test_index_links_every_document() -> None:
    index = DOCUMENTS["docs/index.md"]
    named = {(index.path.parent / target).resolve() for target in _LINK.findall(index.text)}
    assert {path.resolve() for path in (ROOT / "docs").rglob("*.md")} - named == {index.path.resolve()}


def test_architecture_names_modules_and_symbols_that_exist() -> None:
    package = ROOT / "src/tidings"
    source = "\n".join(path.read_text() for path in package.rglob("*.py"))
    for name in _CODE.findall(DOCUMENTS["ARCHITECTURE.md"].text):
        if re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name) and (package / name.split(".")[0]).is_dir():
            path = package / name.replace(".", "/")
            assert path.is_dir() or path.with_suffix(".py").exists(), name
        elif re.fullmatch(r"([A-Z][a-z]+){2,}|[A-Z][a-z]+\.[a-z_]+", name):
            for part in name.split("."):
                assert re.search(rf"\b(class|def) {part}\b", source), name


@pytest.mark.parametrize("name", DOCUMENTS)
def test_python_blocks_compile(name: str) -> None:
    for language in ("python", "python fragment"):
        for block in DOCUMENTS[name].blocks_in(language):
            compile(block.text, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("name", sorted(OURS))
def test_named_commands_and_options_exist(name: str) -> None:
    commands = set(COMMANDS)
    document = OURS[name]
    shown = [*_CODE.findall(document.text), *(block.text for block in document.blocks)]
    named = {command for text in shown for command in re.findall(r"\btidings ([a-z]+)", text)}
    assert named - {"hub"} <= commands
    lines = [
        line
        for text in shown
        for line in text.splitlines()
        if line.removeprefix("$ ").split(" ")[0] not in OTHER_PROGRAMS
    ]
    options = {option for line in lines for option in re.findall(r"(?<![\w-])--(?!tidings-)[a-z-]+", line)}
    known = {option.flag for option in OPTIONS.values()} | {"--version"}.union(
        *(options_of(load_command(name)) for name in COMMANDS)
    )
    assert options - {"--workers"} <= known


def options_of(command: object) -> set[str]:
    """Return the options of a command and of all below it."""
    own = {flag for parameter in getattr(command, "params", ()) for flag in parameter.opts if flag.startswith("--")}
    return own.union(*(options_of(each) for each in getattr(command, "commands", {}).values()))


def test_table_of_exit_codes_matches_the_code() -> None:
    (table,) = DOCUMENTS["docs/operations.md"].tables_with("code", "meaning")
    assert [(int(code), meaning) for code, meaning in table.rows] == [(int(code), code.meaning) for code in ExitCode]


def test_every_error_has_a_cause_and_its_hint_as_cure() -> None:
    tables = DOCUMENTS["docs/protocol/codes.md"].tables_with("code")
    rows = [row for table in tables for row in table.rows if table.columns[-2:] == ("cause", "cure")]
    assert [row[0] for row in rows] == list(CODES)
    for code, *_, cause, cure in rows:
        assert cause
        assert cure == CODES[code].hint, code


async def test_mounted_hub_of_the_guide_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(EMBEDDING[0], names)
    exec(EMBEDDING[2], names)
    names["app"].router.routes.append(Route("/import", names["import_prices"]))
    transport = httpx.ASGITransport(app=names["app"])
    async with (
        names["hub"].lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://app.example.com") as client,
    ):
        position = (await client.get("/import")).json()["position"]
        snapshot = (await client.get("/tidings/v1/snapshot?channel=data")).json()
    assert [event["position"] for event in snapshot["events"]] == [position]
    assert (tmp_path / "var/tidings").is_dir()


async def test_mounted_hub_of_the_guide_identifies_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Backend(AuthenticationBackend):
        async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
            return (AuthCredentials(), SimpleUser("ada")) if "x-user" in conn.headers else None

    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"embedded_hub": embedded_hub}
    exec(EMBEDDING[1], names)
    app = AuthenticationMiddleware(names["hub"], backend=Backend())
    transport = httpx.ASGITransport(app=app)
    async with (
        names["hub"].lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://app.example.com") as client,
    ):
        assert (await client.get("/v1/operations")).status_code == 401
        assert (await client.get("/v1/operations", headers={"x-user": "ada"})).status_code == 200
        foreign = await client.get("/v1/events?channel=operations/eve/1", headers={"x-user": "ada"})
        assert (foreign.status_code, foreign.json()["allowed"]) == (403, ["global", "operations/ada/*"])


async def test_worker_of_the_guide_publishes(monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    exec(EMBEDDING[3], names)
    async with served({}) as hub:
        address = await hub.ready
        monkeypatch.setenv("TIDINGS_URL", f"ws://{address.host}:{address.port}/ws")
        await names["handle_upload"]("prices")
        assert hub.app.hub.log.newest.offset("data", "data:update", "prices") == 1


def test_declared_event_of_the_guide_is_decoded() -> None:
    names: dict[str, Any] = {"embedded_hub": embedded_hub}
    exec(EMBEDDING[4], names)
    contract = names["contract"]
    assert "sports" in contract.channels
    assert contract.decode("match:finished", b'{"match_id":"final"}') == names["MatchFinished"](match_id="final")


def test_every_threat_names_tests_that_exist() -> None:
    (table,) = DOCUMENTS["SECURITY.md"].tables_with("threat")
    for threat, _, tests in table.rows:
        files = re.findall(r"`?(tests/[\w/]+\.py)`?", tests)
        assert files, threat
        assert [name for name in files if not (ROOT / name).is_file()] == []
