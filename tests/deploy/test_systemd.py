"""deploy/systemd, with systemd-analyze."""

import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.cli.processes import Hub, tidings
from tests.deploy.files import DEPLOY, read_options
from tests.log.mounts import needs_mount

UNIT = DEPLOY / "systemd" / "tidings@.service"
EXPOSURE = 20
"""Greatest exposure that `systemd-analyze security` may report, in tenths; 96 is a unit without any protection."""
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("CI"), reason="systemd is not installed"
)


def command() -> list[str]:
    found = re.search(r"^ExecStart=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert found
    return shlex.split(found[1])


@needs_systemd
def test_unit_is_valid_and_confined(tmp_path: Path) -> None:
    program = tmp_path / "tidings"
    program.symlink_to("/bin/true")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(command()[0], str(program)))
    for arguments in (["verify", "--man=no"], ["security", "--offline=true", f"--threshold={EXPOSURE}"]):
        done = subprocess.run(["systemd-analyze", *arguments, unit], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        if arguments[0] == "verify":
            assert done.stderr == ""


def test_command_of_the_unit_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "main.toml"
    file.write_text('auth = ["keys"]\nhost = "0.0.0.0"\n')
    _, verb, *arguments = [each.replace("%i", "main") for each in command()]
    assert verb == "serve"
    options = read_options([each.replace("/etc/tidings", str(tmp_path)) for each in arguments], {})
    assert options["data"] == "/var/lib/tidings/main"
    assert options["auth"] == ["keys"]
    text = UNIT.read_text().replace("%i", "main")
    assert f"StateDirectory={options['data'].removeprefix('/var/lib/')}\n" in text


def test_time_to_stop_covers_the_drain() -> None:
    found = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert found
    assert int(found[1]) >= 5 + 5, "--grace is 5 s by default"


CONFINE = """
mount --make-rprivate /
mount --bind "$0" "$0"
mount -o remount,bind,ro /
mount -t proc -o hidepid=invisible proc /proc
umask 077
exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"
"""
"""What `ProtectSystem=strict`, `ProtectProc=invisible`, `NoNewPrivileges` and an empty `CapabilityBoundingSet` do, and
more: the temporary folders are read-only, too. `$0` is the state folder."""


@needs_mount
def test_hub_needs_no_more_than_the_unit_allows(tmp_path: Path) -> None:
    confine = ["unshare", "--mount", "sh", "-e", "-c", CONFINE, str(tmp_path)]
    for start in (1, 2):
        with Hub("--data", str(tmp_path / "data"), memory=False, wrapper=confine) as hub:
            assert tidings("report", "start", "Job", "--strict", "--url", hub.url).returncode == 0
            hub.signal(signal.SIGHUP)
            assert tidings("ls", "--url", hub.url).stdout.count("Job") == start
            code, _, errors = hub.stop()
            assert (code, "rror" in errors) == (0, False), errors
