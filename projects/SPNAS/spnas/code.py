"""Codes of SP-NAS networks (Jiang et al., CVPR 2020): blocks of each stage, copies of each stage. Pure Python."""

import dataclasses
from dataclasses import dataclass
from typing import Iterator, NamedTuple, Tuple

from detnas.errors import UserError

MIN_STAGES, MAX_STAGES = 3, 6
MAX_BLOCKS = 60
#: most copies of a stage
MAX_COPIES = 3


class SerialBlock(NamedTuple):
    """One residual block of a code."""

    id: int  # morphs keep it
    stage: int  # from 0
    position: int  # in its stage, from 0
    stride: int  # 2 for the first block of every stage but the first, else 1
    width: int  # in base widths: 2 ** (doublings up to and including this block)
    doubles: bool  # whether it doubles the width


@dataclass(frozen=True, order=True)
class SerialCode:
    """
    A serial network: one digit per residual block, "-" between stages. "1" keeps the width and "2" doubles it. Each
    stage but the first begins with stride 2. "111-2111-211111-211" is the body of ResNet-50. Codes with equal digits
    are equal. UserError for an empty stage, another digit, or too few or too many stages or blocks.

    ``stages`` has each stage's digits. ``ids``, by default 0, 1, 2, ..., are all different; morphs keep them.
    """

    stages: Tuple[str, ...]
    ids: Tuple[int, ...] = dataclasses.field(default=(), compare=False, repr=False)

    def __post_init__(self):
        text = "-".join(self.stages)
        for number, stage in enumerate(self.stages, 1):
            if not stage:
                raise UserError(f'code "{text}": stage {number} is empty; each has at least one block')
            wrong = stage.strip("12")
            if wrong:
                raise UserError(f'code "{text}": "{wrong[0]}" in stage {number}; a block is 1 or 2, which doubles')
        if not MIN_STAGES <= len(self.stages) <= MAX_STAGES:
            raise UserError(f'code "{text}" has {len(self.stages)} stages; there may be {MIN_STAGES} to {MAX_STAGES}')
        if len(self) > MAX_BLOCKS:
            raise UserError(f'code "{text}" has {len(self)} blocks; there may be at most {MAX_BLOCKS}')
        if not self.ids:
            object.__setattr__(self, "ids", tuple(range(len(self))))
        assert len(self) == len(self.ids) == len(set(self.ids))

    @classmethod
    def parse(cls, text: str) -> "SerialCode":
        """The code of a text, the reverse of ``str``; UserError if the text is no code."""
        return cls(tuple(text.split("-")))

    def __str__(self):
        return "-".join(self.stages)

    def __len__(self):
        """Number of blocks."""
        return sum(map(len, self.stages))

    @property
    def doublings(self) -> int:
        """Number of blocks that double the width."""
        return sum(stage.count("2") for stage in self.stages)

    @property
    def depths(self) -> Tuple[int, ...]:
        """Number of blocks of each stage."""
        return tuple(map(len, self.stages))

    def blocks(self) -> Iterator[SerialBlock]:
        """Yield every block in network order."""
        width, ids = 1, iter(self.ids)
        for stage, digits in enumerate(self.stages):
            for position, digit in enumerate(digits):
                width *= int(digit)
                stride = 2 if stage and not position else 1
                yield SerialBlock(next(ids), stage, position, stride, width, digit == "2")


@dataclass(frozen=True, order=True)
class ParallelCode:
    """
    A serial network with copies of its stages: ``counts``, 0 to 3 per stage, by default none. In its text they follow
    an underscore: "1-2-1_0-0-2". Without copies it has the text of the serial code. UserError unless each stage has one
    count in this range.
    """

    serial: SerialCode
    counts: Tuple[int, ...] = ()

    def __post_init__(self):
        if not self.counts:
            object.__setattr__(self, "counts", (0,) * len(self.serial.stages))
        text = "-".join(map(str, self.counts))
        if len(self.counts) != len(self.serial.stages):
            raise UserError(
                f'copies "{text}" are for {len(self.counts)} stages; code "{self.serial}" has {len(self.serial.stages)}'
            )
        if not all(0 <= count <= MAX_COPIES for count in self.counts):
            raise UserError(f'copies "{text}": each stage has 0 to {MAX_COPIES}')

    @classmethod
    def parse(cls, text: str) -> "ParallelCode":
        """The network of a text, with or without copies; UserError if the text is no code."""
        serial, underscore, counts = text.partition("_")
        if not underscore:
            return cls(SerialCode.parse(serial))
        if not all(count.isascii() and count.isdigit() for count in counts.split("-")):
            raise UserError(f'copies "{counts}": give a number a stage, such as 0-0-2')
        return cls(SerialCode.parse(serial), tuple(map(int, counts.split("-"))))

    def __str__(self):
        return f"{self.serial}_{'-'.join(map(str, self.counts))}" if any(self.counts) else str(self.serial)
