"""The spaces of the two searches, as the headers of their logs name them. Pure Python."""

from dataclasses import dataclass

from detnas.errors import UserError

from .code import MAX_BLOCKS, MAX_COPIES, MAX_STAGES, MIN_STAGES, ParallelCode, SerialCode
from .morphs import children

#: fills of a report, the darker the wider: basic blocks grey, bottlenecks blue, ResNeXt's orange
_FILLS = {
    "basic": ("#f2f2f2", "#d4d4d4", "#b0b0b0", "#888888", "#626262", "#3e3e3e", "#1c1c1c"),
    "bottleneck": ("#eaf2f8", "#c6dcec", "#9dc4e0", "#72aad3", "#4587bb", "#22639f", "#0d3d6b"),
    "resnext": ("#fdf1de", "#fadcae", "#f5c377", "#efa537", "#cc7f12", "#955a06", "#5f3800"),
}
#: from this fill on, text on it is white
_DARK = 4


class CodeSpace:
    """What the spaces of both searches share as :class:`detnas.choices.Space`."""

    def format(self, code):
        return str(code)

    def anchors(self):
        return {}

    def settings(self, code):
        return {"MODEL.SPNAS.CODE": str(code)}


@dataclass(frozen=True)
class SerialSpace(CodeSpace):
    """
    Serial networks of one kind of block and one base width.

    Args:
        block: "basic", "bottleneck" or, for ResNeXt, such as "32x4d".
        base_width: channels at width 1.
        min_blocks, max_blocks: in all stages together.
        max_stages: of the network.
    """

    block: str
    base_width: int
    min_blocks: int = 1
    max_blocks: int = MAX_BLOCKS
    max_stages: int = MAX_STAGES
    name = "serial"

    def parse(self, text):
        """
        Raises:
            UserError: if the text is no code.
        """
        return SerialCode.parse(text)

    def neighbours(self, code, rng):
        """What the morphs make of a code, as far as it is in the space."""
        found = [child for child in children(code) if child in self]
        return iter(rng.sample(found, len(found)))

    def drawing(self, code):
        """The blocks of a code for a report, see :meth:`detnas.choices.Space.drawing`."""
        return [[blocks] for blocks in _drawn_blocks(self.block, self.base_width, code)]

    def __contains__(self, code):
        return self.min_blocks <= len(code) <= self.max_blocks and MIN_STAGES <= len(code.stages) <= self.max_stages


def write_serial_space(space):
    """The part of a header that says in which space a search is."""
    sizes = ("block", "base_width", "min_blocks", "max_blocks", "max_stages")
    return {"space": space.name, **{name: getattr(space, name) for name in sizes}}


def read_serial_space(header):
    """The reverse of :func:`write_serial_space`."""
    sizes = write_serial_space(SerialSpace("", 0))
    return SerialSpace(**{name: header[name] for name in sizes if name != "space"})


@dataclass(frozen=True)
class ParallelSpace(CodeSpace):
    """
    A serial network with any number of copies of its stages.

    Args:
        serial: its code.
        block, base_width: as in :class:`SerialSpace`.
    """

    serial: SerialCode
    block: str
    base_width: int
    name = "parallel"

    def parse(self, text):
        """
        Raises:
            UserError: if the text is no code, or is of another serial network.
        """
        code = ParallelCode.parse(text)
        if code.serial != self.serial:
            raise UserError(f'"{text}" is no network of this search, whose serial network is {self.serial}')
        return code

    def neighbours(self, code, rng):
        """A copy of one stage more or less."""
        changed = [
            (*code.counts[:stage], count + step, *code.counts[stage + 1 :])
            for stage, count in enumerate(code.counts)
            for step in (-1, 1)
            if 0 <= count + step <= MAX_COPIES
        ]
        return (ParallelCode(code.serial, counts) for counts in rng.sample(changed, len(changed)))

    def drawing(self, code):
        """The blocks of the serial network, and below each stage its copies."""
        stages = _drawn_blocks(self.block, self.base_width, code.serial)
        return [[blocks] * (1 + count) for blocks, count in zip(stages, code.counts)]


def write_parallel_space(space):
    """The part of a header that says in which space a search is."""
    return {"space": space.name, "serial": str(space.serial), "block": space.block, "base_width": space.base_width}


def read_parallel_space(header):
    """The reverse of :func:`write_parallel_space`."""
    return ParallelSpace(SerialCode.parse(header["serial"]), header["block"], header["base_width"])


def _drawn_blocks(kind, base_width, code):
    fills, stages = _FILLS.get(kind, _FILLS["resnext"]), [[] for _ in code.stages]
    for block in code.blocks():
        level = min(block.width.bit_length(), len(fills)) - 1
        text = "#ffffff" if level >= _DARK else "#14304a"
        entry = f"{kind}, width {base_width * block.width}"
        stages[block.stage].append((str(1 + block.doubles), fills[level], text, entry))
    return stages
