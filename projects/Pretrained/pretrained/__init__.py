"""
Backbones with pre-trained weights: any network of timm with features, on Detectron2.

Importing the package registers its config keys; its networks are registered for a config that uses them. timm, which
is optional, is imported for these alone.
"""

from detnas.config.load import register_config

from .config import add_timm_config, fit_pixels, uses_timm

__all__ = ["add_timm_config", "fit_pixels", "uses_timm"]

register_config(add_timm_config, fit_pixels, uses_timm, "pretrained.backbone")
