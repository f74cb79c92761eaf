"""Prints what `model.fit` of Keras 3 prints: a coloured bar of heavy lines, redrawn after a carriage return."""

import sys
import time

WIDTH = 20
BATCHES = 16
EPOCHS = 2
BOLD, GREEN, WHITE, RESET = "\x1b[1m", "\x1b[32m", "\x1b[37m", "\x1b[0m"

for epoch in range(1, EPOCHS + 1):
    sys.stdout.write(f"Epoch {epoch}/{EPOCHS}\n")
    for done in range(1, BATCHES + 1):
        filled = WIDTH * done // BATCHES
        count = f"{done:{len(str(BATCHES))}d}/{BATCHES}"
        bar = f"{GREEN}{'━' * filled}{RESET}{WHITE}{'━' * (WIDTH - filled)}{RESET}"
        took = f"{BOLD}{BATCHES - done}s{RESET} 25ms/step" if done < BATCHES else f"{BOLD}1s{RESET} 24ms/step"
        sys.stdout.write(
            f"\r{BOLD}{count}{RESET} {bar} {took} - accuracy: {done / BATCHES:.4f} - loss: 0.{99 - done}00"
        )
        if done == BATCHES:
            sys.stdout.write("\n")
        sys.stdout.flush()
        time.sleep(0.02)
