"""A loop with a tqdm bar tells a hub, too: one import changes. `python examples/tqdm_loop.py`, with a hub running."""

import time

from tidings.tqdm import tqdm


def train(epochs: int = 2, batches: int = 50) -> float:
    loss = 1.0
    for _ in tqdm(range(epochs), desc="Train", unit="epochs"):
        bar = tqdm(range(batches), desc="batches", leave=False)
        for _ in bar:
            loss *= 0.99
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            time.sleep(0.001)
    return loss


if __name__ == "__main__":
    print(f"loss {train():.3f}")
