import time

from tqdm import tqdm

for total in (10, 12, 10):
    for _ in tqdm(range(total)):
        time.sleep(0.04)
for name in ("train", "validate", "train"):
    for _ in tqdm(range(10), desc=name):
        time.sleep(0.04)
