"""Every config key that DetNAS adds to Detectron2's, with its default."""

from yacs.config import CfgNode

from detnas.errors import UserError
from detnas.space import CUSTOM_SPACE, PAPER_OPS, SPACES, SearchSpace


def add_detnas_config(cfg: CfgNode) -> None:
    """Add the keys of DetNAS to a Detectron2 config, in place."""
    CN = type(cfg)
    cfg.MODEL.DETNAS = CN()
    # Search space: "300M" (the paper's small one), "1.3G" (large), "3.8G" (widened), "tiny" (demo) or "custom".
    cfg.MODEL.DETNAS.SPACE = "300M"
    # The space "custom". OPS is a choice out of detnas.OPS; the digits of its archs are indices into this list.
    cfg.MODEL.DETNAS.CUSTOM_SPACE = CN()
    cfg.MODEL.DETNAS.CUSTOM_SPACE.STEM_CHANNELS = 16
    cfg.MODEL.DETNAS.CUSTOM_SPACE.STAGE_CHANNELS = [64, 160, 320, 640]
    cfg.MODEL.DETNAS.CUSTOM_SPACE.STAGE_DEPTHS = [4, 4, 8, 4]
    cfg.MODEL.DETNAS.CUSTOM_SPACE.LAST_CHANNELS = 1024
    cfg.MODEL.DETNAS.CUSTOM_SPACE.OPS = PAPER_OPS
    # "supernet", an arch such as 2120-2112-33130031-3132, the name of a published network, or a search's best.yaml.
    cfg.MODEL.DETNAS.ARCH = "supernet"
    # Norm of the blocks. SyncBN becomes BN in one process and naiveSyncBN in several CPU processes.
    cfg.MODEL.DETNAS.NORM = "SyncBN"
    # Channel split of the stride-1 blocks: "even_odd" or "interleave".
    cfg.MODEL.DETNAS.SHUFFLE = "even_odd"
    # Stages to return, out of "stage1".."stage4"; empty: all.
    cfg.MODEL.DETNAS.OUT_FEATURES = []
    # Freeze the stem (1), the first stage too (2), the second too (3), ...; 0: nothing. Not MODEL.BACKBONE.FREEZE_AT,
    # whose default of 2 would silently freeze a network that starts from random weights.
    cfg.MODEL.DETNAS.FREEZE_AT = 0
    # Names of the classes; only in exported configs and a search's best.yaml, whose data set may not be at hand.
    cfg.MODEL.DETNAS.CLASSES = []

    cfg.MODEL.CLASSIFIER = CN()
    # Set from the training data where that is a folder of classes.
    cfg.MODEL.CLASSIFIER.NUM_CLASSES = 1000
    # Dropout before the linear layer, and label smoothing of the loss.
    cfg.MODEL.CLASSIFIER.DROPOUT = 0.2
    cfg.MODEL.CLASSIFIER.LABEL_SMOOTHING = 0.1

    cfg.INPUT.CLASSIFIER = CN()
    # Side of the square training crop, in pixels.
    cfg.INPUT.CLASSIFIER.SIZE = 224
    # Range of the training crop's share of the image area.
    cfg.INPUT.CLASSIFIER.CROP_AREA = (0.08, 1.0)
    # Strength of brightness, contrast and saturation jitter; 0 for none.
    cfg.INPUT.CLASSIFIER.COLOR_JITTER = 0.4

    # Each training image of a detector is resized so that it just fits into SIZE, (height, width), times a random
    # factor out of RANGE, and then cropped and padded to SIZE; empty: MIN_SIZE_TRAIN and MAX_SIZE_TRAIN hold.
    cfg.INPUT.SCALE_JITTER = CN()
    cfg.INPUT.SCALE_JITTER.SIZE = ()
    cfg.INPUT.SCALE_JITTER.RANGE = (0.8, 1.2)

    # Gigabytes for decoded training images in memory, for all data workers of a process together, each of which keeps
    # its own; what does not fit is read again every time.
    cfg.DATALOADER.IMAGE_CACHE_GB = 4.0

    # Parts of a batch that a process takes one after the other before it updates the weights: a process that takes 8
    # stands for 8 GPUs, also in SOLVER.REFERENCE_WORLD_SIZE.
    cfg.SOLVER.ACCUMULATE = 1

    cfg.SUPERNET = CN()
    # How the path of an iteration is drawn: "uniform"; or "fair": as many in a row as a block has ops train each op of
    # each block once, with one update if SOLVER.ACCUMULATE is that many.
    cfg.SUPERNET.PATH_SAMPLING = "uniform"
    # Random paths, always the same ones, that are evaluated every TEST.EVAL_PERIOD beside those of a single op.
    cfg.SUPERNET.EVAL_RANDOM_PATHS = 12
    # Images of each of DATASETS.TEST that they are judged by, spread evenly over it, always the same ones; 0: all.
    cfg.SUPERNET.EVAL_IMAGES = 500

    cfg.SEARCH = CN()
    # What is searched, and how: "detnas", the paths of a supernet (paper, Sec. 3.2), "spnas_serial", "spnas_parallel".
    cfg.SEARCH.METHOD = "detnas"
    # Result that is maximised: task/name as the evaluator reports it, "-lamr/NAME" of a miss rate.
    cfg.SEARCH.METRIC = "bbox/AP"
    # Limits, each "METRIC <= NUMBER" or "NUMBER <= METRIC <= NUMBER"; metrics: backbone_flops (multiply-adds),
    # backbone_params, detector_flops, detector_params, latency_ms (of the backbone, measured on this machine),
    # detector_latency_ms (of the exported detector in ONNX Runtime on this machine, as a sum over blocks).
    cfg.SEARCH.CONSTRAINTS = ("backbone_flops <= 300e6",)
    # Height and width of the image for which backbone_flops, detector_flops and detector_latency_ms, and latency_ms
    # hold, and images at once for the latter.
    cfg.SEARCH.FLOPS_RESOLUTION = (224, 224)
    cfg.SEARCH.DETECTOR_RESOLUTION = (800, 1344)
    cfg.SEARCH.LATENCY_RESOLUTION = (224, 224)
    cfg.SEARCH.LATENCY_BATCH = 1
    # Costs to be low beside a METRIC that is to be high, such as ["backbone_flops"]: parents are then taken from the
    # Pareto front. Empty: by METRIC alone.
    cfg.SEARCH.OBJECTIVES = []
    # What proposes paths: "evolution" (paper, Sec. 3.2), or "surrogate": evolution with a surplus of children, of which
    # a regression on the scores so far keeps the most promising.
    cfg.SEARCH.SEARCHER = "evolution"
    # Evolution: candidates a generation, parents, generations, the first one included.
    cfg.SEARCH.POPULATION = 50
    cfg.SEARCH.NUM_PARENTS = 10
    cfg.SEARCH.GENERATIONS = 20
    # What the first generation begins with, where it meets the limits; the rest of it is random: archs, names of
    # published networks, best.yaml of other searches, and "uniform_ops", the networks of a single op. Empty: as the
    # paper has it.
    cfg.SEARCH.INITIAL = ("uniform_ops",)
    # Children by mutation and by crossover; the rest of a generation is drawn at random.
    cfg.SEARCH.NUM_MUTATE = 25
    cfg.SEARCH.NUM_CROSS = 25
    # Probability that a mutation draws a block's op anew.
    cfg.SEARCH.MUTATE_PROB = 0.1
    # True: no generations; each worker that is free gets the next candidate at once. The result then depends on the
    # order in which workers finish.
    cfg.SEARCH.ASYNCHRONOUS = False
    # "here": in this process, one candidate after the other. "ray": on WORKERS workers of this machine, or of the Ray
    # cluster at RAY_ADDRESS ("auto" finds one that runs on this machine); each with a GPU where MODEL.DEVICE is cuda.
    cfg.SEARCH.EXECUTOR = "here"
    cfg.SEARCH.WORKERS = 2
    cfg.SEARCH.RAY_ADDRESS = ""
    # A candidate that fails is tried so often; one that takes a Ray worker more than TIMEOUT seconds (0: any number)
    # counts as failed.
    cfg.SEARCH.TRIES = 2
    cfg.SEARCH.TIMEOUT = 0
    # Training images, fixed and the same for all candidates, that give a candidate its batch-norm statistics.
    cfg.SEARCH.RECALIBRATION_IMAGES = 500
    cfg.SEARCH.RECALIBRATION_BATCH = 8
    # True: a candidate is looked at after each of these parts of the held-out images, and stops where it is not among
    # the best SHARE of those looked at there so far. False: all see all images, as in the paper.
    cfg.SEARCH.RACING = False
    cfg.SEARCH.RACING_PARTS = (1 / 27, 1 / 9, 1 / 3, 2 / 3)
    cfg.SEARCH.RACING_SHARE = 0.5
    # Held-out images in a forward pass; only images of equal padded size share one, so that scores do not depend on it.
    cfg.SEARCH.EVALUATION_BATCH = 8
    # Gigabytes for decoded images in memory, for the recalibration and for the held-out images each, in each worker;
    # what does not fit is read again for every candidate.
    cfg.SEARCH.IMAGE_CACHE_GB = 4.0
    # Two ways to be faster that change scores a little, see docs/benchmarks.md. CHANNELS_LAST: that memory layout for
    # the recalibration too (the evaluation has it on CPUs anyway). AUTOCAST: "bf16" or "".
    cfg.SEARCH.CHANNELS_LAST = False
    cfg.SEARCH.AUTOCAST = ""
    # So many detectors of the front, spread over its costs, have a yaml and weights in OUTPUT_DIR/front at the end;
    # each takes the time of a recalibration.
    cfg.SEARCH.FRONT_WINNERS = 0
    # True in what a search leaves alone, best.yaml and the like: a winner, whose weights are best.pth beside it. Its
    # data sets are those of the search, so train_net.py evaluates it and trains nothing with it.
    cfg.SEARCH.WINNER = False


def config_space(cfg: CfgNode) -> SearchSpace:
    """The space of ``MODEL.DETNAS.SPACE``; UserError if there is none of that name, or the custom one cannot be."""
    name, own = cfg.MODEL.DETNAS.SPACE, cfg.MODEL.DETNAS.CUSTOM_SPACE
    if name != CUSTOM_SPACE:
        if name not in SPACES:
            raise UserError(f'unknown space "{name}"; there are: {", ".join((*SPACES, CUSTOM_SPACE))}')
        return SPACES[name]
    channels, depths, ops = map(tuple, (own.STAGE_CHANNELS, own.STAGE_DEPTHS, own.OPS))
    return SearchSpace(name, own.STEM_CHANNELS, channels, depths, own.LAST_CHANNELS, ops)
