"""The space of a serial search, as the header of its log names it. Pure Python."""

from dataclasses import dataclass

from .code import MAX_BLOCKS, MAX_STAGES, MIN_STAGES, SerialCode


@dataclass(frozen=True)
class SerialSpace:
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
            ValueError: if the text is no code.
        """
        return SerialCode.parse(text)

    def format(self, code):
        return str(code)

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
