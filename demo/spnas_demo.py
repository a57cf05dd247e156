"""
The demo of SP-NAS: a start network is trained and grows; its best descendant gets copies of stages and is trained on.
In the same total time, the start network and the best serial network are trained alone for comparison.
"""

import os
import statistics

from common import TEST_SET, as_text, generate_images, run_side_by_side, test_ap

import spnas  # noqa: F401  it registers its spaces
from detnas.config.load import load_config
from detnas.launch.outputs import read_metrics
from detnas.search.log import read_log

OUTPUT = "output/demo_spnas"
START, SERIAL, PARALLEL = (os.path.join(OUTPUT, name) for name in ("start", "serial", "parallel"))
REPORT = os.path.join(PARALLEL, "report.html")
LOGS, RESULTS_FILE = (os.path.join(OUTPUT, name) for name in ("log", "results.md"))

CONFIG = "configs/demo/outlines_spnas_{}.yaml"
TRAIN = f"train_net.py --config-file {CONFIG.format('serial')} --resume"
#: name -> arguments of python
STEPS = {
    "train the start network": f"{TRAIN} OUTPUT_DIR {START}",
    "serial search": f"search_net.py --config-file {CONFIG.format('serial')} MODEL.WEIGHTS {START}/model_final.pth",
    "parallel search": f"search_net.py --config-file {CONFIG.format('parallel')}",
}


class Times:
    """Seconds of all trainings and searches by their logs, and the same time in iterations of other networks."""

    def __init__(self):
        #: iterations of the start network, and of the parallel winner at the end
        self.iterations = load_config(CONFIG.format("serial")).SOLVER.MAX_ITER
        self.step = statistics.median(line["time"] for line in read_metrics(START) if "time" in line)
        serial, parallel = read_log(SERIAL), read_log(PARALLEL)
        self.first, self.second = (sum(c.seconds for c in log.history()) for log in (serial, parallel))
        # The same iterations of two networks, evaluation included.
        start, winner = serial.history()[0], parallel.history()[0]
        self.winner_step = self.step * winner.seconds / start.seconds
        self.parallel_step = self.step * parallel.best()[0].seconds / start.seconds

    def training(self):
        """Seconds of the last training of the parallel winner."""
        return self.iterations * self.parallel_step

    def start_network(self):
        """Iterations of the start network alone in the total time."""
        return self.iterations + round((self.first + self.second + self.training()) / self.step)

    def serial_winner(self):
        """Iterations of the serial winner after the first search."""
        return round((self.second + self.training()) / self.winner_step)


def codes():
    """Codes of start network, serial winner and parallel winner."""
    serial, parallel = read_log(SERIAL), read_log(PARALLEL)
    return serial.history()[0].network, serial.best()[0].network, parallel.best()[0].network


def run_all(steps):
    """Run the steps that are not done."""
    generate_images(steps)
    for name, arguments in STEPS.items():
        steps(name, *arguments.split())
    start, serial, parallel = codes()
    times = Times()

    def train(name, code, weights, iterations):
        settings = f"MODEL.SPNAS.CODE {code} MODEL.WEIGHTS {weights} SOLVER.MAX_ITER {iterations}"
        return f"{TRAIN} {settings} OUTPUT_DIR {OUTPUT}/{name} {TEST_SET}"

    run_side_by_side(
        steps,
        {
            "train the start network for all the time": train("start_alone", start, "''", times.start_network()),
            "train the serial winner on": train("serial_on", serial, f"{SERIAL}/best.pth", times.serial_winner()),
            "train the parallel winner on": train("parallel_on", parallel, f"{PARALLEL}/best.pth", times.iterations),
            "report": f"{STEPS['parallel search']} --report",
        },
    )


def results(seconds):
    """The tables at the end, as text."""
    times, (start, serial, parallel) = Times(), codes()
    scores, others = ({c.network: c for c in read_log(folder).history()} for folder in (SERIAL, PARALLEL))
    total = times.iterations * times.step + times.first + times.second + times.training()
    rows = [
        [f"{name}, {code}", candidate.costs["backbone_flops"] / 1e6, candidate.score, test_ap(f"{OUTPUT}/{folder}")]
        for name, code, candidate, folder in (
            ("start network", start, scores[start], "start_alone"),
            ("serial winner", serial, scores[serial], "serial_on"),
            ("parallel winner", parallel, others[parallel], "parallel_on"),
        )
    ]
    headers = ["network", "M multiply-adds", "AP in the search", f"AP on the test images after {total:.0f} s in all"]
    files = [
        ["every candidate of the two searches", f"{SERIAL}/search.jsonl, {PARALLEL}/search.jsonl"],
        ["pictures of the searches", f"{SERIAL}/search.png, {PARALLEL}/search.png"],
        ["the winner's code", f"{PARALLEL}/best.yaml"],
        ["its detector, trained on", f"{OUTPUT}/parallel_on/model_final.pth"],
        ["output of all commands", LOGS],
        ["this table", RESULTS_FILE],
    ]
    return as_text(rows, headers, seconds, files)
