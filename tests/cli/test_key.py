import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.processes import TIMEOUT_S, Terminal, tidings


@pytest.fixture
def keys(tmp_path: Path) -> str:
    return str(tmp_path / "keys.jsonl")


def test_key_is_printed_alone_on_stdout_and_described_on_stderr(keys: str) -> None:
    done = tidings(
        *("key", "add", "nightly", "--keys", keys, "--expires", "90d"),
        *("--grant", "publish operations/nightly.*", "--grant", "read operations/nightly.*"),
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.removesuffix("\n")
    assert text.startswith("tdk_")
    assert len(text) == 65
    assert "publish operations/nightly.*, read operations/nightly.*; it expires at 2" in done.stderr
    assert text not in done.stderr
    assert text not in Path(keys).read_text()


def test_list_shows_keys_without_secrets(keys: str) -> None:
    text = tidings("key", "add", "a", "--keys", keys, "--grant", "read data").stdout.strip()
    tidings("key", "add", "b", "--keys", keys, "--grant", "admin")
    assert tidings("key", "revoke", "b", "--keys", keys).returncode == 0
    listed = tidings("key", "list", TIDINGS_KEYS=keys)
    (line,) = listed.stdout.splitlines()
    id, name, state, _, expires, used, grants = line.split("\t")
    assert (name, state, expires, used, grants) == ("a", "active", "", "", "read data")
    assert text.startswith(f"tdk_{id}_")
    everything = tidings("key", "list", "--all", "--json", "--keys", keys).stdout
    assert [(each["name"], each["state"]) for each in map(json.loads, everything.splitlines())] == [
        ("a", "active"),
        ("b", "revoked"),
    ]
    assert "sha256" not in everything
    assert text[13:] not in listed.stdout + everything
    with Terminal("key", "list", "--keys", keys) as terminal:
        shown = terminal.wait_for("--all lists them")
        assert terminal.wait() == 0
    assert "a" in shown
    assert "1 revoked or expired key;" in shown


def test_revoking_by_id_leaves_the_other_keys_of_the_name(keys: str) -> None:
    first = tidings("key", "add", "ci", "--keys", keys, "--grant", "read data").stdout
    second = tidings("key", "add", "ci", "--another", "--keys", keys).stdout
    assert first != second
    id = first[4:12]
    revoked = tidings("key", "revoke", id, "--keys", keys)
    assert revoked.stdout == f"revoked the key {id} of ci\n"
    again = tidings("key", "revoke", id, "--keys", keys)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "note: it was revoked already\n")
    (line,) = tidings("key", "list", "--keys", keys).stdout.splitlines()
    assert line.startswith(second[4:12])


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (("add", "a"), "a key without grants may do nothing", "--grant"),
        (("add", "a", "--grant", "fly data"), "--grant: invalid grant 'fly data'", "read PATH"),
        (("add", "a", "--grant", "read data", "--expires", "90"), "--expires: invalid duration '90'", "--expires 90s"),
        (("add", "a\tb", "--grant", "read data"), "invalid name", "Name the program"),
        (("add", "taken", "--grant", "read data"), "'taken' has a key already", "--another"),
        (("revoke", "b"), "no key has the name or id 'b'", "tidings key list"),
        (("remove", "b"), "no such command: 'tidings key remove'", "tidings key revoke"),
    ],
)
def test_wrong_use_has_an_error_with_a_hint(keys: str, arguments: tuple[str, ...], error: str, hint: str) -> None:
    tidings("key", "add", "taken", "--keys", keys, "--grant", "read data")
    done = tidings("key", *arguments, TIDINGS_KEYS=keys)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: {error}" in done.stderr
    assert hint in done.stderr


def test_file_that_others_can_read_is_an_error_with_its_remedy(keys: str) -> None:
    tidings("key", "add", "a", "--keys", keys, "--grant", "read data")
    Path(keys).chmod(0o644)
    for command in (("list",), ("revoke", "a"), ("add", "b", "--grant", "admin")):
        done = tidings("key", *command, "--keys", keys)
        assert done.returncode == 2
        assert f"hint: Run `chmod 600 {keys}`" in done.stderr


def test_hub_in_memory_needs_a_named_file() -> None:
    done = tidings("key", "list", TIDINGS_MEMORY="1")
    assert done.returncode == 2
    assert "--keys" in done.stderr


def test_key_that_cannot_be_shown_is_revoked(keys: str) -> None:
    command = [sys.executable, "-m", "tidings", "key", "add", "a", "--grant", "admin", "--keys", keys]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 1
    assert "could not be shown, and is revoked" in done.stderr
    assert "revoked" in tidings("key", "list", "--all", "--keys", keys).stdout
    assert tidings("key", "add", "a", "--grant", "admin", "--keys", keys).returncode == 0


def test_star_inside_of_a_path_is_a_note(keys: str) -> None:
    grants = ["read operations/*/logs", "read data/*", "publish data/a* *"]
    done = tidings("key", "add", "a", "--keys", keys, *(f"--grant={each}" for each in grants))
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if line.startswith("note:")] == [
        "note: 'read operations/*/logs': `*` stands for other characters only at the end of a path"
    ]


def test_grant_for_an_undeclared_channel_is_a_note(keys: str) -> None:
    done = tidings("key", "add", "a", "--keys", keys, "--grant", "read opertions/x", "--grant", "read *")
    assert done.returncode == 0
    assert "note: the contract has no channel 'opertions'; it has global, operations, data, system" in done.stderr
