#!/usr/bin/env python
"""From annotated images to a detector, in the time there is; ``--help`` says how, docs/own_data.md what comes out."""

import os
import sys

if __name__ == "__main__":
    if sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
        # This file would be found in place of the package.
        sys.path.pop(0)
    from find_detector.__main__ import run_script

    run_script()
