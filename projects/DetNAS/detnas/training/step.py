"""One training step of a classifier, a detector or a path of a supernet, in one process or many."""

import contextlib
import logging
import sys
import time

import torch
import torch.distributed as dist
from detectron2.engine import SimpleTrainer, hooks, train_loop
from detectron2.utils import comm

from detnas.data.loader import seed_rngs
from detnas.errors import UserError

from .speed import mixed_precision


def _says_more(record):
    return not (record.exc_info and isinstance(record.exc_info[1], (UserError, OSError)))


def _raise(losses):
    raise FloatingPointError(f"a loss is not finite: {losses}")


class StepTrainer(SimpleTrainer):
    """
    Detectron2's trainer, extended for supernets and any number of processes.

    An update averages the gradients of ``accumulate`` parts of a batch. One process with n parts computes the same as
    n processes with one part each: the same images, the same random numbers. Processes exchange only the gradients of
    the path; DistributedDataParallel would exchange all of the supernet (docs/benchmarks.md).

    Args:
        model: list of dicts -> dict of losses. All ranks take the parameters and buffers of rank 0.
        data: iteration -> generator of the batches from there on, each a list of dicts.
        amp: fp16 with loss scaling on a GPU, bf16 on the CPU.
        seed: dropout, RoI sampling and the like depend on (seed, iteration, part) alone; a resumed run repeats them.
        when_diverged: called with {name: loss} on all ranks before the update if any loss is not finite; must raise.
        before_part: called with (iteration, part) before each part.
    """

    def __init__(self, model, data, optimizer, accumulate=1, amp=False, seed=0, when_diverged=_raise,
                 before_part=lambda iteration, part: None):
        super().__init__(model, (), optimizer)
        self.data, self.batches = data, None
        self.accumulate, self.amp, self.seed, self.when_diverged = accumulate, amp, seed, when_diverged
        self.before_part = before_part
        self.device = next(model.parameters()).device.type
        self.scaler = torch.amp.GradScaler(self.device, enabled=amp and self.device == "cuda")
        self.world, self.rank = comm.get_world_size(), comm.get_rank()
        if self.world > 1:
            for tensor in (*model.parameters(), *model.buffers()):
                dist.broadcast(tensor.detach(), src=0)

    def train(self, start_iter, max_iter):
        # Detectron2 logs a traceback of every error. For a damaged image or a full disk one sentence says enough.
        logger = logging.getLogger(train_loop.__name__)
        logger.addFilter(_says_more)
        try:
            super().train(start_iter, max_iter)
        finally:
            logger.removeFilter(_says_more)

    def run_step(self):
        start = time.perf_counter()
        if self.batches is None:
            self.batches = self.data(self.iter)
        batch = next(self.batches)
        data_time = time.perf_counter() - start

        self.optimizer.zero_grad()
        sums = {}
        for part in range(self.accumulate):
            self.before_part(self.iter, part)
            seed_rngs("iteration", self.seed, self.iter, part * self.world + self.rank)
            with mixed_precision(self.device, self.amp):
                losses = self._losses(batch[part :: self.accumulate])
            self.scaler.scale(sum(losses.values()) / self.accumulate).backward()
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0) + loss.detach() / self.accumulate
        self._check_finite(sums)
        if self.world > 1:
            average_gradients(self.model, self.world)
        self._write_metrics(sums, data_time)
        # The optimizer clips gradients, so it needs them unscaled.
        self.scaler.unscale_(self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _losses(self, images):
        try:
            return self.model(images)
        except FloatingPointError:
            # Detectron2 raises it for proposals that are not finite. The NaN then ends all processes.
            return {"proposals": torch.full((), float("nan"), device=self.device, requires_grad=True)}

    def after_train(self):
        error = sys.exc_info()[1]
        self.storage.iter = self.iter
        for hook in self._hooks:
            # After an error nothing is evaluated, and an error of a hook must not hide the first one.
            if isinstance(error, Exception) and isinstance(hook, hooks.EvalHook):
                continue
            with contextlib.suppress(*([Exception] if error else [])):
                hook.after_train()
        if self.batches is not None:
            # Garbage collection would close the queues of torch's data workers too early: each then takes 5 s to end.
            self.batches.close()
            self.batches = None

    def _check_finite(self, losses):
        """Raise on all ranks if a loss of any rank is not finite: no rank must wait for one that has stopped."""
        total = sum(losses.values())
        if self.world > 1:
            dist.all_reduce(total)
        if not torch.isfinite(total):
            self.when_diverged({name: loss.item() for name, loss in losses.items()})

    def state_dict(self):
        return {**super().state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        if state_dict.get("scaler"):
            self.scaler.load_state_dict(state_dict["scaler"])


def average_gradients(model, world):
    """Average the gradients that any process has over all processes; the others stay None."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=parameters[0].device)
    dist.all_reduce(used, dist.ReduceOp.MAX)
    used = [p for p, is_used in zip(parameters, used.tolist()) if is_used]
    for p in used:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    # One all-reduce instead of hundreds.
    flat = torch.cat([p.grad.reshape(-1) for p in used]).div_(world)
    dist.all_reduce(flat)
    for p, grad in zip(used, flat.split([p.numel() for p in used])):
        p.grad.copy_(grad.view_as(p))
