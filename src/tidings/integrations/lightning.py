"""Lightning: reports a training as an operation.

::

    from tidings.integrations.lightning import TidingsCallback

    trainer = lightning.Trainer(max_epochs=10, callbacks=[TidingsCallback("Train the ranker")])
    trainer.fit(model, data)

The callback works without being a `lightning.pytorch.Callback`, so that this module does not import Lightning. It works
with `pytorch_lightning`, too.
"""

from collections.abc import Callable
from typing import Any, Unpack

from tidings.integrations.training import Training, ignore
from tidings.producer.operation import Operation
from tidings.producer.options import Options

_BATCHES_PER_AGREEMENT = 50
"""Batches between two checks whether several processes stop: in each check every process waits for all others."""


class TidingsCallback:
    """Reports `fit`: epochs are steps, batches are progress, metrics are log lines, and exceptions are failures.

    Cancelling the operation sets `trainer.should_stop`, so that training ends after the current batch, or as soon as
    `min_epochs` and `min_steps` allow; then the operation is cancelled. If several processes train together, the main
    one reports, and they agree on stopping at the end of an epoch and every 50 batches.

    Args:
        name: Name of the training, for people.
        **options: See `tidings.operation`.
    """

    state_key = _legacy_state_key = "tidings"
    """Name of the callback in checkpoints."""

    def __init__(self, name: str = "Training", **options: Unpack[Options]) -> None:
        self._training = Training(name, options)
        self._counts_steps = False

    @property
    def operation(self) -> Operation | None:
        """The operation of the current or last training; None before the first."""
        return self._training.operation

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("on_") or name in ("setup", "teardown"):
            return ignore
        raise AttributeError(name)

    def state_dict(self) -> dict[str, Any]:
        """Return an empty state for checkpoints."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Ignore the state of a checkpoint."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin the operation, in the main process."""
        if not trainer.is_global_zero:
            return
        # A maximum number of steps ends the training before its epochs, whose number may be unlimited.
        self._counts_steps = (trainer.max_steps or -1) > 0
        epochs = None if self._counts_steps else trainer.max_epochs
        self._training.begin(
            epochs=epochs, batches=trainer.num_training_batches, facts={"model": type(pl_module).__name__}
        )

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a step."""
        if trainer.is_global_zero and not self._counts_steps:
            self._training.start_epoch(trainer.current_epoch)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report progress, and stop on a cancel request."""
        if trainer.is_global_zero:
            if self._counts_steps:
                self._training.update_steps(trainer.global_step, trainer.max_steps, trainer.current_epoch)
            else:
                self._training.update_batches(batch_idx + 1)
        if trainer.world_size == 1 or batch_idx % _BATCHES_PER_AGREEMENT == _BATCHES_PER_AGREEMENT - 1:
            self._stop_if_cancelled(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log the epoch's metrics."""
        if trainer.is_global_zero:
            self._training.log_metrics(self._training.title(trainer.current_epoch), trainer.callback_metrics)
        self._stop_if_cancelled(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End the operation."""
        if trainer.is_global_zero:
            self._training.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End the operation with the outcome that the exception means."""
        if trainer.is_global_zero:
            self._training.leave(exception)

    def _stop_if_cancelled(self, trainer: Any) -> None:
        stops = self._training.should_stop()
        if trainer.world_size > 1:
            stops = trainer.strategy.reduce_boolean_decision(stops, all=False)
        if stops:
            trainer.should_stop = True
