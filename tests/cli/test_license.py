import json
import subprocess
from pathlib import Path

import pytest
from tests.cli.processes import tidings

ISSUE = ("license", "issue", "--subject", "ACME")


class Issuer:
    """Keys as `openssl` makes them, and licenses."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key, self.public = str(folder / "license.key"), str(folder / "license.pub")
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.key], check=True)
        subprocess.run(["openssl", "pkey", "-in", self.key, "-pubout", "-out", self.public], check=True)
        Path(self.key).chmod(0o600)
        Path(self.public).chmod(0o644)

    def issue(self, *options: str) -> str:
        done = tidings(*ISSUE, "--private-key", self.key, *options)
        assert done.returncode == 0, done.stderr
        file = self.folder / "license.jwt"
        file.write_text(done.stdout)
        file.chmod(0o644)
        return str(file)


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


def test_license_is_issued_shown_and_verified(issuer: Issuer) -> None:
    file = issuer.issue("--expires", "365d", "--id", "lic-7")
    assert len(Path(file).read_text().split()) == 1, "nothing but the license is on stdout"
    shown = tidings("license", "show", file)
    assert "lic-7" in shown.stdout
    assert "not verified" in shown.stdout
    verified = tidings("license", "verify", file, "--license-public-key", issuer.public)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert "state      valid" in verified.stdout
    by_options = tidings("license", "verify", "--json", TIDINGS_LICENSE=file, TIDINGS_LICENSE_PUBLIC_KEY=issuer.public)
    view = json.loads(by_options.stdout)
    assert (view["license_id"], view["subject"], view["verified"]) == ("lic-7", "ACME", True)


def test_expired_license_fails_with_1(issuer: Issuer) -> None:
    file = issuer.issue("--expires", "2020-02-01T00:00:00Z", "--begins", "2020-01-01T00:00:00Z")
    done = tidings("license", "verify", file, "--license-public-key", issuer.public)
    assert done.returncode == 1
    assert "state      expired" in done.stdout
    assert "expired at 2020-02-01T00:00:00Z" in done.stderr


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--expires", "tomorrow"), "--expires: invalid duration 'tomorrow'"),
        (("--expires", "2027-13-01T00:00:00Z"), "--expires: invalid time"),
        (("--expires", "1d", "--begins", "soon"), "--begins: invalid time"),
        (("--expires", "1d", "--subject", ""), "invalid subject: expected"),
        (("--expires", "1d", "--private-key", "absent.key"), "cannot read the private key absent.key"),
    ],
)
def test_wrong_use_is_an_error(issuer: Issuer, options: tuple[str, ...], error: str) -> None:
    done = tidings(*ISSUE, "--private-key", issuer.key, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"error: {error}" in done.stderr
    assert "hint: " in done.stderr


def test_license_of_another_key_is_refused(issuer: Issuer, tmp_path: Path) -> None:
    file = issuer.issue("--expires", "1d")
    (tmp_path / "other").mkdir()
    other = Issuer(tmp_path / "other")
    done = tidings("license", "verify", file, "--license-public-key", other.public)
    assert done.returncode == 2
    assert "it was signed with the key" in done.stderr


def test_license_without_its_key_is_refused_by_serve(issuer: Issuer) -> None:
    done = tidings("serve", "--memory", "--license", issuer.issue("--expires", "1d"))
    assert done.returncode == 2
    assert "hint: Pass --license and --license-public-key" in done.stderr
