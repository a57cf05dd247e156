"""Runs of tools/export_model.py and demo/predict.py in this process."""

from pathlib import Path

from scripts import script

tool, demo = script("tools", "export_model"), script("demo", "predict")


def words(overrides):
    return [str(word) for pair in overrides.items() for word in pair]


def export(*flags, overrides=()):
    """Run tools/export_model.py; returns the folder it wrote."""
    return Path(tool.main(tool.parser().parse_args([*map(str, flags), *words(dict(overrides))])))


def predict(*flags):
    """Run demo/predict.py; returns the detections."""
    return demo.main(demo.parser().parse_args([*map(str, flags)]))
