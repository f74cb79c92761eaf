"""Report Celery tasks to a hub. Start a hub, and a broker at BROKER_URL; then run:

celery --app celery_tasks worker      # in the folder of this file
python celery_tasks.py                # sends a task
"""

import os
import time

from celery import Celery

import tidings
import tidings.integrations.celery

app = Celery("shop", broker=os.environ.get("BROKER_URL", "redis://127.0.0.1"))
tidings.integrations.celery.connect(app)


@app.task(name="Import prices")
def import_prices(pages: int) -> None:
    op = tidings.current_operation()
    assert op is not None
    for page in op.track(range(pages), unit="pages"):
        time.sleep(0.05)
        op.log(f"page {page} is in")


if __name__ == "__main__":
    print(import_prices.delay(10).id)
