"""Watch and cancel a training of Keras. Start a hub, then run `python examples/keras_training.py`."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

from tidings.integrations.keras import TidingsCallback


def train(epochs: int) -> None:
    x = np.random.default_rng(1).normal(size=(256, 8))
    y = x.sum(axis=1, keepdims=True)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)], name="ranker")
    model.compile("adam", "mse")
    with TidingsCallback("Train the ranker") as reporting:
        model.fit(x, y, epochs=epochs, validation_split=0.2, verbose=0, callbacks=[reporting])


if __name__ == "__main__":
    train(epochs=5)
