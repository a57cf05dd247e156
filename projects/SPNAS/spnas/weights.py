"""Weights of a search's candidates in ``OUTPUT_DIR/candidates/``, where children find their parents' weights."""

import json
import os
import shutil

import torch
from iopath.common.file_io import g_pathmgr

from detnas.errors import UserError
from detnas.files import read_json, write_atomically, write_text
from detnas.modeling.weights import read_checkpoint

FOLDER = "candidates"
#: file with the header of the folder's search
OWNER = "search.json"


class CandidateWeights:
    """Files of finished candidates and folders of trainings, in ``output``, an ``OUTPUT_DIR`` that all workers see."""

    def __init__(self, output):
        self.folder = os.path.join(output, FOLDER)

    def file(self, code):
        return os.path.join(self.folder, f"{code}.pth")

    def training(self, code):
        """Output folder of a candidate's training."""
        return os.path.join(self.folder, str(code))

    def read(self, code):
        """State dict of a candidate's detector; UserError if it is not there."""
        return read_checkpoint(self.file(code))

    def write(self, code, state):
        """Write the state dict, whole or not at all, and remove the training's folder."""
        save(state, self.file(code))
        shutil.rmtree(self.training(code), ignore_errors=True)

    def keep(self, codes):
        """Remove the files of all other candidates."""
        names = {f"{code}.pth" for code in codes}
        for name in os.listdir(self.folder):
            if name.endswith(".pth") and name not in names:
                os.remove(os.path.join(self.folder, name))

    def claim(self, header):
        """Make the folder for the search with this header; UserError if it holds weights of another search."""
        os.makedirs(self.folder, exist_ok=True)
        owner, header = os.path.join(self.folder, OWNER), json.loads(json.dumps(header))
        there = read_json(owner, otherwise={})
        if there != header and set(os.listdir(self.folder)) - {OWNER}:
            raise UserError(
                f"{self.folder} holds candidates of another search: give another OUTPUT_DIR, or remove the folder"
            )
        write_text(owner, json.dumps(header, indent=1))


def save(state, file):
    """Write a state dict as the "model" of a checkpoint, whole or not at all."""
    write_atomically(g_pathmgr, file, lambda f: torch.save({"model": {k: v.cpu() for k, v in state.items()}}, f))
