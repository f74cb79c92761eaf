import time

from tqdm import tqdm

for _ in tqdm(range(4), desc="Epochs"):
    for _ in tqdm(range(12), desc="Batches", leave=False):
        time.sleep(0.03)
