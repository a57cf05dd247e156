"""From annotated images to a detector, in the time there is: ``tools/find_detector.py``."""

import detnas  # noqa: F401  first: it mends Detectron2 0.6
