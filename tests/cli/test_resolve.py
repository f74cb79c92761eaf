"""Ids as git has them: a unique beginning, a name, or --last, wherever a command takes an id."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.processes import Hub, Process, publish_operation, tidings

from tidings.cli.resolve import resolve_id
from tidings.client.http import HTTPClient
from tidings.exceptions import ConfigError, OperationUnknown

FIRST, SECOND, THIRD = (
    "3f2a91c0-3e2b-4a10-9d5c-0123456789ab",
    "3f2a91d4-9c1d-4e10-8000-0123456789ab",
    "8c01aa00-1111-4222-8000-0123456789ab",
)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub("--log-level", "error") as running:
        publish_operation(running, "start", FIRST, name="Import")
        publish_operation(running, "complete", FIRST)
        publish_operation(running, "start", SECOND, name="Import")
        publish_operation(running, "start", THIRD, name="op-1")
        publish_operation(running, "start", "op-12", name="Export")
        publish_operation(running, "start", "8c01", name="short")
        publish_operation(running, "start", "twin-1", name="Twin")
        publish_operation(running, "start", "twin-2", name="Twin")
        yield running


@pytest.fixture
def api(hub: Hub) -> Iterator[HTTPClient]:
    with HTTPClient(hub.url) as client:
        yield client


@pytest.mark.parametrize(
    ("text", "id"),
    [
        (FIRST, FIRST),
        ("3f2a91c", FIRST),
        ("3f2a91d", SECOND),
        ("8c01", "8c01"),
        ("8c01a", THIRD),
        ("Import", SECOND),
        ("op-12", "op-12"),
        ("op-1", THIRD),
        ("twin-2", "twin-2"),
        ("nothing", "nothing"),
    ],
)
def test_text_names_an_id_then_a_name_then_a_unique_beginning(api: HTTPClient, text: str, id: str) -> None:
    assert resolve_id(api, text) == id
    assert resolve_id(api, text, acts=True) == id


def test_beginning_that_people_chose_is_no_id_for_a_command_that_acts(api: HTTPClient) -> None:
    assert resolve_id(api, "op-") == "op-12"
    assert resolve_id(api, "op-", acts=True) == "op-", "op- may begin later"


def test_name_of_several_live_runs_is_ambiguous_for_a_command_that_acts(api: HTTPClient) -> None:
    assert resolve_id(api, "Twin") == "twin-2"
    with pytest.raises(ConfigError, match="'Twin': it names 2 operations") as raised:
        resolve_id(api, "Twin", acts=True)
    assert [line.split()[0] for line in raised.value.details.splitlines()] == ["twin-2", "twin-1"]


def test_last_is_the_operation_that_began_last(api: HTTPClient) -> None:
    assert resolve_id(api, None, last=True) == "twin-2"
    for id, last, message in ((None, False, "missing argument 'ID'"), ("x", True, "either ID or --last")):
        with pytest.raises(ConfigError, match=message):
            resolve_id(api, id, last=last)


def test_last_on_an_empty_hub_is_unknown() -> None:
    with Hub("--log-level", "error") as empty, HTTPClient(empty.url) as client, pytest.raises(OperationUnknown):
        resolve_id(client, None, last=True)


def test_ambiguous_beginning_lists_the_candidates(hub: Hub) -> None:
    done = tidings("show", "3f2a", "--url", hub.url)
    assert (done.returncode, done.stdout) == (2, "")
    error, second, first, hint = done.stderr.splitlines()
    assert error == "error: invalid operation '3f2a': it names 2 operations"
    assert second.startswith("  3f2a91d  Import  running, began ")
    assert first.startswith("  3f2a91c  Import  complete, began ")
    assert hint == "hint: Pass more of the id."


@pytest.mark.parametrize(
    ("arguments", "code", "shown"),
    [
        (("show", "3f2a91c"), 0, "Import\ncomplete"),
        (("show", "--last"), 0, "Twin\n"),
        (("logs", "Import"), 0, ""),
        (("wait", "3f2a91c"), 0, "complete"),
        (("wait", "Import", "--timeout", "0"), 124, "running"),
        (("cancel", "3f2a91c"), 6, f"{FIRST} ended first"),
        (("ls", "--parent", "3f2a91c"), 0, ""),
        (("watch", "3f2a91c", "--exit-when-done", "--json"), 0, '{"type":"operation:start"'),
        (("watch", "nonsense"), 2, ""),
    ],
)
def test_commands_take_what_a_person_writes(hub: Hub, arguments: tuple[str, ...], code: int, shown: str) -> None:
    done = tidings(*arguments, "--url", hub.url)
    assert (done.returncode, done.stdout[: len(shown)]) == (code, shown), done.stderr


def test_watch_takes_an_id_that_may_begin_others(hub: Hub) -> None:
    with Process("watch", "op-12", "--json", "--url", hub.url) as watch:
        assert watch.read_line().startswith('{"type":"operation:start"')


@pytest.mark.parametrize("command", ["wait", "show", "logs"])
def test_name_in_utf_8_is_found_in_the_c_locale(command: str, shared_hub: Hub) -> None:
    publish_operation(shared_hub, "start", f"rocket-{command}", name=f"🚀 {command}")
    publish_operation(shared_hub, "complete", f"rocket-{command}")
    done = tidings(command, f"🚀 {command}", TIDINGS_URL=shared_hub.url, LC_ALL="C", PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr


def test_text_that_is_not_utf_8_has_a_hint_of_its_own(shared_hub: Hub) -> None:
    done = tidings("show", os.fsdecode(b"\xff"), TIDINGS_URL=shared_hub.url)
    assert done.returncode == 2
    assert "hint: Write it in UTF-8." in done.stderr


def test_any_text_in_utf_8_is_read_in_the_c_locale(shared_hub: Hub) -> None:
    in_c = {"TIDINGS_URL": shared_hub.url, "LC_ALL": "C", "PYTHONUTF8": "0", "LOGNAME": "zoë"}
    ran = tidings("run", "--name", "prïces 🚀", "--", "echo", "hé", **in_c)
    assert (ran.returncode, ran.stdout) == (0, "hé\n")
    started = tidings("report", "start", "Jöb", **in_c)
    reports = [
        ("report", "progress", started.stdout.strip(), "10", "hälf"),
        ("report", "log", started.stdout.strip(), "lög"),
        ("cancel", "Jöb", "--reason", "zu spät", "--timeout", "0"),
        ("publish", "data:update", '{"dataset": "prïces"}', "--channel", "data"),
    ]
    assert [tidings(*each, **in_c).returncode for each in reports] == [0, 0, 9, 0]
    with HTTPClient(shared_hub.url) as client:
        [run] = client.operations([("name", "prïces 🚀")], 2)
        [job] = client.operations([("name", "Jöb")], 2)
        assert [line.message for line in client.operation(job.operation_id).log] == ["lög"]
    assert (run.command, run.user) == ("echo 'hé'", "zoë")
    assert job.message == "hälf"
    assert job.cancelled_by is not None
    assert job.cancelled_by.startswith("zoë@")
    listed = tidings("ls", "--name", "prï*", "--json", **in_c)
    assert run.operation_id in listed.stdout
    assert tidings("publish", "é", "{}", **in_c).stderr.startswith("error: $.type: unknown type")


def test_a_file_keeps_its_name_in_the_c_locale(shared_hub: Hub, tmp_path: Path) -> None:
    data = tmp_path / "dätä.json"
    data.write_text('{"dataset": "from a file"}')
    in_c = {"TIDINGS_URL": shared_hub.url, "LC_ALL": "C", "PYTHONUTF8": "0"}
    assert tidings("publish", "data:update", f"@{data}", **in_c).returncode == 0
    recording = tmp_path / "ö.ndjson"
    recording.write_bytes(Path("docs/demo.ndjson").read_bytes())
    checked = tidings("contract", "check", str(recording), **in_c)
    assert checked.returncode == 0, checked.stderr
