"""Reignition: trains the best network of a serial search as a classifier, then returns it to its detector."""

import copy
import logging
import os

from detnas.config.load import load_config
from detnas.config.settings import check_settings
from detnas.data.mapper import is_classifier
from detnas.errors import UserError
from detnas.evaluation.evaluators import evaluate, only_warnings
from detnas.launch.setup import fit_to_device, fit_to_processes, register_datasets
from detnas.modeling.weights import BODY
from detnas.search.evaluator import flatten

from .evaluator import train
from .fit import uses_spnas
from .weights import CandidateWeights, save

logger = logging.getLogger(__name__)


def classifier_config(cfg, code):
    """``SEARCH.REIGNITION_CONFIG`` with the network ``code`` of a search; UserError if it does not fit."""
    file = cfg.SEARCH.REIGNITION_CONFIG
    if not file:
        raise UserError(
            f"SEARCH.REIGNITIONS {cfg.SEARCH.REIGNITIONS} needs SEARCH.REIGNITION_CONFIG, the config that trains the "
            "network as a classifier; SEARCH.REIGNITIONS 0 searches without"
        )
    try:
        classifier = load_config(file)
        check_settings(classifier)
        if not is_classifier(classifier) or not uses_spnas(classifier):
            raise UserError(f"{file} trains no classifier with MODEL.BACKBONE.NAME build_spnas_classifier_backbone")
        if not classifier.DATASETS.TRAIN:
            raise UserError(f"{file}: DATASETS.TRAIN is empty: name the images to reignite on")
        register_datasets(classifier)
    except UserError as e:
        raise UserError(f"SEARCH.REIGNITION_CONFIG: {e.args[0]}") from None
    classifier = fit_to_processes(classifier)
    # The network sees the same pixel values in both trainings.
    for key in ("SPNAS", "PIXEL_MEAN", "PIXEL_STD", "DEVICE"):
        classifier.MODEL[key] = copy.deepcopy(cfg.MODEL[key])
    classifier.defrost()
    classifier.INPUT.FORMAT = cfg.INPUT.FORMAT
    classifier.MODEL.SPNAS.CODE = str(code)
    fit_to_device(classifier)
    return classifier


def reignite(cfg, code, folder):
    """
    Train a finished candidate's network as a classifier and put its weights back into its detector. An interrupted
    training goes on from ``folder``. Returns the classifier's results on its test images, a dict, empty without any.
    """
    weights = CandidateWeights(cfg.OUTPUT_DIR)
    classifier = classifier_config(cfg, code)
    classifier.OUTPUT_DIR, classifier.MODEL.WEIGHTS = folder, os.path.join(folder, "start.pth")
    detector = weights.read(code)
    os.makedirs(folder, exist_ok=True)
    if not os.path.isfile(classifier.MODEL.WEIGHTS):
        save({name: value for name, value in detector.items() if name.startswith(BODY)}, classifier.MODEL.WEIGHTS)
    logger.info(f"Reignition: {code} is trained as a classifier, {classifier.SOLVER.MAX_ITER} iterations.")
    with only_warnings("detectron2", "fvcore", "detnas.modeling"):
        model = train(classifier)
        results = flatten(evaluate(classifier, model)) if classifier.DATASETS.TEST else {}
    body = {name: value for name, value in model.state_dict().items() if name.startswith(BODY)}
    save({**detector, **body}, weights.file(code))
    return results
