"""
The search spaces (paper, Sec. 3.3 and Table 1): blocks of a network and the ops that each can have. Pure Python.

A *path* is a tuple of op indices, first block first. An *arch* is a path as text: ``2120-2112-33130031-3132``.
"""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any, Dict, Iterable, Iterator, List, Tuple

from detnas.errors import UserError

from .choices import Candidate, Choice, ChoiceSpace

#: ops of every block in the paper's spaces; published archs hold indices into this tuple
PAPER_OPS = ("shufflenet_3x3", "shufflenet_5x5", "shufflenet_7x7", "xception_3x3")
#: all ops; those after the paper's are for custom spaces
OPS = (*PAPER_OPS, "shufflenet_1x1")
#: op -> (fill, text colour), safe for the colour-blind: larger kernels are darker blue, Xception blocks are orange
OP_COLOURS = {
    "shufflenet_1x1": ("#eef2f5", "#14304a"),
    "shufflenet_3x3": ("#c6dcec", "#14304a"),
    "shufflenet_5x5": ("#72aad3", "#0c2438"),
    "shufflenet_7x7": ("#22639f", "#ffffff"),
    "xception_3x3": ("#efa537", "#3a2500"),
}


@dataclass(frozen=True)
class BlockSpec:
    """Place and shape of one block: ``index`` in the network and ``position`` in ``stage``. Stages count from 1."""

    index: int
    stage: int
    position: int
    in_channels: int
    out_channels: int
    stride: int


@dataclass(frozen=True)
class SearchSpace(ChoiceSpace):
    """
    A stem and stages of blocks, each block with a choice of ops. The stages have strides 4, 8, 16, ...; their first
    blocks have stride 2, and so has the stem. Raises UserError for arguments that make no network.

    Args:
        stem_channels, stage_channels: output channels of the stem and of each stage.
        stage_depths: number of blocks of each stage.
        last_channels: width of the classifier's last 1x1 conv.
        ops: different names out of :data:`OPS`. Digits of an arch are indices into this tuple.
    """

    name: str
    stem_channels: int
    stage_channels: Tuple[int, ...]
    stage_depths: Tuple[int, ...]
    last_channels: int = 1024
    ops: Tuple[str, ...] = PAPER_OPS

    def __post_init__(self):
        for problem in self._problems():
            raise UserError(f'space "{self.name}": {problem}')

    def _problems(self):
        """Yield one sentence for each wrong argument."""
        if not self.stage_depths or len(self.stage_channels) != len(self.stage_depths):
            yield f"each stage needs channels and a depth; they are {self.stage_channels} and {self.stage_depths}"
        widths = (self.stem_channels, *self.stage_channels)
        if not all(isinstance(n, int) and n > 0 for n in (*widths, *self.stage_depths, self.last_channels)):
            yield "channels and depths must be positive whole numbers"
        if any(b <= a for a, b in zip(widths, widths[1:])):  # the first block of a stage adds channels
            yield f"channels must grow from the stem to the last stage; they are {widths}"
        if any(width % 2 for width in self.stage_channels):  # its other blocks halve them
            yield f"stage channels must be even; they are {self.stage_channels}"
        for op in self.ops:
            if op not in OPS:
                yield f'unknown op "{op}"; there are: {", ".join(OPS)}'
        if not self.ops or len(set(self.ops)) < len(self.ops):
            yield f"ops must be different ones, at least one; they are {self.ops}"

    @property
    def num_blocks(self) -> int:
        return sum(self.stage_depths)

    def blocks(self) -> Iterator[BlockSpec]:
        """Yield all blocks in network order."""
        index, channels = 0, self.stem_channels
        for stage, (width, depth) in enumerate(zip(self.stage_channels, self.stage_depths), 1):
            for position in range(depth):
                yield BlockSpec(index, stage, position, channels, width, 2 if position == 0 else 1)
                index, channels = index + 1, width

    @functools.cached_property
    def choices(self) -> Tuple[Choice, ...]:  # type: ignore[override]  # a field there, made from the fields here
        """A choice of ops for each block, with the block's name in a network, such as "stage1.0"."""
        return tuple(Choice(f"stage{block.stage}.{block.position}", self.ops) for block in self.blocks())

    def check(self, path: Iterable[int]) -> Candidate:
        path = tuple(path)
        if len(path) != self.num_blocks:
            depths = "-".join(map(str, self.stage_depths))
            raise UserError(f'{len(path)} blocks; space "{self.name}" has {self.num_blocks} ({depths})')
        return super().check(path)

    def parse(self, arch: str) -> Candidate:
        """Read an arch; ``-``, ``_`` and spaces are ignored. Raises UserError if it does not fit the space."""
        digits = "".join(c for c in arch if c not in "-_ ")
        if not (digits.isascii() and digits.isdigit()):
            example = self.format((0,) * self.num_blocks)
            raise UserError(f'not an arch: expected digits such as {example} for space "{self.name}"')
        return self.check(map(int, digits))

    def format(self, path: Candidate) -> str:
        """Write a path as arch: one digit for each block, ``-`` between stages."""
        digits = iter(self.check(path))
        return "-".join("".join(str(next(digits)) for _ in range(depth)) for depth in self.stage_depths)

    def anchors(self) -> Dict[str, Candidate]:
        """Networks with one op in all blocks: "all 3x3", "all 5x5", "all 7x7", "all Xception 3x3"."""
        words = [op.removeprefix("shufflenet_").replace("_", " ") for op in self.ops]  # shuffle blocks are the rule
        return {f"all {word[0].upper()}{word[1:]}": (op,) * self.num_blocks for op, word in enumerate(words)}

    def settings(self, path: Candidate) -> Dict[str, str]:
        return {"MODEL.DETNAS.ARCH": self.format(path)}

    def drawing(self, path: Candidate) -> List:
        stages = [[[]] for _ in self.stage_depths]
        for block, op in zip(self.blocks(), path):
            stages[block.stage - 1][0].append((str(op), *OP_COLOURS[self.ops[op]], self.ops[op]))
        return stages


