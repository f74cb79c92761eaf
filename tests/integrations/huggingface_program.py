"""Trainings with the real Trainer of transformers: one that ends, one that fails, one that is cancelled."""

import sys
import tempfile
import time
from contextlib import suppress
from typing import Any

import torch
from transformers import Trainer, TrainingArguments

from tidings.integrations.huggingface import TidingsCallback
from tidings.producer.runtime import RUNTIME


class Ranker(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, fails_at: int = -1) -> None:
        super().__init__()
        self._layer = torch.nn.Linear(4, 1)
        self._steps, self._fails_at = 0, fails_at

    def forward(self, x: Any, labels: Any) -> Any:
        time.sleep(0.02)
        self._steps += 1
        if self._steps == self._fails_at:
            raise ValueError("the loss is NaN")
        logits = self._layer(x)
        return {"loss": logits.pow(2).mean(), "logits": logits}


class Rows(torch.utils.data.Dataset):  # type: ignore[misc]
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"x": torch.ones(4), "labels": torch.tensor(0.0)}


def train(callback: TidingsCallback, model: Ranker, epochs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=8,
            logging_steps=8,
            report_to=[],
            use_cpu=True,
            save_strategy="no",
            eval_strategy="epoch",
            disable_tqdm=True,
        )
        with callback:
            Trainer(model, arguments, train_dataset=Rows(), eval_dataset=Rows(), callbacks=[callback]).train()


def main() -> None:
    train(TidingsCallback("Ends", quiet=True), Ranker(), 3)
    with suppress(ValueError):
        train(TidingsCallback("Fails", quiet=True), Ranker(fails_at=3), 3)
    train(TidingsCallback("Is cancelled", quiet=True), Ranker(), 10_000)
    assert RUNTIME.flush(10) == 0
    sys.stdout.write("trained\n")


if __name__ == "__main__":
    main()
