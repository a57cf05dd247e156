"""Loads training batches. A resumed run gets the batches that the interrupted run would have got."""

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
    """Seed Python, numpy and torch from a key. Equal keys give equal random numbers."""
    seed = zlib.crc32(repr(key).encode())
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed() takes 1 ms: it records its caller for a later GPU
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


class TrainingData:
    """
    Endless batches of a config's training set. Order and augmentation depend only on ``SEED`` and on the number of the
    draw over all processes. Workers and cached images change nothing. ``settings``, by default the config's own, is
    (iteration, part of the batch) -> {config key: value} for reading its images.
    """

    def __init__(self, cfg, settings=None):
        self._seed = max(cfg.SEED, 0)
        seed_rngs("order", self._seed)
        drawn = comm.shared_random_seed()
        seed_rngs("order", self._seed)
        budget = cfg.DATALOADER.IMAGE_CACHE_GB * 1e9 / max(1, cfg.DATALOADER.NUM_WORKERS)  # for each worker
        self._settings = _train_loader_from_config(cfg, TrainingMapper(cfg, budget, settings))
        self._settings["sampler"]._seed = drawn  # as Detectron2 0.6 draws it, while its main branch takes SEED

    def batches(self, start_iter=0):
        """Yield batches from an iteration on. The first request starts the loader. ``close()`` ends its workers."""
        settings = self._settings
        dicts, workers = settings["dataset"], settings["num_workers"]
        size = settings["total_batch_size"] // comm.get_world_size()
        order = _in_order(settings["sampler"], dicts, size, settings["aspect_ratio_grouping"])
        loader = DataLoader(  # Detectron2's loader sends each image alone and prepares only two
            _Draws(dicts, settings["mapper"], self._seed),
            batch_sampler=itertools.islice(_numbered(order), start_iter, None),
            num_workers=workers,
            collate_fn=pack if workers else list,
            generator=torch.Generator(),  # else it draws from the model's
        )
        batches = iter(loader)
        while True:
            with torch.random.fork_rng(devices=[]):  # mapping must not change the model's random numbers
                batch = next(batches)
            yield unpack(batch) if workers else batch


def _in_order(sampler, dicts, batch, grouped):
    """Yield batches of draws. A draw is an int: its number times the size of the data set, plus the image's index."""
    wide = [grouped and d["width"] > d["height"] for d in dicts]  # Detectron2 also separates wide and high images
    waiting = {True: [], False: []}
    numbers = itertools.count(comm.get_rank(), comm.get_world_size())  # each of n processes takes every n-th draw
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
    """Maps images by the keys of :func:`_numbered`, each with its own seed. MapDataset would remember every draw."""

    def __init__(self, dicts, mapper, seed):
        self.dicts, self.mapper, self.seed = DatasetFromList(dicts), mapper, seed
        self.apart = False

    def __getitem__(self, where):
        iteration, place, draw = where
        if get_worker_info() is not None and not self.apart:
            os.setpgrp()  # Ctrl-C reaches the process group, but a worker must live until the training has saved
            self.apart = True
        number, index = divmod(draw, len(self.dicts))
        seed_rngs("image", self.seed, number)
        return self.mapper(self.dicts[index], iteration, place)


class _Pickler(pickle.Pickler):
    """Pickles tensors as arrays, whose bytes are copied without conversion."""

    def reducer_override(self, value):
        return (torch.from_numpy, (value.numpy(),)) if type(value) is torch.Tensor else NotImplemented


def pack(batch):
    """Pack a list of dicts into a (B,) uint8 tensor of B bytes. Sending many tensors between processes is slow."""
    packed = io.BytesIO()
    _Pickler(packed, protocol=5).dump(batch)
    return torch.frombuffer(packed.getbuffer(), dtype=torch.uint8)


def unpack(packed):
    return pickle.loads(packed.numpy())