#: the paper's small space (300M), its large one (1.3G), the large one widened 1.8 times (3.8G), and ours
SPACES = {
    space.name: space
    for space in (
        SearchSpace("300M", 16, (64, 160, 320, 640), (4, 4, 8, 4)),
        SearchSpace("1.3G", 48, (96, 240, 480, 960), (8, 8, 16, 8)),
        SearchSpace("3.8G", 72, (172, 432, 864, 1728), (8, 8, 16, 8), last_channels=1728),
        SearchSpace("1.3G-wide", 54, (106, 266, 532, 1066), (8, 8, 16, 8)),  # all 3x3 has DetNASNet's multiply-adds
        SearchSpace("3.8G-wide", 80, (190, 474, 950, 1900), (8, 8, 16, 8), last_channels=1728),  # likewise
        SearchSpace("tiny", 16, (32, 64, 96, 128), (2, 2, 2, 2), last_channels=256),  # a tenth of 300M, for the demo
    )
}


#: the space that a config describes itself
CUSTOM_SPACE = "custom"


def get_space(name: str) -> SearchSpace:
    """Space of a name. Raises UserError if there is none."""
    if name not in SPACES:
        raise UserError(f'unknown space "{name}"; there are: {", ".join(SPACES)}')
    return SPACES[name]


def write_space(space: SearchSpace) -> Dict:
    """Entries of a log's header that describe the space."""
    own = {"custom_space": dataclasses.asdict(space)} if space.name == CUSTOM_SPACE else {}
    return {"space": space.name, **own}


def read_space(header: Dict) -> SearchSpace:
    """Read the entries of :func:`write_space`. Raises UserError if they describe no space."""
    if header["space"] != CUSTOM_SPACE:
        return get_space(header["space"])
    own: Any = {key: tuple(v) if isinstance(v, list) else v for key, v in header["custom_space"].items()}
    return SearchSpace(**own)
