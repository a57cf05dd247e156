"""Batches that every candidate of a search goes through. Images have C channels, height H and width W in pixels."""

import copy

import torch
from detectron2.data import MapDataset
from detectron2.data.transforms import ResizeShortestEdge
from torch.utils.data import DataLoader


class FixedBatches:
    """
    Gives the same batches of mapped images in the same order on every pass. ``batches`` are lists of dataset dicts.
    ``mapper`` turns each into a dict with "image", a (C, H, W) uint8 tensor. The first pass keeps batches, until their
    pixels take ``budget`` bytes. On every pass, ``workers`` processes read the others again, ahead of their use.
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
            # Without a generator, a loader draws from torch's, and only the passes that read would change its state.
            loader = DataLoader(unknown, None, num_workers=self.workers, generator=torch.Generator())
            read = iter(loader)  # before the kept batches, so that workers read while the model runs on these
        yield from self._kept[:known]
        for index, batch in enumerate(read, known):
            yield self._keep(index, batch)

    def _keep(self, index, batch):
        size = sum(x["image"].nbytes for x in batch)
        if index != len(self._kept) or size > self._left:  # only the first are kept, so that the order stays
            return batch
        self._left -= size
        self._kept.append(copy.deepcopy(batch) if self.workers else batch)  # workers use shared memory, which is small
        return self._kept[-1]


def in_batches(dicts, size):
    """Split a list into lists of at most ``size`` items, in order."""
    return [dicts[i : i + size] for i in range(0, len(dicts), size)]


def in_equal_batches(dicts, size, padded_size):
    """Batch dataset dicts of equal ``padded_size``, at most ``size`` each, so that batching adds no padding."""
    groups = {}
    for x in dicts:
        groups.setdefault(padded_size(x), []).append(x)
    return [batch for group in groups.values() for batch in in_batches(group, size)]


def padded_test_size(cfg, divisibility):
    """Return a function: dataset dict -> (H, W) in pixels at test time, padded to multiples of ``divisibility``."""
    shortest, longest = cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST

    def padded_size(x):
        sides = x["height"], x["width"]
        if shortest:
            sides = ResizeShortestEdge.get_output_shape(*sides, shortest, longest)
        return tuple(-(-side // divisibility) * divisibility for side in sides)

    return padded_size
