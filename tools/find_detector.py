#!/usr/bin/env python
"""Trains detectors on annotated images within a given time; see ``--help`` and docs/own_data.md."""

import os
import sys

if __name__ == "__main__":
    if sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
        # Else this file would be imported in place of the package.
        sys.path.pop(0)
    from find_detector.__main__ import run_script

    run_script()
