import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.file_limits import WITHOUT_BYTECODE

from tidings.access.key_file import KeyFile, LoadedKeys
from tidings.access.keys import ApiKeyAuthenticator
from tidings.access.private_files import locked
from tidings.access.subjects import AccessRequest, Credential, Subject
from tidings.exceptions import AccessError, ConfigError, InvalidKeyFile, UnsafeFile
from tidings.log.revocations import Revocation

CHANNELS = ("global", "operations", "data", "system")
NOW_NS = time.time_ns()
DAY_NS = 86_400 * 10**9


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "data" / "keys.jsonl")


def add(file: KeyFile, name: str = "ci", *grants: str) -> str:
    made = file.add(name, grants or ("read data",), now_ns=NOW_NS)
    assert made is not None
    return made[1]


def load(file: KeyFile) -> tuple[LoadedKeys, ApiKeyAuthenticator]:
    authenticator = ApiKeyAuthenticator(CHANNELS, lambda: NOW_NS)
    loaded = LoadedKeys(file, authenticator)
    loaded.load()
    return loaded, authenticator


def ask(authenticator: ApiKeyAuthenticator, text: str) -> Subject | AccessError:
    results: list[Subject | AccessError] = []
    authenticator.authenticate(Credential(text, "header"), AccessRequest(), results.append)
    return results[0]


def test_added_key_is_read_back_from_a_private_file(file: KeyFile) -> None:
    add(file, "ci", "publish operations/ci.*")
    (key,) = file.read()
    assert (key.name, key.grants) == ("ci", ("publish operations/ci.*",))
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700


def test_revoked_key_stays_for_90_days_and_is_refused(file: KeyFile) -> None:
    text = add(file)
    (key,) = file.read()
    assert [each.id for each in file.revoke(key.id, now_ns=NOW_NS)] == [key.id]
    assert file.revoke("ci", now_ns=NOW_NS) == []
    error = ask(load(file)[1], text)
    assert isinstance(error, AccessError)
    assert error.code == "credential_revoked"
    file.add("b", ("read data",), now_ns=NOW_NS + 91 * DAY_NS)
    assert [each.name for each in file.read()] == ["b"]


def test_second_key_of_a_name_must_be_asked_for_and_inherits_its_grants(file: KeyFile) -> None:
    add(file, "ci", "read data", "details")
    with pytest.raises(ConfigError, match="'ci' has a key already"):
        add(file, "ci")
    made = file.add("ci", (), now_ns=NOW_NS, another=True)
    assert made is not None
    assert made[0].grants == ("read data", "details")
    assert len(file.revoke("ci", now_ns=NOW_NS)) == 2


def test_key_is_issued_after_what_was_revoked_in_the_same_second(file: KeyFile) -> None:
    revoked_ns = NOW_NS // 10**9 * 10**9 + 800_000_000
    revocation = Revocation(kind="subject", name="ci", issued_before_ns=revoked_ns, kept_until_ns=None)
    covered = []
    for shift_ms in (-1, 1):
        made = file.add("ci", ("read data",), now_ns=revoked_ns + shift_ms * 1_000_000, another=True)
        assert made is not None
        subject = ask(load(file)[1], made[1])
        assert isinstance(subject, Subject)
        covered.append(revocation.covers(subject.issued_ns))
    assert covered == [True, False]


@pytest.mark.parametrize("name", ["none", "required"])
def test_name_that_no_hub_accepts_as_a_subject_is_refused(file: KeyFile, name: str) -> None:
    with pytest.raises(ConfigError, match="reserved"):
        add(file, name)


def test_key_without_grants_is_refused(file: KeyFile) -> None:
    with pytest.raises(ConfigError, match="may do nothing") as caught:
        file.add("ci", (), now_ns=NOW_NS)
    assert "--grant" in caught.value.hint
    assert not file.exists()


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o602, 0o644, 0o666])
def test_file_that_others_can_use_is_refused(file: KeyFile, mode: int) -> None:
    add(file)
    file.path.chmod(mode)
    with pytest.raises(UnsafeFile, match=f"mode {mode:04o}") as caught:
        file.read()
    assert f"chmod 600 {file.path}" in caught.value.hint
    with pytest.raises(UnsafeFile):
        file.add("b", ("read data",), now_ns=NOW_NS)


def test_group_may_read_a_file_of_root_only(file: KeyFile) -> None:
    add(file)
    file.path.chmod(0o640)
    if os.geteuid() == 0:
        assert len(file.read()) == 1
        os.chown(file.path, 65_534, -1)
    with pytest.raises(UnsafeFile, match="other users can read it"):
        file.read()


def test_file_that_is_a_folder_or_a_pipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidKeyFile, match="cannot read"):
        KeyFile(tmp_path).read()


def test_first_key_is_added_by_one_of_several_processes(file: KeyFile) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tidings.access.key_file import KeyFile\n"
        "made = KeyFile(Path(sys.argv[1])).add('admin', ('admin',), now_ns=time.time_ns(), first=True)\n"
        "print(made is not None)"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(file.path)], stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    made = [process.communicate(timeout=60)[0].strip() for process in running]
    assert sorted(made) == ["False", "False", "False", "True"]
    assert len(file.read()) == 1


