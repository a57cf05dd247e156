"""Pictures and the report page, from search logs: ``python -m detnas.report --help``."""
