"""SP-NAS: serial-to-parallel backbone search for object detection (Jiang et al., CVPR 2020), on Detectron2."""
