"""From annotated images to a detector, in the time there is: ``tools/find_detector.py``."""