def test_concurrent_changes_lose_no_key(file: KeyFile) -> None:
    code = (
        "import sys, time; from pathlib import Path; from tidings.access.key_file import KeyFile\n"
        "file = KeyFile(Path(sys.argv[1]))\n"
        "for number in range(10): file.add(f'{sys.argv[2]}-{number}', ('read data',), now_ns=time.time_ns())"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(file.path), str(each)]) for each in range(3)]
    assert [process.wait(timeout=60) for process in running] == [0, 0, 0]
    assert len(file.read()) == 30
    assert sorted(path.name for path in file.path.parent.iterdir()) == ["keys.jsonl", "keys.jsonl.lock"]


def test_failed_change_leaves_the_file_and_no_rest(file: KeyFile) -> None:
    add(file)
    before = file.path.read_bytes()
    with locked(file.path.with_name("other")):
        pass
    file.path.write_bytes(before + b"{broken\n")
    with pytest.raises(InvalidKeyFile, match="line 3"):
        file.add("b", ("read data",), now_ns=NOW_NS)
    assert file.path.read_bytes() == before + b"{broken\n"
    assert not list(file.path.parent.glob("*.new"))


def test_linked_file_is_changed_where_it_is(file: KeyFile, tmp_path: Path) -> None:
    add(file)
    link = tmp_path / "keys.jsonl"
    link.symlink_to(file.path)
    add(KeyFile(link), "b")
    assert link.is_symlink()
    assert [key.name for key in file.read()] == ["ci", "b"]
    assert [lock.parent for lock in tmp_path.rglob("*.lock")] == [file.path.parent], "one lock for both names"


def test_hub_follows_the_file_and_keeps_its_keys_when_it_breaks(file: KeyFile) -> None:
    first = add(file, "a")
    loaded, authenticator = load(file)
    assert not loaded.has_changed()
    second = add(file, "b")
    assert loaded.has_changed()
    loaded.load()
    assert not loaded.has_changed()
    assert isinstance(ask(authenticator, second), Subject)
    whole = file.path.read_bytes()
    for break_it in (lambda: file.path.write_bytes(whole[:-9]), file.path.unlink):
        break_it()
        assert loaded.has_changed()
        with pytest.raises(InvalidKeyFile):
            loaded.load()
        assert not loaded.has_changed(), "one version is read, and reported, once"
        assert isinstance(ask(authenticator, first), Subject)


def test_last_use_is_kept_in_a_file_of_its_own(file: KeyFile) -> None:
    text = add(file)
    loaded, authenticator = load(file)
    before = file.path.stat().st_mtime_ns
    loaded.save_used()
    assert file.read_used() == {}
    ask(authenticator, text)
    loaded.save_used()
    assert file.read_used() == {file.read()[0].id: NOW_NS}
    assert file.path.stat().st_mtime_ns == before
    file.path.with_name("keys.jsonl.used").write_text("{broken")
    assert file.read_used() == {}


def test_rename_of_a_written_file_is_made_to_last(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    add(file)
    synced: list[bool] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    file.revoke("ci", now_ns=NOW_NS)
    assert synced == [False, True], "a power failure could bring a revoked key back"


def test_named_pipe_in_place_of_the_file_keeps_no_hub_waiting(file: KeyFile) -> None:
    text = add(file)
    loaded, authenticator = load(file)
    file.path.unlink()
    os.mkfifo(file.path, 0o600)
    with pytest.raises(UnsafeFile, match="expected a regular file"):
        loaded.load()
    assert isinstance(ask(authenticator, text), Subject)


KILLED = """
import sys, time
from pathlib import Path
from tidings.access.key_file import KeyFile
file, number = KeyFile(Path(sys.argv[1])), 0
while True:
    made = file.add(f"{sys.argv[2]}-{number}", ("publish data",), now_ns=time.time_ns())
    number += 1
    print(made[0].id, flush=True)
"""


def test_killed_command_loses_no_key_that_it_showed(file: KeyFile) -> None:
    shown: set[str] = set()
    for run in range(5):
        program = [sys.executable, "-c", KILLED, str(file.path), f"run-{run}"]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(3 + run):
                shown.add(process.stdout.readline().strip())
            process.kill()
            shown |= {line.strip() for line in process.stdout if line.endswith("\n")}
    assert shown <= {key.id for key in file.read()}
    folder = file.path.parent
    rest = folder / f".{file.path.name}.0badcafe.new"
    rest.write_text("unfinished")
    add(file, "while another process may write it")
    assert rest.exists()
    os.utime(rest, (NOW_NS / 1e9 - 3_600, NOW_NS / 1e9 - 3_600))
    other = folder / ".other.jsonl.0badcafe.new"
    other.write_text("of another file")
    os.utime(other, (1, 1))
    add(file, "after an hour")
    assert not rest.exists()
    assert other.exists()


def test_full_disk_leaves_the_file_and_names_what_helps(file: KeyFile) -> None:
    add(file, "first")
    before = file.path.read_bytes()
    program = [sys.executable, "-m", "tidings", "key", "revoke", "first", "--keys", str(file.path)]

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, len(before) // 2))

    env = os.environ | WITHOUT_BYTECODE
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False, preexec_fn=limit, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot write the key file" in done.stderr
    assert "hint: Free disk space." in done.stderr
    assert file.path.read_bytes() == before
    assert not list(file.path.parent.glob(".*.new"))
