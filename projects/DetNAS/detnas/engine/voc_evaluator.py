"""Average precision of boxes in VOC form."""

import logging
import os
import tempfile
from collections import defaultdict

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from detectron2.evaluation import PascalVOCDetectionEvaluator, pascal_voc_evaluation
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import log_first_n

from detnas.data.voc import joined_ids, read_ids

#: overlaps in percent over which AP is a mean
THRESHOLDS = range(50, 100, 5)


class VOCEvaluator(PascalVOCDetectionEvaluator):
    """
    Detectron2's VOC evaluation, made fit for the small and the joined sets of a search: classes without an object that
    counts (not "difficult") are left out of the means, where Detectron2 has 0 or NaN for them; and the images may lie
    in several folders, see :func:`detnas.data.voc.joined_ids`. The metric is that of the metadata's ``year``: 11 points
    for 2007, else the area under the curve.

    Args:
        dataset_name: a registered data set in VOC form.
        distributed: whether the images are spread over the processes, so that predictions are gathered and the main
            process alone has the results; else each process evaluates what it has seen.
    """

    def __init__(self, dataset_name, distributed=True):
        # Not Detectron2's constructor, which knows a single folder. These three names are what its process() uses.
        self._dataset_name = dataset_name
        self._cpu_device = torch.device("cpu")
        self.reset()
        self._metadata = MetadataCatalog.get(dataset_name)
        self._distributed = distributed

    def evaluate(self):
        """
        Returns:
            {"bbox": {"AP", "AP50", "AP75", "AP50-CLASS" of each class that has objects}} in percent; {} on all
            processes but the main one.

        Raises:
            ValueError: if no image has an object that counts.
        """
        gathered = comm.gather(self._predictions) if self._distributed else [self._predictions]
        if self._distributed and not comm.is_main_process():
            return {}
        predictions = defaultdict(list)  # class number -> lines "image_id score xmin ymin xmax ymax"
        for part in gathered:
            for number, lines in part.items():
                predictions[number].extend(lines)

        template, objects = self._ground_truth()
        # Scores are rounded, and Detectron2 breaks ties by the order of the lines: the images' order, not the batches'.
        number = {image_id: i for i, image_id in enumerate(objects)}
        for lines in predictions.values():
            lines.sort(key=lambda line: number[line.split(" ", 1)[0]])
        counted = {obj["name"] for found in objects.values() for obj in found if not obj["difficult"]}
        classes = self._metadata.thing_classes
        self._report_absent([name for name in classes if name not in counted])
        aps = {
            name: self._average_precisions(name, predictions[number], template, objects)
            for number, name in enumerate(classes)
            if name in counted
        }
        mean = dict(zip(THRESHOLDS, np.mean(list(aps.values()), axis=0).tolist()))
        results = {"AP": float(np.mean(list(mean.values()))), "AP50": mean[50], "AP75": mean[75]}
        return {"bbox": {**results, **{f"AP50-{name}": values[0] for name, values in aps.items()}}}

    def _ground_truth(self):
        """Template of the annotation files, and the objects in them by image id."""
        metadata = self._metadata
        folders = metadata.get("folders")
        if folders:
            ids, folder = joined_ids(metadata.dirname, folders, metadata.split), metadata.dirname
        else:
            ids, folder = read_ids(metadata.dirname, metadata.split), os.path.join(metadata.dirname, "Annotations")
        template = os.path.join(PathManager.get_local_path(folder), "{}.xml")
        return template, {image_id: pascal_voc_evaluation.parse_rec(template.format(image_id)) for image_id in ids}

    def _report_absent(self, absent):
        name, total = self._dataset_name, len(self._metadata.thing_classes)
        if len(absent) == total:
            raise ValueError(f'data set "{name}": no image has an object of its classes that is not difficult')
        if absent:
            # Said once, though a search evaluates a thousand times; a warning, because a search hides what is less.
            words = f'data set "{name}": {len(absent)} of {total} classes have no object and are left out of the mean: '
            log_first_n(logging.WARNING, words + ", ".join(absent), key="message")

    def _average_precisions(self, name, lines, template, objects):
        """AP of a class in percent at each of ``THRESHOLDS``."""
        detected = {line.split(" ", 1)[0] for line in lines}
        # Other images have no say, and Detectron2 would go through all of them again for each threshold.
        ids = [i for i, found in objects.items() if i in detected or any(obj["name"] == name for obj in found)]
        with tempfile.TemporaryDirectory(prefix="voc_eval_") as folder:
            files = {"images": ids, "detections": lines}
            for file, content in files.items():
                with open(os.path.join(folder, file), "w") as f:
                    f.write("\n".join(content))
            detections, images = os.path.join(folder, "detections"), os.path.join(folder, "images")
            aps = []
            for threshold in THRESHOLDS:
                # The class name goes into no file name: it may have a slash in it.
                _, _, ap = pascal_voc_evaluation.voc_eval(
                    detections, template, images, name, threshold / 100, use_07_metric=self._metadata.year == 2007
                )
                aps.append(100 * float(ap))
        return aps
