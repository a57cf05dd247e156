"""
Elastic detectors: one training leaves a family of detectors, for every latency, on Detectron2.

Importing the package registers its config keys and its method of search; its model is registered for a config that
uses it. What is slow to import is imported when it is used.
"""

from detnas.config.load import register_config
from detnas.search.method import register_method

from .config import add_elastic_config, fit_to_family, uses_elastic
from .space import ElasticSpace, family_space

__all__ = ["ElasticSpace", "add_elastic_config", "family_space"]

register_config(add_elastic_config, fit_to_family, uses_elastic, "elasticdet.family", family_space)
register_method("elastic", ElasticSpace.read, "elasticdet.method:FamilySearch")
