"""The description of the routes that tell what may be published (OpenAPI 3.1)."""

from tidings.server.contract_documents import ASYNCAPI, DOCUMENTS, PAGE
from tidings.server.openapi_parts import asked_header, errors, header
from tidings.server.openapi_schemas import Schema

_OPERATIONS = {
    "/v1/contract.json": "readContract",
    "/v1/contract.schema.json": "readContractSchema",
    ASYNCAPI: "readAsyncAPI",
    "/v1/contract.ts": "readContractInTypeScript",
    "/v1/contract.go": "readContractInGo",
}


def contract_paths() -> Schema:
    """Return the paths of the contract's documents."""
    paths = {
        path: _get(_OPERATIONS[path], f"Read the contract: {format.title}, {format.about}", format.media_type)
        for path, format in DOCUMENTS.items()
    }
    return {**paths, PAGE: _get("readContractPage", "Read the contract as a page for people", "text/html")}


def _get(operation: str, summary: str, media_type: str) -> Schema:
    # Parameters of a media type, such as a character set, are no part of its name here.
    name = media_type.partition(";")[0]
    schema = {"type": "object"} if name.endswith("json") else {"type": "string"}
    tag = header("Of equal documents the same.")
    return {
        "get": {
            "operationId": operation,
            "summary": summary,
            "parameters": [
                asked_header("If-None-Match", {"type": "string"}, "The ETag of what the client has already.")
            ],
            "responses": {
                "200": {
                    "description": "The document.",
                    "headers": {"ETag": tag},
                    "content": {name: {"schema": schema}},
                },
                "304": {"description": "The client has it.", "headers": {"ETag": tag}},
                **errors(403),
            },
        }
    }
