"""Report a tqdm bar to a hub by changing one import. Start a hub, then run `python examples/tqdm_loop.py`."""

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
