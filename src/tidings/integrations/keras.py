"""Keras 3: a training as an operation.

::

    from tidings.integrations.keras import TidingsCallback

    with TidingsCallback("Train the ranker") as reporting:
        model.fit(data, epochs=10, callbacks=[reporting])

Keras tells its callbacks of no exception: the `with` does, or an operation around it. The callback works without being
a `keras.callbacks.Callback`, so that nothing of Keras is imported here.
"""

from collections.abc import Mapping
from typing import Any, Unpack

from tidings.integrations.training import Training, TrainingBlock
from tidings.producer.options import Options


class TidingsCallback(TrainingBlock):
    """Reports `fit`: epochs are steps, batches are progress, metrics are log lines.

    Cancelling the operation sets `model.stop_training`, so that training ends after the batch, with what other
    callbacks do at its end; then the operation is cancelled.

    Args:
        name: What a person calls the training.
        **options: See `tidings.operation`.
    """

    async_safe = True
    """Keras may call it on another thread."""

    def __init__(self, name: str = "Training", **options: Unpack[Options]) -> None:
        super().__init__(Training(name, options))
        self._params: Mapping[str, Any] = {}
        self._model: Any = None
        self._batch = 0

    def set_params(self, params: Mapping[str, Any] | None) -> None:
        """Take what `fit` was asked for; called by Keras before the training begins."""
        self._params = params or {}

    def set_model(self, model: Any) -> None:
        """Take the model; called by Keras before the training begins."""
        self._model = model

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Begin the operation."""
        name = getattr(self._model, "name", None)
        self._training.begin(
            epochs=self._params.get("epochs"),
            batches=self._params.get("steps"),
            facts={"model": name} if isinstance(name, str) else None,
        )

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Begin a step."""
        self._batch = 0
        self._training.epoch(epoch)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Report progress, and stop if that is wanted."""
        self._batch = max(self._batch, batch + 1)
        self._training.batch(batch + 1, logs)
        self._stop_if_wanted()

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop validating if the training is to stop."""
        if self._training.should_stop() and self._model is not None:
            self._model.stop_evaluating = True

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the epoch's metrics."""
        self._training.note_epoch(epoch, self._batch, logs)
        self._stop_if_wanted()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """End the operation."""
        self._training.end()

    def _stop_if_wanted(self) -> None:
        if self._training.should_stop() and self._model is not None:
            # PyTorch's DistributedDataParallel hides the model in itself.
            getattr(self._model, "module", self._model).stop_training = True
