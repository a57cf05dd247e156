"""
Elastic detectors on Detectron2: one training gives a family of detectors, for every latency.

The import registers config keys and the search method. A config that uses the model imports and registers it.
"""

from detnas.config.load import register_config
from detnas.search.method import register_method

from .config import add_elastic_config, fit_to_family, uses_elastic
from .space import ElasticSpace, family_space

__all__ = ["ElasticSpace", "add_elastic_config", "family_space"]

register_config(add_elastic_config, fit_to_family, uses_elastic, "elasticdet.family", family_space)
register_method("elastic", ElasticSpace.read, "elasticdet.method:FamilySearch")
