"""The published networks as data. ``python -m spnas.zoo`` prints them, and DetNAS's."""

import warnings
from dataclasses import dataclass, field
from typing import Dict

from tabulate import tabulate

from detnas import zoo as detnas_zoo
from detnas.errors import UserError

# The package imports this file before Python runs it as a module, which is harmless.
warnings.filterwarnings("ignore", "'spnas.zoo' found in sys.modules", RuntimeWarning)

#: what the published figures measure
COCO = tuple(f"COCO {name}" for name in ("AP", "AP50", "APs", "APm", "APl"))
LAMR = "EuroCityPersons LAMR, {}"
WHOLE_PARAMS, WHOLE_FLOPS = "whole Cascade R-CNN, M params", "whole Cascade R-CNN, G flops"


@dataclass(frozen=True)
class Network:
    """
    A published network; its base width is 64.

    Args:
        code, block, stem, shortcut: as in ``MODEL.SPNAS``.
        flops, params: of the backbone with tied copies, counted here: multiply-adds for a 224x224 image, parameters.
        figures: published, not measured here: {what: {source: value}}. AP is in percent, LAMR (log-average miss rate)
            from 0 to 1, lower is better. Source "P" is the paper, "G" a table from its group with code.
    """

    code: str
    block: str
    flops: int
    params: int
    figures: Dict[str, Dict[str, float]] = field(default_factory=dict)
    stem: str = "3x3"
    shortcut: str = "projection"

    @property
    def settings(self) -> Dict[str, str]:
        """Keyword arguments of :class:`spnas.SPNet`; in capitals, keys of ``MODEL.SPNAS``."""
        return {name: getattr(self, name) for name in ("code", "block", "stem", "shortcut")}


PUBLISHED = {
    "SPNet-XB-COCO": Network(
        f"1111-21111-2{'1' * 24}-211-1_1-0-2-1-2", "32x4d", 23046021120, 60280480,
        {what: {"G": value} for what, value in zip(COCO, (49.1, 67.1, 31.0, 52.6, 63.7))},
    ),
    "SPNet-ECP": Network(
        "11121111-21111-112-1111-1111_0-0-2-0-3", "bottleneck", 20134715392, 67435808,
        {LAMR.format("reasonable"): {"P": 0.055, "G": 0.042}, LAMR.format("small"): {"G": 0.095},
         LAMR.format("occluded"): {"G": 0.216}, LAMR.format("all"): {"G": 0.139},
         WHOLE_PARAMS: {"G": 115.9}, WHOLE_FLOPS: {"G": 984.2}},
    ),
}


def get_published(name: str) -> Network:
    """The published network of this name; UserError if there is none."""
    if name not in PUBLISHED:
        raise UserError(f'"{name}" is no code and no published network; those are: {", ".join(PUBLISHED)}')
    return PUBLISHED[name]


def table() -> str:
    """The published networks as text: figures and codes."""
    rows, lines = [], []
    for name, network in PUBLISHED.items():
        rows.append([name, network.block, f"{network.flops / 1e6:.1f}", f"{network.params / 1e6:.2f}", network.code])
        lines += [
            [name, what, ", ".join(f"{value} {source}" for source, value in figure.items())]
            for what, figure in network.figures.items()
        ]
    return "\n\n".join(
        (
            tabulate(rows, ["MODEL.SPNAS.CODE", "block", "M flops", "M params", "code"], disable_numparse=True),
            tabulate(lines, ["MODEL.SPNAS.CODE", "what was published", ""], disable_numparse=True),
            "P: the paper, G: a table that its group gave out with code; none of it was measured here.\n"
            "flops are multiply-adds for a 224x224 image; flops and params are the backbone's, counted here\n"
            "with copies that share the weights of their stage. Both have the stem 3x3 and the shortcut projection.\n"
            "COCO AP is Cascade R-CNN's; the same table has NAS-FPN with 48.0. LAMR is the log-average miss\n"
            "rate, from 0 to 1, the lower the better; why P and G differ is not explained.",
        )
    )


if __name__ == "__main__":
    print(f"{detnas_zoo.table()}\n\n{table()}")
