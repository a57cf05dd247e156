"""Output folders as trainings leave them, without training."""

import json

from scripts import ROOT

from detnas.config.load import load_config


def leave_run(folder, config, lines, **settings):
    """
    config.yaml of a config of ``configs/``, with settings such as ``ARCH="0-0"`` of MODEL.DETNAS or
    ``SOLVER__MAX_ITER=10``, and metrics.json with these lines. Returns the folder's name.
    """
    folder.mkdir(parents=True)
    pairs = {("MODEL.DETNAS.ARCH" if key == "ARCH" else key.replace("__", ".")): v for key, v in settings.items()}
    cfg = load_config(str(ROOT / "configs" / f"{config}.yaml"), [str(word) for pair in pairs.items() for word in pair])
    (folder / "config.yaml").write_text(cfg.dump())
    (folder / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(folder)


def trained(iteration, seconds=0.5):
    """The line of an iteration."""
    return {"iteration": iteration, "total_loss": 1.0, "time": seconds}
