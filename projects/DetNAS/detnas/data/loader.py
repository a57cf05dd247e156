"""Loads training batches; a resumed run gets those that the interrupted one would have got."""

import io
import itertools
import os
import pickle
import random
import zlib

import numpy as np
import torch
from detectron2.data import DatasetFromList
from detectron2.data.build import _train_loader_from_config
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset, get_worker_info

from .mapper import TrainingMapper


def seed_rngs(*key):
    """Seed Python, numpy and torch from a key, the same for equal keys."""
    seed = zlib.crc32(repr(key).encode())
    random.seed(seed)
    np.random.seed(seed)
    # torch.manual_seed() without a GPU in use takes a millisecond: it keeps where it was called for a later one.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


class TrainingData:
    """
    Batches of a config's training set, without end. Order and augmentation of the images depend on (``SEED``, number of
    the draw over all processes) alone, not on workers and cached images.

    Args:
        settings: (iteration, number of the part) -> {key: value} of the config that reads its images; None: the same
            one for all.
    """

    def __init__(self, cfg, settings=None):
        self._seed = max(cfg.SEED, 0)
        # Detectron2 0.6 lets its samplers draw their own seed, its main branch gives them SEED: both get what is drawn.
        seed_rngs("order", self._seed)
        drawn = comm.shared_random_seed()
        seed_rngs("order", self._seed)
        # Each worker keeps images of its own.
        budget = cfg.DATALOADER.IMAGE_CACHE_GB * 1e9 / max(1, cfg.DATALOADER.NUM_WORKERS)
        self._settings = _train_loader_from_config(cfg, TrainingMapper(cfg, budget, settings))
        self._settings["sampler"]._seed = drawn

    def batches(self, start_iter=0):
        """
        A generator of the batches from an iteration on. The loader is started when the first one is asked for;
        ``close()`` ends its workers.
        """
        settings = self._settings
        dicts, workers = settings["dataset"], settings["num_workers"]
        size = settings["total_batch_size"] // comm.get_world_size()
        order = _in_order(settings["sampler"], dicts, size, settings["aspect_ratio_grouping"])
        # Detectron2's loader would send each image alone, and have two ready.
        loader = DataLoader(
            _Draws(dicts, settings["mapper"], self._seed),
            batch_sampler=itertools.islice(_numbered(order), start_iter, None),
            num_workers=workers,
            collate_fn=pack if workers else list,
            # Without one of its own it would draw from the model's.
            generator=torch.Generator(),
        )
        batches = iter(loader)
        while True:
            # Mapping images draws numbers; those of the model must not depend on it.
            with torch.random.fork_rng(devices=[]):
                batch = next(batches)
            yield unpack(batch) if workers else batch


def _in_order(sampler, dicts, batch, grouped):
    """
    Batches of draws. A draw is one whole number, its own number times the size of the data set plus the index of the
    image.
    """
    # Like Detectron2, wide and high images in batches of their own.
    wide = [grouped and d["width"] > d["height"] for d in dicts]
    waiting = {True: [], False: []}
    # Numbered over all processes, each of which takes every n-th draw.
    numbers = itertools.count(comm.get_rank(), comm.get_world_size())
    for number, index in zip(numbers, sampler):
        same = waiting[wide[index]]
        same.append(number * len(dicts) + index)
        if len(same) == batch:
            yield same[:]
            same.clear()


def _numbered(order):
    """Batches of (iteration, place in the batch, draw)."""
    for iteration, draws in enumerate(order):
        yield [(iteration, place, draw) for place, draw in enumerate(draws)]


class _Draws(Dataset):
    """Mapped images by what :func:`_numbered` gives; each draw is seeded by its number. Not MapDataset, which remembers
    every draw."""

    def __init__(self, dicts, mapper, seed):
        self.dicts, self.mapper, self.seed = DatasetFromList(dicts), mapper, seed
        self.apart = False

    def __getitem__(self, where):
        iteration, place, draw = where
        if get_worker_info() is not None and not self.apart:
            # Ctrl-C goes to the whole process group; a worker must live until the training has saved.
            os.setpgrp()
            self.apart = True
        number, index = divmod(draw, len(self.dicts))
        seed_rngs("image", self.seed, number)
        return self.mapper(self.dicts[index], iteration, place)


class _Pickler(pickle.Pickler):
    """Pickles tensors as arrays, whose content is copied as it is."""

    def reducer_override(self, value):
        return (torch.from_numpy, (value.numpy(),)) if type(value) is torch.Tensor else NotImplemented


def pack(batch):
    """
    A batch, a list of dicts, as one tensor, for :func:`unpack`: torch makes a connection for each tensor that it sends
    to another process, which slows down small images.
    """
    packed = io.BytesIO()
    _Pickler(packed, protocol=5).dump(batch)
    return torch.frombuffer(packed.getbuffer(), dtype=torch.uint8)


def unpack(packed):
    """The batch that :func:`pack` got."""
    return pickle.loads(packed.numpy())
