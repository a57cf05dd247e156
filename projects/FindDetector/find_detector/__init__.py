"""Trains detectors on annotated images within a given time; see ``tools/find_detector.py``."""
