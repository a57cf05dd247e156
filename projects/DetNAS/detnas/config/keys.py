"""Every config key that DetNAS adds to Detectron2's, with its default."""

from yacs.config import CfgNode

from detnas.errors import UserError
from detnas.space import CUSTOM_SPACE, PAPER_OPS, SPACES, SearchSpace


def add_detnas_config(cfg: CfgNode) -> None:
    """Add the keys of DetNAS to a Detectron2 config, in place."""
    CN = type(cfg)
    cfg.MODEL.DETNAS = CN()
    cfg.MODEL.DETNAS.SPACE = "300M"  # name of a search space, see detnas.SPACES; or "custom"
    cfg.MODEL.DETNAS.CUSTOM_SPACE = CN()  # the space "custom", see detnas.SearchSpace
    cfg.MODEL.DETNAS.CUSTOM_SPACE.STEM_CHANNELS = 16
    cfg.MODEL.DETNAS.CUSTOM_SPACE.STAGE_CHANNELS = [64, 160, 320, 640]
    cfg.MODEL.DETNAS.CUSTOM_SPACE.STAGE_DEPTHS = [4, 4, 8, 4]
    cfg.MODEL.DETNAS.CUSTOM_SPACE.LAST_CHANNELS = 1024
    cfg.MODEL.DETNAS.CUSTOM_SPACE.OPS = PAPER_OPS  # out of detnas.OPS; digits of its archs are indices into this list
    cfg.MODEL.DETNAS.ARCH = "supernet"  # or an arch (2120-2112-33130031-3132), a published name, a search's best.yaml
    cfg.MODEL.DETNAS.NORM = "SyncBN"  # becomes BN in one process and naiveSyncBN in several CPU processes
    cfg.MODEL.DETNAS.SHUFFLE = "even_odd"  # channel split of stride-1 blocks: "even_odd" or "interleave"
    cfg.MODEL.DETNAS.OUT_FEATURES = []  # stages to return, out of "stage1".."stage4"; empty: all
    # 0 freezes nothing, 1 the stem, 2 the first stage too, ... Replaces MODEL.BACKBONE.FREEZE_AT (by default 2).
    cfg.MODEL.DETNAS.FREEZE_AT = 0
    cfg.MODEL.DETNAS.CLASSES = []  # names; only in exported configs and best.yaml, whose data set may be absent

    cfg.MODEL.CLASSIFIER = CN()
    cfg.MODEL.CLASSIFIER.NUM_CLASSES = 1000  # set from the training data if it is a folder of classes
    cfg.MODEL.CLASSIFIER.DROPOUT = 0.2  # before the linear layer
    cfg.MODEL.CLASSIFIER.LABEL_SMOOTHING = 0.1  # of the loss

    cfg.INPUT.CLASSIFIER = CN()
    cfg.INPUT.CLASSIFIER.SIZE = 224  # side of the square training crop, in pixels
    cfg.INPUT.CLASSIFIER.CROP_AREA = (0.08, 1.0)  # range of the training crop's share of the image area
    cfg.INPUT.CLASSIFIER.COLOR_JITTER = 0.4  # strength of brightness, contrast and saturation jitter; 0: none

    # A detector's training image is resized to fit SIZE times a factor out of RANGE, then cropped and padded to SIZE.
    cfg.INPUT.SCALE_JITTER = CN()
    cfg.INPUT.SCALE_JITTER.SIZE = ()  # (height, width); empty: MIN_SIZE_TRAIN and MAX_SIZE_TRAIN apply
    cfg.INPUT.SCALE_JITTER.RANGE = (0.8, 1.2)

    cfg.DATALOADER.IMAGE_CACHE_GB = 4.0  # for decoded training images, divided among the data workers of a process

    # Parts of a batch between updates of the weights. 8 parts stand for 8 GPUs, also in SOLVER.REFERENCE_WORLD_SIZE.
    cfg.SOLVER.ACCUMULATE = 1

    cfg.SUPERNET = CN()
    # "uniform", or "fair": N paths in a row train each of N ops once, with one update if SOLVER.ACCUMULATE is N.
    cfg.SUPERNET.PATH_SAMPLING = "uniform"
    cfg.SUPERNET.EVAL_RANDOM_PATHS = 12  # fixed, evaluated every TEST.EVAL_PERIOD beside the paths of a single op
    cfg.SUPERNET.EVAL_IMAGES = 500  # fixed, for these paths, evenly spread over each of DATASETS.TEST; 0: all

    cfg.SEARCH = CN()
    cfg.SEARCH.METHOD = "detnas"  # paths of a supernet (paper, Sec. 3.2); other packages add "spnas_serial" and others
    cfg.SEARCH.METRIC = "bbox/AP"  # result to maximise, task/name of the evaluator; "-lamr/NAME" for a miss rate
    # Limits, each "METRIC <= NUMBER" or "NUMBER <= METRIC <= NUMBER". Metrics: backbone_flops (multiply-adds),
    # backbone_params, detector_flops, detector_params; measured on this machine, backbone_latency_ms and
    # detector_latency_ms (of the exported detector in ONNX Runtime, as a sum over blocks).
    cfg.SEARCH.CONSTRAINTS = ("backbone_flops <= 300e6",)
    cfg.SEARCH.FLOPS_RESOLUTION = (224, 224)  # (height, width) of the image for backbone_flops
    cfg.SEARCH.DETECTOR_RESOLUTION = (800, 1344)  # for detector_flops and detector_latency_ms
    cfg.SEARCH.LATENCY_RESOLUTION = (224, 224)  # for backbone_latency_ms
    cfg.SEARCH.LATENCY_BATCH = 1  # images at once for backbone_latency_ms
    cfg.SEARCH.OBJECTIVES = []  # costs to minimise ("backbone_flops"); parents then come from the Pareto front
    cfg.SEARCH.SEARCHER = "evolution"  # paper, Sec. 3.2; "surrogate": a regression selects among surplus children
    cfg.SEARCH.POPULATION = 50  # candidates in a generation
    cfg.SEARCH.NUM_PARENTS = 10
    cfg.SEARCH.GENERATIONS = 20  # with the first one
    # Start of the first generation, within the limits: archs, names of published networks, best.yaml of searches, and
    # "uniform_ops", the networks of a single op. The rest is random. Empty: as in the paper.
    cfg.SEARCH.INITIAL = ("uniform_ops",)
    cfg.SEARCH.NUM_MUTATE = 25  # children by mutation
    cfg.SEARCH.NUM_CROSS = 25  # children by crossover; the rest of a generation is random
    cfg.SEARCH.MUTATE_PROB = 0.1  # probability that a mutation draws a block's op anew
    cfg.SEARCH.ASYNCHRONOUS = False  # True: free workers get candidates at once; results depend on workers' speed
    cfg.SEARCH.EXECUTOR = "here"  # one by one in this process; or "ray"
    cfg.SEARCH.WORKERS = 2  # of Ray, each with a GPU if MODEL.DEVICE is cuda
    cfg.SEARCH.RAY_ADDRESS = ""  # of a Ray cluster; "auto" finds one that runs on this machine, "" starts one on it
    cfg.SEARCH.TRIES = 2  # for a candidate that fails
    cfg.SEARCH.TIMEOUT = 0  # seconds after which a candidate on a Ray worker has failed; 0: no limit
    cfg.SEARCH.SECONDS = 0  # after which no candidate begins; 0: no limit
    cfg.SEARCH.RECALIBRATION_IMAGES = 500  # training images for batch-norm statistics, the same for all candidates
    cfg.SEARCH.RECALIBRATION_BATCH = 8
    # True: after each of RACING_PARTS of the held-out images, only the best RACING_SHARE of candidates so far go on.
    cfg.SEARCH.RACING = False  # as in the paper: all candidates see all images
    cfg.SEARCH.RACING_PARTS = (1 / 27, 1 / 9, 1 / 3, 2 / 3)
    cfg.SEARCH.RACING_SHARE = 0.5
    cfg.SEARCH.EVALUATION_BATCH = 8  # held-out images of equal padded size in a forward pass; does not change scores
    cfg.SEARCH.IMAGE_CACHE_GB = 4.0  # decoded images in each worker, for recalibration and held-out images each
    cfg.SEARCH.CHANNELS_LAST = False  # faster, scores change a little (docs/benchmarks.md); CPUs always evaluate so
    cfg.SEARCH.AUTOCAST = ""  # "bf16": likewise
    # Detectors of the front, by choose_winners, to write to OUTPUT_DIR/front; each takes one recalibration.
    cfg.SEARCH.FRONT_WINNERS = 0
    cfg.SEARCH.WINNER = False  # a search sets it in best.yaml, which train_net.py evaluates but does not train


def config_space(cfg: CfgNode) -> SearchSpace:
    """Space of ``MODEL.DETNAS.SPACE``. Raises UserError for an unknown name or wrong settings of the custom space."""
    name, own = cfg.MODEL.DETNAS.SPACE, cfg.MODEL.DETNAS.CUSTOM_SPACE
    if name != CUSTOM_SPACE:
        if name not in SPACES:
            raise UserError(f'unknown space "{name}"; there are: {", ".join((*SPACES, CUSTOM_SPACE))}')
        return SPACES[name]
    channels, depths, ops = map(tuple, (own.STAGE_CHANNELS, own.STAGE_DEPTHS, own.OPS))
    return SearchSpace(name, own.STEM_CHANNELS, channels, depths, own.LAST_CHANNELS, ops)
