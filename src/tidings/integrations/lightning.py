"""Lightning: a training as an operation.

::

    from tidings.integrations.lightning import TidingsCallback

    trainer = lightning.Trainer(max_epochs=10, callbacks=[TidingsCallback("Train the ranker")])
    trainer.fit(model, data)

The callback works without being a `lightning.pytorch.Callback`, so that nothing of Lightning is imported here, and
serves `pytorch_lightning` as well.
"""

from collections.abc import Callable
from typing import Any, Unpack

from tidings.integrations.training import Training, nothing
from tidings.producer.operation import Operation
from tidings.producer.options import Options

_AGREE_EVERY = 50
"""Batches between two agreements of several processes to stop: each waits for all of them."""


class TidingsCallback:
    """Reports `fit`: epochs are steps, batches are progress, what is logged is in log lines, exceptions are failures.

    Cancelling the operation sets `trainer.should_stop`, so that training ends after the batch, or as soon as
    `min_epochs` and `min_steps` allow; then the operation is cancelled. Where several processes train together, the
    main one reports, and they agree on stopping at the end of an epoch and every 50 batches.

    Args:
        name: What a person calls the training.
        **options: See `tidings.operation`.
    """

    state_key = _legacy_state_key = "tidings"
    """What checkpoints know it by."""

    def __init__(self, name: str = "Training", **options: Unpack[Options]) -> None:
        self._training = Training(name, options)
        self._counts_steps = False

    @property
    def operation(self) -> Operation | None:
        """The operation of the present training, or of the last; None before the first."""
        return self._training.operation

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("on_") or name in ("setup", "teardown"):
            return nothing
        raise AttributeError(name)

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of it: nothing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what a checkpoint kept."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin the operation, in the main process."""
        if not trainer.is_global_zero:
            return
        # A number of steps ends the training before its epochs do, which may be without end.
        self._counts_steps = (trainer.max_steps or -1) > 0
        epochs = None if self._counts_steps else trainer.max_epochs
        self._training.begin(
            epochs=epochs, batches=trainer.num_training_batches, facts={"model": type(pl_module).__name__}
        )

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a step."""
        if trainer.is_global_zero and not self._counts_steps:
            self._training.epoch(trainer.current_epoch)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Report progress, and stop if that is wanted."""
        if trainer.is_global_zero:
            if self._counts_steps:
                self._training.reach(trainer.global_step, trainer.max_steps, trainer.current_epoch)
            else:
                self._training.batch(batch_idx + 1)
        if trainer.world_size == 1 or batch_idx % _AGREE_EVERY == _AGREE_EVERY - 1:
            self._stop_if_wanted(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Log the epoch's metrics."""
        if trainer.is_global_zero:
            self._training.note(self._training.title(trainer.current_epoch), trainer.callback_metrics)
        self._stop_if_wanted(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """End the operation."""
        if trainer.is_global_zero:
            self._training.end()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """End the operation as the exception says."""
        if trainer.is_global_zero:
            self._training.leave(exception)

    def _stop_if_wanted(self, trainer: Any) -> None:
        wanted = self._training.should_stop()
        if trainer.world_size > 1:
            wanted = trainer.strategy.reduce_boolean_decision(wanted, all=False)
        if wanted:
            trainer.should_stop = True
