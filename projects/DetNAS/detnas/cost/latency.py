"""Measures how long a network takes on this machine."""

import contextlib
import functools
import json
import platform
import statistics
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from detectron2.utils.file_io import PathManager

from detnas.choices import Space
from detnas.files import NUMBER, read_json, write_text
from detnas.modeling.backbone import DetNASSupernet
from detnas.modeling.choices import activate

from .costs import Costs

#: runs before the measurement, and measured runs
WARMUP, REPEATS = 5, 20


class LatencyMeter(Costs):
    """
    :class:`detnas.cost.costs.Costs` "backbone_latency_ms": median milliseconds of the backbone's forward passes in eval
    mode, after a warm-up, for ``batch`` random images of ``resolution`` (height, width) in pixels.

    Args:
        space: ``str(space)`` identifies it in ``cache``, a file of :class:`MeasuredTimes`.
        network: candidate -> backbone; by default a path in a supernet.
    """

    def __init__(self, space: Space, resolution: Tuple[int, int] = (224, 224), batch: int = 1, device: str = "cpu",
                 cache: Optional[str] = None, network: Optional[Callable] = None):
        self.space = space
        self.device = torch.device(device)
        self.network = network or _networks_of_paths(space)
        self.images = torch.randn(batch, 3, *resolution, device=self.device)
        gpu = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else ""
        #: what the time depends on, beside the candidate
        self.settings = (
            f"{self.device.type}, {f'{gpu} on {platform.node()}' if gpu else processor()}, {torch.get_num_threads()} "
            f"threads, torch {torch.__version__}, {batch}x3x{resolution[0]}x{resolution[1]}, median of {REPEATS} runs"
        )
        self.times = MeasuredTimes(f"{space}; {self.settings}", cache)

    metrics = ("backbone_latency_ms",)

    def cost(self, metric: str, candidate) -> float:
        return self.times.of({self.space.format(candidate): candidate}, self._measure)[0]

    def header(self) -> Dict[str, str]:
        return {"latency": self.settings}

    @torch.no_grad()
    def _measure(self, candidates):
        (candidate,) = candidates
        network, times = self.network(candidate).eval().to(self.device), []
        on_gpu = self.device.type == "cuda"
        synchronize = functools.partial(torch.cuda.synchronize, self.device) if on_gpu else lambda: None
        for _ in range(WARMUP + REPEATS):
            synchronize()
            start = time.perf_counter()
            network(self.images)
            synchronize()
            times.append(1e3 * (time.perf_counter() - start))
        return [statistics.median(times[WARMUP:])]


class MeasuredTimes:
    """Keeps milliseconds by ``settings`` (a text) and name, in a PathManager ``file`` or, for None, in memory."""

    def __init__(self, settings, file=None):
        self.settings, self.file = settings, file
        self.known = self._read().get(settings, {})

    def of(self, subjects: Dict[str, Any], measure: Callable[[list], List[float]]) -> List[float]:
        """Milliseconds of all ``subjects`` (name -> subject). ``measure`` gets the list of the unknown ones."""
        missing = [name for name in subjects if name not in self.known]
        if missing:
            self.known.update(zip(missing, measure([subjects[name] for name in missing])))
            if self.file:
                content = json.dumps({**self._read(), self.settings: self.known}, indent=1)
                write_text(self.file, content, PathManager)
        return [self.known[name] for name in subjects]

    def _read(self):
        return read_json(self.file, {}, {"": {"": NUMBER}}, PathManager) if self.file else {}


def processor() -> str:
    """Names of this machine's processor and of the machine."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as f:  # Linux names the processor only here
        name = next((line.partition(":")[2].strip() for line in f if line.startswith("model name")), name)
    return f"{name} on {platform.node()}"


def _networks_of_paths(space):
    supernet = DetNASSupernet(space)

    def network(path):
        activate(supernet, space, path)
        return supernet

    return network
