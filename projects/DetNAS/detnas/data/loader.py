"""Training batches that a resumed run continues where the interrupted one stopped."""

import itertools
import os
import zlib

import torch
from detectron2.data import DatasetFromList, build_detection_train_loader
from detectron2.data.build import _train_loader_from_config
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from torch.utils.data import Dataset, Sampler, get_worker_info

from .mapper import build_mapper


def seed_from(*key):
    """Seed Python, numpy and torch from a key, the same for equal keys."""
    seed_all_rng(zlib.crc32(repr(key).encode()))


class TrainingData:
    """
    Batches of a config's training set, without end. Order and augmentation of the images depend on (``SEED``, number of
    the draw over all processes) alone.
    """

    def __init__(self, cfg):
        self._seed = max(cfg.SEED, 0)
        # Detectron2's samplers draw their own seed.
        seed_from("order", self._seed)
        self._settings = _train_loader_from_config(cfg, build_mapper(cfg, is_train=True))

    def batches(self, start_iter=0):
        """
        A generator of the batches from an iteration on. Detectron2's loader is started when the first one is asked for;
        ``close()`` ends its workers.
        """
        settings = dict(self._settings)
        dicts, batch = settings["dataset"], settings["total_batch_size"] // comm.get_world_size()
        sampler = _ResumedSampler(settings["sampler"], dicts, start_iter, batch, settings["aspect_ratio_grouping"])
        settings.update(dataset=_Draws(dicts, settings["mapper"], self._seed), sampler=sampler, mapper=None)
        # Starting workers and mapping images draw numbers; those of the model must not depend on it.
        with torch.random.fork_rng(devices=[]):
            batches = iter(build_detection_train_loader(**settings))
        while True:
            with torch.random.fork_rng(devices=[]):
                batch = next(batches)
            yield batch


class _ResumedSampler(Sampler):
    """
    The draws that are left once the batches before ``start_iter`` are taken. A draw is one whole number, its own number
    times the size of the data set plus the index of the image.
    """

    def __init__(self, sampler, dicts, start_iter, batch, grouped):
        self.sampler, self.size = sampler, len(dicts)
        self.start_iter, self.batch = start_iter, batch
        # Detectron2 fills wide and high images into batches of their own.
        self.wide = [d["width"] > d["height"] for d in dicts] if grouped else None

    def __iter__(self):
        # Numbered over all processes, each of which takes every n-th draw.
        numbers = itertools.count(comm.get_rank(), comm.get_world_size())
        stream = (number * self.size + index for number, index in zip(numbers, self.sampler))
        if self.wide is None:
            return itertools.islice(stream, self.start_iter * self.batch, None)
        waiting, taken = {True: [], False: []}, 0
        while taken < self.start_iter:
            draw = next(stream)
            same = waiting[self.wide[draw % self.size]]
            same.append(draw)
            if len(same) == self.batch:
                same.clear()
                taken += 1
        # Images that wait for their batch to fill come first again.
        return itertools.chain(sorted(waiting[True] + waiting[False]), stream)


class _Draws(Dataset):
    """Mapped images by draw; each draw is seeded by its number. Not MapDataset, which remembers every draw."""

    def __init__(self, dicts, mapper, seed):
        self.dicts, self.mapper, self.seed = DatasetFromList(dicts), mapper, seed
        self.apart = False

    def __len__(self):
        return len(self.dicts)

    def __getitem__(self, draw):
        if get_worker_info() is not None and not self.apart:
            # Ctrl-C goes to the whole process group; a worker must live until the training has saved.
            os.setpgrp()
            self.apart = True
        number, index = divmod(draw, len(self.dicts))
        seed_from("image", self.seed, number)
        return self.mapper(self.dicts[index])
