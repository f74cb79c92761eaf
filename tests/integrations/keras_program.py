"""Trainings with the real Keras, on its smallest backend that can train: one that ends, one that fails, one that is
cancelled. Run as a program, because Keras takes its backend from the environment of the process."""

import os
import sys
import time

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import keras
import numpy as np

from tidings.integrations.keras import TidingsCallback
from tidings.producer.runtime import RUNTIME

X, Y = np.ones((32, 4)), np.zeros((32, 1))


class Hook(keras.callbacks.Callback):  # type: ignore[misc]
    """Calls a function with each batch, in place of a model that is slow or fails."""

    def __init__(self, act: object) -> None:
        super().__init__()
        self._act = act

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        self._act(batch)  # type: ignore[operator]


def model() -> keras.Model:
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)], name="ranker")
    made.compile("sgd", "mse")
    return made


def fail(batch: int) -> None:
    if batch == 2:
        raise ValueError("the loss is NaN")


def main() -> None:
    fitted = {"batch_size": 8, "verbose": 0, "validation_data": (X, Y)}
    with TidingsCallback("Ends", quiet=True) as reporting:
        # Slow enough for a report in each epoch: progress is reported ten times a second.
        model().fit(X, Y, epochs=3, callbacks=[reporting, Hook(lambda _: time.sleep(0.06))], **fitted)
    try:
        with TidingsCallback("Fails", quiet=True) as reporting:
            model().fit(X, Y, epochs=3, callbacks=[reporting, Hook(fail)], **fitted)
    except ValueError:
        pass
    reporting = TidingsCallback("Is cancelled", quiet=True)
    history = model().fit(X, Y, epochs=10_000, callbacks=[reporting, Hook(lambda _: time.sleep(0.005))], **fitted)
    # The history is complete, as after any other training.
    assert 0 < len(history.history["loss"]) < 10_000
    assert RUNTIME.flush(10) == 0
    sys.stdout.write("trained\n")


if __name__ == "__main__":
    main()
