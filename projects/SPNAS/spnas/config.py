"""SP-NAS's config keys with their defaults, and the values that they may have."""

from yacs.config import CfgNode

from detnas.config.settings import COUNT, NON_NEGATIVE, RULES, Rule, one_of

from .code import MAX_BLOCKS, MAX_STAGES, MIN_STAGES

#: norms of the blocks; a new block starts as the identity through a norm with weight 0
NORMS = ("BN", "SyncBN", "naiveSyncBN", "FrozenBN", "GN")
#: where parents come from
SELECTIONS = ("front", "line", "random")


def add_spnas_config(cfg: CfgNode) -> None:
    """Add the keys of SP-NAS, in place, to a Detectron2 config that has DetNAS's keys."""
    CN = type(cfg)
    cfg.MODEL.SPNAS = CN()
    # The network, with which a search starts: one digit per block, 2 if it doubles the width; "-" between stages; a
    # suffix "_0-0-2-1" counts copies of each stage. A published network's name also sets BLOCK, STEM and SHORTCUT.
    cfg.MODEL.SPNAS.CODE = "111-2111-211111-211"
    # "basic", "bottleneck" or, for ResNeXt, "32x4d": groups x width per group.
    cfg.MODEL.SPNAS.BLOCK = "bottleneck"
    # Channels at width 1.
    cfg.MODEL.SPNAS.BASE_WIDTH = 64
    # "7x7": one conv and a max-pool; "3x3": two convs.
    cfg.MODEL.SPNAS.STEM = "7x7"
    # Shortcut of blocks that halve the resolution and keep the channels. "subsample" has no weights, so a search can
    # move the block; published networks have "projection".
    cfg.MODEL.SPNAS.SHORTCUT = "subsample"
    # Copies of a stage share its weights.
    cfg.MODEL.SPNAS.TIED = True
    # SyncBN becomes BN in one process and naiveSyncBN in several CPU processes.
    cfg.MODEL.SPNAS.NORM = "SyncBN"
    # Stages to return, from "res2".."res7"; empty: all.
    cfg.MODEL.SPNAS.OUT_FEATURES = []
    # Freeze the stem (1), the first stage too (2), ...; 0: nothing.
    cfg.MODEL.SPNAS.FREEZE_AT = 0

    # Both searches: candidates per generation; the first of SEARCH.GENERATIONS is the start network alone.
    cfg.SEARCH.CHILDREN = 4
    # Training iterations of a candidate, with the schedule of SOLVER.
    cfg.SEARCH.CANDIDATE_ITERS = 1000
    # Parallel search: output folder of the serial search to start from; empty: MODEL.SPNAS.CODE with MODEL.WEIGHTS.
    cfg.SEARCH.SERIAL_OUTPUT = ""
    # Serial search, as all keys below. Parents: "front", of all candidates; "line", the best of the last generation, so
    # that all training is in one line of descent; "random", any of the last generation, a control.
    cfg.SEARCH.SELECT = "front"
    # So many morphs for each child are evaluated before any training, and the best is the child; 1: none.
    cfg.SEARCH.TRIALS = 1
    # Relative frequency of each morph; 0: never.
    cfg.SEARCH.MORPHS = CN()
    cfg.SEARCH.MORPHS.SWAP = 0.5
    cfg.SEARCH.MORPHS.SWAP_DOUBLING = 0.0
    cfg.SEARCH.MORPHS.EXPAND = 0.4
    cfg.SEARCH.MORPHS.NEW_STAGE = 0.1
    # Sizes that a candidate may have.
    cfg.SEARCH.MIN_BLOCKS = 3
    cfg.SEARCH.MAX_BLOCKS = MAX_BLOCKS
    cfg.SEARCH.MAX_STAGES = MAX_STAGES
    # After STUCK generations without a better score, REIGNITION_CONFIG trains the best network as a classifier, at most
    # REIGNITIONS times.
    cfg.SEARCH.STUCK = 3
    cfg.SEARCH.REIGNITIONS = 0
    cfg.SEARCH.REIGNITION_CONFIG = ""
    # True: also evaluate a candidate with its inherited weights, before its training.
    cfg.SEARCH.EVALUATE_INHERITED = False


def split_block(block):
    """(groups, width per group) of a ResNeXt block such as "32x4d"; None for other text."""
    groups, x, width = block.removesuffix("d").partition("x")
    return (int(groups), int(width)) if x and groups.isdecimal() and width.isdecimal() and block[-1] == "d" else None


RULES.update(
    {
        "MODEL.SPNAS.BLOCK": Rule(
            '"basic", "bottleneck" or, for ResNeXt, groups and width per group such as "32x4d"',
            lambda block: block in ("basic", "bottleneck") or split_block(block),
        ),
        "MODEL.SPNAS.BASE_WIDTH": COUNT,
        "MODEL.SPNAS.STEM": one_of("7x7", "3x3"),
        "MODEL.SPNAS.SHORTCUT": one_of("subsample", "projection"),
        "MODEL.SPNAS.NORM": one_of(*NORMS),
        "MODEL.SPNAS.FREEZE_AT": NON_NEGATIVE,
        "SEARCH.CHILDREN": COUNT,
        "SEARCH.CANDIDATE_ITERS": COUNT,
        "SEARCH.SELECT": one_of(*SELECTIONS),
        "SEARCH.TRIALS": COUNT,
        **{f"SEARCH.MORPHS.{name}": NON_NEGATIVE for name in ("SWAP", "SWAP_DOUBLING", "EXPAND", "NEW_STAGE")},
        "SEARCH.MIN_BLOCKS": COUNT,
        "SEARCH.MAX_BLOCKS": Rule(f"from 1 to {MAX_BLOCKS}", lambda value: 1 <= value <= MAX_BLOCKS),
        "SEARCH.MAX_STAGES": Rule(
            f"from {MIN_STAGES} to {MAX_STAGES}", lambda value: MIN_STAGES <= value <= MAX_STAGES
        ),
        "SEARCH.STUCK": COUNT,
        "SEARCH.REIGNITIONS": NON_NEGATIVE,
    }
)
