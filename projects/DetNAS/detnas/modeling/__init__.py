# First, so that what registers itself with Detectron2 is whole before any module here goes on.
import detectron2  # noqa: F401
