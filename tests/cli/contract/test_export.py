"""`tidings contract export`, as a real process."""

import json
from pathlib import Path

import pytest
from tests.cli.processes import tidings
from tests.contract.test_loading import TOML

from tidings.contract.contract import Contract
from tidings.contract.export.formats import FORMATS
from tidings.contract.export.golang import export_go
from tidings.contract.loading import read_contract

SHOP = read_contract(TOML, "shop.toml", form="toml")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.toml"
    path.write_text(TOML)
    return path


@pytest.mark.parametrize("format", FORMATS)
def test_a_contract_is_exported_to_stdout(format: str, shop: Path) -> None:
    done = tidings("contract", "export", format, "--contract", str(shop))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == FORMATS[format].render(SHOP)


def test_export_defaults_to_the_built_in_contract() -> None:
    assert tidings("contract", "export", "json").stdout == FORMATS["json"].render(Contract())


def test_the_contract_variable_is_used(shop: Path) -> None:
    done = tidings("contract", "export", "json", TIDINGS_CONTRACT=str(shop))
    assert done.stdout == FORMATS["json"].render(SHOP)


def test_a_module_of_the_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_events.py").write_text(
        "import msgspec\nfrom tidings import Contract, event\n"
        'class Seen(msgspec.Struct):\n    who: str\n    """By whom."""\n'
        'contract = Contract.of(event("thing:seen", Seen, channel="things"))\n'
    )
    monkeypatch.chdir(tmp_path)
    done = tidings("contract", "export", "typescript", "--contract", "my_events:contract")
    assert done.returncode == 0, done.stderr
    assert "  /** By whom. */\n  who: string;\n" in done.stdout


def test_export_creates_the_folder_of_its_file(tmp_path: Path, shop: Path) -> None:
    target = tmp_path / "made" / "events.ts"
    done = tidings("contract", "export", "typescript", "--contract", str(shop), "-o", str(target))
    assert (done.returncode, done.stdout) == (0, "")
    assert target.read_text() == FORMATS["typescript"].render(SHOP)


def test_a_folder_gets_a_file_of_the_usual_name(tmp_path: Path) -> None:
    assert tidings("contract", "export", "go", "--output", str(tmp_path)).returncode == 0
    assert (tmp_path / "tidings.go").read_text() == export_go(Contract())


def test_a_folder_gets_a_schema_of_each_event(tmp_path: Path, shop: Path) -> None:
    folder = f"{tmp_path / 'schemas'}/"
    assert tidings("contract", "export", "json-schema", "--contract", str(shop), "-o", folder).returncode == 0
    written = {path.name for path in Path(folder).iterdir()}
    assert written == {f"{type.replace(':', '.')}.schema.json" for type in (*SHOP.events, "operation:error")}
    schema = json.loads((Path(folder) / "trade.price.schema.json").read_text())
    assert schema["properties"]["type"] == {"const": "trade:price"}


def test_a_go_package_has_the_given_name() -> None:
    assert tidings("contract", "export", "go", "--package", "events").stdout == export_go(Contract(), package="events")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("xml",), "unknown format 'xml'"),
        (("json", "--package", "events"), "--package does not apply to json"),
        (("go", "--package", "my-events"), "invalid Go package 'my-events'"),
        (
            ("json", "--contract", "nowhere.toml"),
            "cannot read nowhere.toml: No such file or directory\nhint: Check the path.",
        ),
        (("json", "--contract", "json:loads"), "invalid contract json:loads: expected a Contract, not a function"),
        (("json", "--output", "/dev/null/x"), "cannot write /dev/null"),
    ],
)
def test_an_impossible_request_is_an_error_in_two_lines(arguments: tuple[str, ...], error: str) -> None:
    done = tidings("contract", "export", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {error}")
    assert "\nhint: " in done.stderr
