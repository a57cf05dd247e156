"""Search spaces of both phases; headers of logs hold their fields. Pure Python."""

import dataclasses
from dataclasses import dataclass

from detnas.errors import UserError

from .code import MAX_BLOCKS, MAX_COPIES, MAX_STAGES, MIN_STAGES, ParallelCode, SerialCode
from .morphs import children

#: colours of a report, darker for wider blocks: grey for basic, blue for bottleneck, orange for ResNeXt
_FILLS = {
    "basic": ("#f2f2f2", "#d4d4d4", "#b0b0b0", "#888888", "#626262", "#3e3e3e", "#1c1c1c"),
    "bottleneck": ("#eaf2f8", "#c6dcec", "#9dc4e0", "#72aad3", "#4587bb", "#22639f", "#0d3d6b"),
    "resnext": ("#fdf1de", "#fadcae", "#f5c377", "#efa537", "#cc7f12", "#955a06", "#5f3800"),
}
#: from this index on, text on a colour is white
_DARK = 4


class CodeSpace:
    """Base of both spaces, see :class:`detnas.choices.Space`. A subclass is a dataclass with JSON values."""

    @classmethod
    def read(cls, header):
        """The reverse of :meth:`header`."""
        return cls(**{field.name: header[field.name] for field in dataclasses.fields(cls)})

    def header(self):
        """The part of a log's header that describes the space."""
        return {"space": self.name, **dataclasses.asdict(self)}

    def format(self, code):
        return str(code)

    def anchors(self):
        return {}

    def settings(self, code):
        return {"MODEL.SPNAS.CODE": str(code)}

    def drawing(self, code):
        """Blocks of the serial network, with a stage's copies below it; see :class:`detnas.choices.Space`."""
        code = ParallelCode.parse(str(code))
        fills, stages = _FILLS.get(self.block, _FILLS["resnext"]), [[] for _ in code.counts]
        for block in code.serial.blocks():
            level = min(block.width.bit_length(), len(fills)) - 1
            text = "#ffffff" if level >= _DARK else "#14304a"
            entry = f"{self.block}, width {self.base_width * block.width}"
            stages[block.stage].append((str(1 + block.doubles), fills[level], text, entry))
        return [[blocks] * (1 + count) for blocks, count in zip(stages, code.counts)]


@dataclass(frozen=True)
class SerialSpace(CodeSpace):
    """
    Serial networks with one kind of ``block`` ("basic", "bottleneck" or, for ResNeXt, such as "32x4d"), ``base_width``
    channels at width 1, and ``min_blocks`` to ``max_blocks`` in all stages together.
    """

    block: str
    base_width: int
    min_blocks: int = 1
    max_blocks: int = MAX_BLOCKS
    max_stages: int = MAX_STAGES
    name = "serial"

    def parse(self, text):
        return SerialCode.parse(text)

    def neighbours(self, code, rng):
        """Children by one morph that lie in the space, in random order."""
        found = [child for child in children(code) if child in self]
        return iter(rng.sample(found, len(found)))

    def __contains__(self, code):
        return self.min_blocks <= len(code) <= self.max_blocks and MIN_STAGES <= len(code.stages) <= self.max_stages


@dataclass(frozen=True)
class ParallelSpace(CodeSpace):
    """All copies of one ``serial`` network's stages; ``block`` and ``base_width`` as in :class:`SerialSpace`."""

    serial: str
    block: str
    base_width: int
    name = "parallel"

    def parse(self, text):
        code = ParallelCode.parse(text)
        if str(code.serial) != self.serial:
            raise UserError(f'"{text}" is no network of this search, whose serial network is {self.serial}')
        return code

    def neighbours(self, code, rng):
        """Codes with one copy more or less of one stage, in random order."""
        changed = [
            (*code.counts[:stage], count + step, *code.counts[stage + 1 :])
            for stage, count in enumerate(code.counts)
            for step in (-1, 1)
            if 0 <= count + step <= MAX_COPIES
        ]
        return (ParallelCode(code.serial, counts) for counts in rng.sample(changed, len(changed)))
