"""Batches that every candidate of a search goes through; decoded images stay in memory."""

import copy

import torch
from detectron2.data import MapDataset
from detectron2.data.transforms import ResizeShortestEdge
from torch.utils.data import DataLoader


class FixedBatches:
    """
    The same batches of mapped images, in the same order, on every pass. The first pass keeps them in memory as it goes,
    pixels as uint8, until ``budget`` is used up; the batches beyond are read again on every pass, ahead of their use.

    Args:
        batches: lists of dataset dicts.
        mapper: dataset dict -> dict with "image", a (C, H, W) uint8 tensor.
        budget: bytes of pixels to keep.
        workers: processes that read.
    """

    def __init__(self, batches, mapper, budget, workers=0):
        self.batches, self.mapper, self.workers = batches, mapper, workers
        self._kept, self._left = [], budget

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        known, mapper = len(self._kept), self.mapper
        unknown = MapDataset(self.batches[known:], lambda batch: [mapper(x) for x in batch])
        read = ()
        if len(unknown):
            # Without a generator of its own a loader would draw from torch's, and the pass that reads would differ.
            loader = DataLoader(unknown, None, num_workers=self.workers, generator=torch.Generator())
            # Made first: its workers read while the model is busy with what is kept.
            read = iter(loader)
        yield from self._kept[:known]
        for index, batch in enumerate(read, known):
            yield self._keep(index, batch)

    def _keep(self, index, batch):
        size = sum(x["image"].nbytes for x in batch)
        # The kept ones are the first ones, so that the order is the same on every pass.
        if index != len(self._kept) or size > self._left:
            return batch
        self._left -= size
        # What comes from a worker lies in shared memory, of which there is little.
        self._kept.append(copy.deepcopy(batch) if self.workers else batch)
        return self._kept[-1]


def in_batches(dicts, size):
    """Lists of at most ``size``, in order."""
    return [dicts[i : i + size] for i in range(0, len(dicts), size)]


def in_equal_batches(dicts, size, padded_size):
    """
    Lists of at most ``size`` dataset dicts for which ``padded_size`` gives the same, so that a batch gives each image
    what it gets alone.
    """
    groups = {}
    for x in dicts:
        groups.setdefault(padded_size(x), []).append(x)
    return [batch for group in groups.values() for batch in in_batches(group, size)]


def padded_test_size(cfg, divisibility):
    """
    A function: dataset dict -> (H, W) of the image as a detector whose sides divide by ``divisibility`` gets it at test
    time.
    """
    shortest, longest = cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST

    def padded_size(x):
        sides = x["height"], x["width"]
        if shortest:
            sides = ResizeShortestEdge.get_output_shape(*sides, shortest, longest)
        return tuple(-(-side // divisibility) * divisibility for side in sides)

    return padded_size
