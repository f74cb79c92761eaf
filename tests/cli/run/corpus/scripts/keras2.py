r"""Prints what `model.fit` of Keras 2 prints: every batch goes back over the line with backspaces and \r."""

import sys
import time

WIDTH = 30
BATCHES = 20
EPOCHS = 3


def bar(done: int) -> str:
    filled = int(WIDTH * done / BATCHES)
    drawn = "=" * max(0, filled - 1)
    drawn += (">" if done < BATCHES else "=") if filled else ""
    return f"{done:{len(str(BATCHES))}d}/{BATCHES} [{drawn.ljust(WIDTH, '.')}]"


for epoch in range(1, EPOCHS + 1):
    sys.stdout.write(f"Epoch {epoch}/{EPOCHS}\n")
    before = 0
    for done in range(1, BATCHES + 1):
        info = f" - ETA: {(BATCHES - done) // 4}s" if done < BATCHES else " - 1s 23ms/step"
        text = bar(done) + info + f" - loss: {2.3 / (epoch + done):.4f} - accuracy: {done / BATCHES:.4f}"
        # Keras pads a shorter text with spaces, so that nothing of the longer one is left.
        padded = text.ljust(before)
        sys.stdout.write("\b" * before + "\r" + padded + ("\n" if done == BATCHES else ""))
        sys.stdout.flush()
        before = len(padded)
        time.sleep(0.02)
