"""Watch and cancel a training of Lightning. Start a hub, then run `python examples/lightning_training.py`."""

import lightning
import torch

from tidings.integrations.lightning import TidingsCallback


class Ranker(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.layer(x), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def train(epochs):
    x = torch.randn(256, 8)
    rows = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True)), batch_size=32)
    reporting = TidingsCallback("Train the ranker")
    trainer = lightning.Trainer(max_epochs=epochs, callbacks=[reporting], logger=False, enable_checkpointing=False)
    trainer.fit(Ranker(), rows)


if __name__ == "__main__":
    train(epochs=5)
