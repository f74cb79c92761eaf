"""Training loops that call callbacks as Lightning and Hugging Face do.

Neither package can be installed without PyTorch, whose wheels take gigabytes. The order of the hooks and their
arguments are those of Lightning 2.6 (`loops/fit_loop.py`, `loops/training_epoch_loop.py`, `trainer/call.py`) and
transformers 5.23 (`trainer.py`, `trainer_callback.py`). `test_training_packages` runs the callbacks in the packages
themselves if they are installed.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

Step = Callable[[int], None]
"""Function that does the work of a step, counted from 0."""


class LightningLoop:
    """`Trainer.fit`, in one or several processes.

    Args:
        callback: Callback to call.
        batches: Number of batches in an epoch.
        step: Work of a batch.
        max_epochs: Number of epochs; -1 for no limit.
        max_steps: Number of steps; -1 for no limit.
        rank: Rank of this process.
        decide: Returns the common decision of all processes for the decision of this one.
    """

    def __init__(
        self,
        callback: Any,
        *,
        batches: float = 4,
        step: Step,
        max_epochs: int = 3,
        max_steps: int = -1,
        rank: int = 0,
        decide: Callable[[bool], bool] | None = None,
    ) -> None:
        self._callback = callback
        self._step = step
        self.max_epochs, self.max_steps = max_epochs, max_steps
        self.num_training_batches = batches
        self.is_global_zero = rank == 0
        self.world_size = 1 if decide is None else 2
        self._decide: Callable[[bool], bool] = decide or bool
        self.strategy = self
        self.current_epoch = self.global_step = 0
        self.callback_metrics: dict[str, Any] = {}
        self.should_stop = False
        self.module = self

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        assert not all, "one process is enough"
        return self._decide(decision)

    def fit(self) -> None:
        try:
            self._fit()
        except BaseException as error:
            self._call("on_exception", error)
            self._call("teardown", stage="fit")
            raise
        self._call("on_fit_end")
        self._call("teardown", stage="fit")

    def _fit(self) -> None:
        self._call("setup", stage="fit")
        for hook in ("on_fit_start", "on_sanity_check_start", "on_validation_start"):
            self._call(hook)
        self._call("on_sanity_check_end")
        self._call("on_train_start")
        while not self._is_done():
            self._call("on_train_epoch_start")
            for batch_idx in range(int(min(self.num_training_batches, 8))):
                self._call("on_train_batch_start", None, batch_idx)
                self._step(self.global_step)
                self.global_step += 1
                self.callback_metrics = {"loss": 1 / self.global_step, "shape": [1, 2]}
                self._call("on_train_batch_end", None, None, batch_idx)
                if self.should_stop or self.global_step == self.max_steps:
                    break
            for hook in ("on_validation_start", "on_validation_epoch_end", "on_validation_end"):
                self._call(hook)
            if self._callback.state_dict():
                raise AssertionError("a checkpoint would keep it")
            self._call("on_train_epoch_end")
            self.current_epoch += 1
        self._call("on_train_end")

    def _is_done(self) -> bool:
        return self.should_stop or self.global_step == self.max_steps or self.current_epoch == self.max_epochs

    def _call(self, hook: str, *arguments: Any, **options: Any) -> None:
        function = getattr(self._callback, hook)
        if callable(function):
            assert self._callback.state_key
            function(self, self.module, *arguments, **options)


class HuggingFaceLoop:
    """`Trainer.train`, in one or several processes.

    Args:
        callback: Callback to call.
        step: Work of a step.
        epochs: Number of epochs.
        steps: Number of steps in an epoch.
        rank: Rank of this process.
        world_size: Number of processes that train together.
    """

    def __init__(
        self, callback: Any, *, step: Step, epochs: int = 3, steps: int = 4, rank: int = 0, world_size: int = 1
    ) -> None:
        self._callback = callback
        self._step = step
        self._steps = steps
        self.args = SimpleNamespace(output_dir="out", world_size=world_size)
        self.state = SimpleNamespace(
            epoch=0.0,
            global_step=0,
            max_steps=epochs * steps,
            num_train_epochs=epochs,
            is_world_process_zero=rank == 0,
        )
        self.control = SimpleNamespace(should_training_stop=False)
        self._call("on_init_end")

    def train(self) -> None:
        self.control.should_training_stop = False
        self._call("on_train_begin")
        for _ in range(self.state.num_train_epochs):
            self._call("on_epoch_begin")
            for _ in range(self._steps):
                self._call("on_step_begin")
                self._step(self.state.global_step)
                self._call("on_pre_optimizer_step")
                self._call("on_optimizer_step")
                self.state.global_step += 1
                self.state.epoch = self.state.global_step / self._steps
                self._call("on_step_end")
                if self.control.should_training_stop:
                    break
            self._call("on_epoch_end")
            self._call("on_log", logs={"loss": 1 / self.state.global_step, "epoch": self.state.epoch})
            self._call("on_prediction_step")
            self._call("on_evaluate", metrics={"eval_loss": 1.0})
            self._call("on_save")
            if self.control.should_training_stop:
                break
        self._call("on_train_end")

    def _call(self, event: str, **options: Any) -> None:
        answer = getattr(self._callback, event)(
            self.args, self.state, self.control, model=None, processing_class=None, optimizer=None, **options
        )
        self.control = self.control if answer is None else answer
