"""Every config key that SP-NAS adds, with its default, and the values that it may have."""

from yacs.config import CfgNode

from detnas.config.settings import COUNT, NON_NEGATIVE, RULES, Rule, one_of

from .code import MAX_BLOCKS, MAX_STAGES, MIN_STAGES

#: norms of the blocks; a new block needs one, whose weight of 0 makes it exact
NORMS = ("BN", "SyncBN", "naiveSyncBN", "FrozenBN", "GN")


def add_spnas_config(cfg: CfgNode) -> None:
    """Add the keys of SP-NAS to a Detectron2 config that has those of DetNAS, in place."""
    CN = type(cfg)
    cfg.MODEL.SPNAS = CN()
    # The network: a digit a block, 2 where the width doubles, "-" between stages; "_0-0-2-1" behind it says how many
    # copies of each stage stand beside it. In a search, the start. Or the name of a published network, which also sets
    # BLOCK, STEM and SHORTCUT.
    cfg.MODEL.SPNAS.CODE = "111-2111-211111-211"
    # "basic", "bottleneck" or, for ResNeXt, groups x width per group: "32x4d".
    cfg.MODEL.SPNAS.BLOCK = "bottleneck"
    # Channels at width 1.
    cfg.MODEL.SPNAS.BASE_WIDTH = 64
    # "7x7": one conv and a max-pool; "3x3": two convs.
    cfg.MODEL.SPNAS.STEM = "7x7"
    # Shortcut of a block that halves the resolution and keeps the channels: "subsample", without weights, so that a
    # search can move the block; "projection", as in the published networks.
    cfg.MODEL.SPNAS.SHORTCUT = "subsample"
    # Copies of a stage share its weights.
    cfg.MODEL.SPNAS.TIED = True
    # SyncBN becomes BN in one process and naiveSyncBN in several CPU processes.
    cfg.MODEL.SPNAS.NORM = "SyncBN"
    # Stages to return, out of "res2".."res7"; empty: all.
    cfg.MODEL.SPNAS.OUT_FEATURES = []
    # Freeze the stem (1), the first stage too (2), ...; 0: nothing.
    cfg.MODEL.SPNAS.FREEZE_AT = 0

    # The searches "spnas_serial" and "spnas_parallel". Each of SEARCH.GENERATIONS but the first, the start network, has
    # so many candidates.
    cfg.SEARCH.CHILDREN = 4
    # Iterations that a candidate is trained, with the schedule of SOLVER.
    cfg.SEARCH.CANDIDATE_ITERS = 1000
    # The search "spnas_parallel": output folder of the serial search whose winner gets copies; empty: it is
    # MODEL.SPNAS.CODE with MODEL.WEIGHTS.
    cfg.SEARCH.SERIAL_OUTPUT = ""
    # The search "spnas_serial". False: no selection; each generation is made from the last candidate before it,
    # whatever its score: a control.
    cfg.SEARCH.SELECT = True
    # How often a morph is drawn in relation to the others; 0: never.
    cfg.SEARCH.MORPHS = CN()
    cfg.SEARCH.MORPHS.SWAP = 0.5
    cfg.SEARCH.MORPHS.SWAP_DOUBLING = 0.0
    cfg.SEARCH.MORPHS.EXPAND = 0.4
    cfg.SEARCH.MORPHS.NEW_STAGE = 0.1
    # Sizes that a candidate may have.
    cfg.SEARCH.MIN_BLOCKS = 3
    cfg.SEARCH.MAX_BLOCKS = MAX_BLOCKS
    cfg.SEARCH.MAX_STAGES = MAX_STAGES
    # After STUCK generations without a better score the best network is trained as a classifier by REIGNITION_CONFIG,
    # at most REIGNITIONS times.
    cfg.SEARCH.STUCK = 3
    cfg.SEARCH.REIGNITIONS = 0
    cfg.SEARCH.REIGNITION_CONFIG = ""
    # True: a candidate is also evaluated with what it has inherited, before its training.
    cfg.SEARCH.EVALUATE_INHERITED = False


def split_block(block):
    """(groups, width per group) of a ResNeXt block, None for another text."""
    groups, x, width = block.removesuffix("d").partition("x")
    return (int(groups), int(width)) if x and groups.isdigit() and width.isdigit() and block[-1] == "d" else None


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
