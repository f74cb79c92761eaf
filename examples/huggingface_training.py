"""Watch and cancel a training of the Hugging Face Trainer. Start a hub, then run
`python examples/huggingface_training.py`."""

import tempfile

import torch
from transformers import Trainer, TrainingArguments

from tidings.integrations.huggingface import TidingsCallback


class Ranker(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(8, 1)

    def forward(self, x, labels):
        scores = self.layer(x).squeeze(-1)
        return {"loss": torch.nn.functional.mse_loss(scores, labels), "logits": scores}


def train(epochs):
    rows = [{"x": x, "labels": x.sum()} for x in torch.randn(256, 8)]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, num_train_epochs=epochs, report_to=[], use_cpu=True, save_strategy="no")
        with TidingsCallback("Train the ranker") as reporting:
            Trainer(Ranker(), arguments, train_dataset=rows, callbacks=[reporting]).train()


if __name__ == "__main__":
    train(epochs=5)
