import time

from rich.progress import Progress

with Progress() as progress:
    whole = progress.add_task("Migrating", total=30)
    part = progress.add_task("Copying rows", total=10)
    for done in range(30):
        time.sleep(0.06)
        if done == 17:
            progress.console.print("table users is 100% done, 3/4 indexes kept")
        if progress.tasks[1].finished:
            progress.reset(part)
        progress.advance(part)
        progress.advance(whole)
