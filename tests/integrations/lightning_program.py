"""Trainings with the real Lightning: one that ends, one that fails, one that is cancelled."""

import sys
import time
from contextlib import suppress
from typing import Any

import lightning
import torch

from tidings.integrations.lightning import TidingsCallback
from tidings.producer.runtime import RUNTIME


class Ranker(lightning.LightningModule):  # type: ignore[misc]
    def __init__(self, fails_at: int = -1) -> None:
        super().__init__()
        self._layer = torch.nn.Linear(4, 1)
        self._fails_at = fails_at

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        time.sleep(0.02)
        if batch_idx == self._fails_at:
            raise ValueError("the loss is NaN")
        loss = self._layer(batch[0]).pow(2).mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self._layer(batch[0]).pow(2).mean())

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.01)


def fit(callback: TidingsCallback, model: Ranker, max_epochs: int) -> None:
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(64, 4)), batch_size=8)
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    trainer = lightning.Trainer(
        max_epochs=max_epochs, callbacks=[callback], accelerator="cpu", enable_checkpointing=False, **quiet
    )
    trainer.fit(model, data, data)


def main() -> None:
    fit(TidingsCallback("Ends", quiet=True), Ranker(), 3)
    with suppress(ValueError):
        fit(TidingsCallback("Fails", quiet=True), Ranker(fails_at=2), 3)
    fit(TidingsCallback("Is cancelled", quiet=True), Ranker(), 10_000)
    assert RUNTIME.flush(10) == 0
    sys.stdout.write("trained\n")


if __name__ == "__main__":
    main()
