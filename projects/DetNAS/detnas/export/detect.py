"""
Finds objects in images, without Detectron2 and torch:

    python detect.py IMAGE [IMAGE ...]        needs numpy, Pillow and the engine that detector.json names

Keep detector.onnx and detector.json beside this file. Prints a line of JSON for each object: "file", "class",
"score", and "box": x0, y0, x1, y1 in pixels of the displayed image.
"""

import json
import os
import sys

import numpy as np
from PIL import Image, ImageOps


class Detector:
    def __init__(self, folder):
        with open(os.path.join(folder, "detector.json"), encoding="utf-8") as f:
            self.about = json.load(f)
        file = os.path.join(folder, "detector.onnx")
        if self.about["engine"] == "onnxruntime":
            import onnxruntime
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.about["threads"]
            session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
            self.run = lambda image: session.run(None, {"image": image})
        else:
            import openvino
            precision = "bf16" if self.about["engine"] == "openvino_bf16" else "f32"
            network = openvino.Core().compile_model(file, "CPU", {
                "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": self.about["threads"],
                "PERFORMANCE_HINT": "LATENCY"})
            self.run = lambda image: network(image).to_tuple()

    def __call__(self, photo):
        """Objects in a Pillow image, best first: list of {"class", "score", "box"}."""
        photo, about = ImageOps.exif_transpose(photo).convert("RGB"), self.about
        scale = 1.0
        if about["shorter_side"]:
            scale = min(about["shorter_side"] / min(photo.size), about["longer_side"] / max(photo.size))
        small = photo.resize([int(side * scale + 0.5) for side in photo.size], Image.Resampling.BILINEAR)
        pixels = np.asarray(small, np.float32)[:, :, :: -1 if about["pixels"] == "BGR" else 1]
        boxes, scores, classes = self.run(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        boxes = boxes * np.tile(np.divide(photo.size, small.size), 2)
        names = about["classes"] or range(1 + max(classes, default=0))
        return [{"class": names[number], "score": round(score, 5), "box": [round(side, 2) for side in box]}
                for box, score, number in zip(boxes.tolist(), scores.tolist(), classes)]


if __name__ == "__main__":
    detect = Detector(os.path.dirname(os.path.abspath(__file__)))
    for name in sys.argv[1:]:
        for found in detect(Image.open(name)):
            print(json.dumps({"file": name, **found}))
