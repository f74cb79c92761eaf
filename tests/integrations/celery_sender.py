"""Sends tasks: reads `{"task", "args", …options of apply_async}`, one per line, and prints their ids."""

import json
import sys

from tests.integrations.celery_app import app

for line in sys.stdin:
    call = json.loads(line)
    name, args = call.pop("task"), call.pop("args")
    sys.stdout.write(app.tasks[f"tests.integrations.celery_app.{name}"].apply_async(args, **call).id + "\n")
    sys.stdout.flush()
