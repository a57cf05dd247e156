"""Sends a data worker's batch as one tensor: torch's one connection for each tensor slows down small images."""

import io
import itertools
import pickle

import torch

#: where an array of any type may begin
_ALIGNED = 64


class _Pickler(pickle.Pickler):
    """Leaves the content of tensors out, as pickle does with that of arrays."""

    def reducer_override(self, value):
        return (torch.from_numpy, (value.numpy(),)) if type(value) is torch.Tensor else NotImplemented


def pack(batch):
    """
    Put the content of all tensors and arrays of a batch into one tensor.

    Args:
        batch: list of dicts of anything with CPU tensors and arrays in it.

    Returns:
        tuple: for :func:`unpack`.
    """
    frame, buffers = io.BytesIO(), []
    _Pickler(frame, protocol=5, buffer_callback=buffers.append).dump(batch)
    parts = [buffer.raw() for buffer in buffers]
    starts = [0, *itertools.accumulate(-(-part.nbytes // _ALIGNED) * _ALIGNED for part in parts)]
    content = torch.empty(starts[-1], dtype=torch.uint8)
    view = memoryview(content.numpy())
    places = [(start, start + part.nbytes) for start, part in zip(starts, parts)]
    for (start, end), part in zip(places, parts):
        view[start:end] = part
    return frame.getvalue(), places, content


def unpack(packed):
    """The batch that :func:`pack` got, without a copy."""
    frame, places, content = packed
    view = memoryview(content.numpy())
    return pickle.loads(frame, buffers=[view[start:end] for start, end in places])
