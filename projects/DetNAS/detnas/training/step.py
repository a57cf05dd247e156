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
from detnas.errors import UnreadableImage


def _says_more(record):
    return not (record.exc_info and isinstance(record.exc_info[1], UnreadableImage))


def _raise(losses):
    raise FloatingPointError(f"a loss is not finite: {losses}")


class StepTrainer(SimpleTrainer):
    """
    Detectron2's trainer, with what it lacks for a supernet on few or many processes:

    - A batch is split into ``accumulate`` parts, whose gradients add up to one update. A process that takes n parts
      does what n processes do with one part each: the same images, the same random numbers.
    - Over several processes only the gradients that exist are averaged: those of the path, not of the whole supernet.
      DistributedDataParallel would reduce all of them (docs/benchmarks.md).
    - Mixed precision also without a GPU.

    Args:
        model: list of dicts -> dict of losses. Parameters and buffers are made equal to those of rank 0.
        data: iteration -> generator of the batches from there on, each a list of dicts.
        optimizer: of the model's parameters.
        accumulate: number of parts.
        amp: fp16 with loss scaling on a GPU, bf16 on the CPU.
        seed: of dropout, RoI sampling and the like, which depend on (seed, iteration, part) alone, so that a resumed
            run repeats them.
        when_diverged: called with {name: loss} on every rank before the update if a loss of any rank is not finite.
            Raises what ends the training.
        before_part: called with the iteration and the number of the part before each one.
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
        # Detectron2 logs the traceback of whatever ends a training; of a damaged image one sentence says enough.
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
            with torch.autocast(self.device, torch.float16 if self.device == "cuda" else torch.bfloat16, self.amp):
                losses = self._losses(batch[part :: self.accumulate])
            self.scaler.scale(sum(losses.values()) / self.accumulate).backward()
            for name, loss in losses.items():
                sums[name] = sums.get(name, 0) + loss.detach() / self.accumulate
        self._check_finite(sums)
        if self.world > 1:
            average_gradients(self.model, self.world)
        self._write_metrics(sums, data_time)
        # Gradient clipping, which is part of Detectron2's optimizers, must see them unscaled.
        self.scaler.unscale_(self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _losses(self, images):
        try:
            return self.model(images)
        except FloatingPointError:
            # Detectron2's, of proposals; all processes are to end by it.
            return {"proposals": torch.full((), float("nan"), device=self.device, requires_grad=True)}

    def after_train(self):
        error = sys.exc_info()[1]
        self.storage.iter = self.iter
        for hook in self._hooks:
            # After an error nothing is to be evaluated, and what a hook then misses must not take the error's place.
            if isinstance(error, Exception) and isinstance(hook, hooks.EvalHook):
                continue
            with contextlib.suppress(*([Exception] if error else [])):
                hook.after_train()
        if self.batches is not None:
            # A garbage collection would close the queues of torch's data workers before it tells them to end; each one
            # then takes 5 seconds.
            self.batches.close()
            self.batches = None

    def _check_finite(self, losses):
        """Raise on all ranks if a loss of any rank is not finite, so that none waits for one that has stopped."""
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
    """Average over all processes the gradients that any of them has; the others stay None."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=parameters[0].device)
    dist.all_reduce(used, dist.ReduceOp.MAX)
    used = [p for p, is_used in zip(parameters, used.tolist()) if is_used]
    for p in used:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    # One message instead of hundreds.
    flat = torch.cat([p.grad.reshape(-1) for p in used]).div_(world)
    dist.all_reduce(flat)
    for p, grad in zip(used, flat.split([p.numel() for p in used])):
        p.grad.copy_(grad.view_as(p))
