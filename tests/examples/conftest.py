from tests.cli.conftest import shared_hub as shared_hub
