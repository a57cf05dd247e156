#!/usr/bin/env python
"""
Steps 1, 2 and 4 of DetNAS. The config says which:

    python train_net.py --num-gpus 8                            step 2 on COCO, the paper's small space
    python train_net.py --config-file configs/demo/toy_1_pretrain_supernet.yaml
    python train_net.py --config-file CONFIG --num-gpus 8 MODEL.WEIGHTS PRETRAINED.pth
    python train_net.py --config-file CONFIG --eval-only        model_final.pth of CONFIG, or MODEL.WEIGHTS FILE
    python train_net.py --config-file CONFIG --resume
    python train_net.py --config-file CONFIG_OF_STEP_4 MODEL.DETNAS.ARCH FOLDER/best.yaml MODEL.WEIGHTS FOLDER/best.pth
"""

from detnas.command_line import argument_parser  # isort: skip  # first: from here on Ctrl-C is told in a word
import elasticdet  # noqa: F401  it registers its keys and method
import pretrained  # noqa: F401  it registers the keys of timm's networks
import released  # noqa: F401  it registers detectors of the authors' code
import spnas  # noqa: F401  it registers its keys and methods


def main(args):
    from detnas.commands.train import train  # not above: --help should not wait for torch

    return train(args)


def run():
    args = argument_parser(__doc__).parse_args()
    from detnas.launch.setup import launch

    launch(main, args)


if __name__ == "__main__":
    run()
