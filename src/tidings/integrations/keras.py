"""Keras 3: reports a training as an operation.

::

    from tidings.integrations.keras import TidingsCallback

    with TidingsCallback("Train the ranker") as reporting:
        model.fit(data, epochs=10, callbacks=[reporting])

Keras passes no exceptions to its callbacks: use the `with` block, or an operation around it. The callback works without
being a `keras.callbacks.Callback`, so that this module does not import Keras.
"""

from collections.abc import Mapping
from typing import Any, Unpack

from tidings.integrations.training import Training, TrainingBlock
from tidings.producer.options import Options
from tidings.producer.sanitize import read_attribute


class TidingsCallback(TrainingBlock):
    """Reports `fit`: epochs are steps, batches are progress, metrics are log lines.

    Cancelling the operation sets `model.stop_training`, so that training ends after the current batch and other
    callbacks run as usual; then the operation is cancelled.

    Args:
        name: Name of the training, for people.
        **options: See `tidings.operation`.
    """

    async_safe = True
    """Allows Keras to call it on another thread."""

    def __init__(self, name: str = "Training", **options: Unpack[Options]) -> None:
        super().__init__(Training(name, options))
        self._params: Mapping[str, Any] = {}
        self._model: Any = None
        self._batch = 0

    def set_params(self, params: Mapping[str, Any] | None) -> None:
        """Store the parameters of `fit`; Keras calls it before the training."""
        self._params = params or {}

    def set_model(self, model: Any) -> None:
        """Store the model; Keras calls it before the training."""
        self._model = model

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Begin the operation."""
        name = read_attribute(self._model, "name")
        self._training.begin(
            epochs=self._params.get("epochs"),
            batches=self._params.get("steps"),
            facts={"model": name} if isinstance(name, str) else None,
        )

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Begin a step."""
        self._batch = 0
        self._training.start_epoch(epoch)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Report progress, and stop on a cancel request."""
        self._batch = max(self._batch, batch + 1)
        self._training.update_batches(batch + 1, logs)
        self._stop_if_cancelled()

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Stop validating on a cancel request."""
        if self._training.should_stop() and self._model is not None:
            self._model.stop_evaluating = True

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log the epoch's metrics."""
        self._training.end_epoch(epoch, self._batch, logs)
        self._stop_if_cancelled()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """End the operation."""
        self._training.end()

    def _stop_if_cancelled(self) -> None:
        if self._training.should_stop() and self._model is not None:
            # DistributedDataParallel of PyTorch wraps the model.
            getattr(self._model, "module", self._model).stop_training = True
