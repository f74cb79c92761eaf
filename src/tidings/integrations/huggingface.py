"""Hugging Face `transformers.Trainer`: reports a training as an operation.

::

    from tidings.integrations.huggingface import TidingsCallback

    with TidingsCallback("Fine-tune the classifier") as reporting:
        Trainer(model, args, train_dataset=data, callbacks=[reporting]).train()

The Trainer passes no exceptions to its callbacks: use the `with` block, or an operation around it. The callback works
without being a `transformers.TrainerCallback`, so that this module does not import transformers.
"""

from collections.abc import Mapping
from typing import Any, Unpack

from tidings.integrations.training import Training, TrainingBlock
from tidings.producer.options import Options
from tidings.producer.sanitize import read_attribute, text


class TidingsCallback(TrainingBlock):
    """Reports `Trainer.train`: optimizer steps are progress, epochs are steps, and logs of the Trainer are log lines.

    Cancelling the operation sets `control.should_training_stop`, so that training ends after the current step; then the
    operation is cancelled. If several processes train together, which must stop at the same step, the main one reports,
    and cancelling is refused.

    Args:
        name: Name of the training, for people.
        **options: See `tidings.operation`.
    """

    def __init__(self, name: str = "Training", **options: Unpack[Options]) -> None:
        super().__init__(Training(name, options))
        self._reports = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin the operation, in the main process."""
        self._reports = bool(getattr(state, "is_world_process_zero", True))
        if self._reports:
            folder = read_attribute(args, "output_dir")
            facts = None if folder is None else {"output_dir": text(folder)}
            alone = getattr(args, "world_size", 1) == 1
            self._training.begin(epochs=state.num_train_epochs, batches=None, facts=facts, alone=alone)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report progress, and stop on a cancel request."""
        if not self._reports:
            return
        self._training.update_steps(state.global_step, state.max_steps, state.epoch or 0.0)
        if self._training.should_stop():
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **_: Any) -> None:
        """Add the logs of the Trainer to the log of the operation."""
        if self._reports:
            metrics = {name: value for name, value in (logs or {}).items() if name not in ("epoch", "step")}
            self._training.log_metrics(f"step {state.global_step}", metrics)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """End the operation."""
        if self._reports:
            self._training.end()
