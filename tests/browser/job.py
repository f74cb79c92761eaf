"""A job that does what its stdin says: one JSON object per line, such as {"progress": [40, "page 4"]}."""

import json
import sys

import tidings


def main(name: str, chosen: str) -> None:
    options = json.loads(chosen)
    reason = options.pop("refusing", None)
    if reason is not None:
        options["on_cancel"] = lambda _request: reason
    with tidings.operation(name, **options) as operation:
        sys.stdout.write(f"started {operation.id}\n")
        sys.stdout.flush()
        for line in sys.stdin:
            for action, arguments in json.loads(line).items():
                if action == "fail":
                    code, message, hint = arguments
                    operation.fail(code, message, hint=hint)
                else:
                    getattr(operation, action)(*arguments)
                if action in ("complete", "fail"):
                    return


main(*sys.argv[1:])
