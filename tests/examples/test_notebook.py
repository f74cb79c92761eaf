import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tests.cli.processes import TIMEOUT_S, Hub, environment
from tests.examples.programs import EXAMPLES, of_operation


async def test_notebook_shows_the_end_in_its_first_cell(shared_hub: Hub, tmp_path: Path) -> None:
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    client = NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": str(tmp_path)}})
    variables = environment(TIDINGS_URL=shared_hub.url, TIDINGS_SPOOL=str(tmp_path / "spool"), IPYTHONDIR=str(tmp_path))
    await client.async_execute(env={**os.environ, **variables})
    (start,) = [cell for cell in notebook.cells if cell.id == "start"]
    (output,) = start.outputs
    assert output.data["text/plain"].startswith("Import prices: complete, 100 %, 200 prices, ")
    assert 'aria-valuenow="100"' in output.data["text/html"]
    assert [kind for kind, _ in of_operation(shared_hub, "Import prices") if kind != "progress"] == [
        "start",
        "complete",
    ]
