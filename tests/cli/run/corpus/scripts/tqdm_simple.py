import time

from tqdm import tqdm

for _ in tqdm(range(40), desc="Resizing"):
    time.sleep(0.03)
