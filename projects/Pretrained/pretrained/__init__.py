"""Pre-trained backbones of timm, with their config keys. Only a config that uses them imports the optional timm."""

from detnas.config.load import register_config

from .config import add_timm_config, fit_pixels, uses_timm

__all__ = ["add_timm_config", "fit_pixels", "uses_timm"]

register_config(add_timm_config, fit_pixels, uses_timm, "pretrained.backbone")
