import numpy as np
import pytest
from PIL import Image

from detnas.data.reading import ImageReader

BYTES = 4 * 6 * 3


@pytest.fixture
def files(tmp_path):
    """Three images of 4 x 6, all black."""
    names = [str(tmp_path / f"{number}.png") for number in range(3)]
    for name in names:
        Image.new("RGB", (6, 4)).save(name)
    return names


@pytest.mark.parametrize("budget, kept", [(0, 0), (BYTES - 1, 0), (2 * BYTES, 2), (10**6, 3)])
def test_as_many_images_are_kept_as_the_budget_allows(files, budget, kept):
    read = ImageReader(budget=budget)
    for name in files:
        assert read({"file_name": name}, "BGR").max() == 0
    # What is read from now on is white.
    for name in files:
        Image.new("RGB", (6, 4), (255, 255, 255)).save(name)
    assert [read({"file_name": name}, "BGR").max() for name in files] == [0] * kept + [255] * (3 - kept)


def test_what_is_done_to_an_image_does_not_show_in_the_next_one(files):
    read = ImageReader(budget=10**6)
    for _ in range(3):
        image = read({"file_name": files[0]}, "BGR")
        assert image.max() == 0
        image = np.require(image, requirements="W")
        image += 7


def test_an_image_is_kept_for_each_format(files):
    Image.new("RGB", (6, 4), (255, 0, 0)).save(files[0])
    read = ImageReader(budget=10**6)
    for _ in range(2):
        assert read({"file_name": files[0]}, "RGB")[0, 0].tolist() == [255, 0, 0]
        assert read({"file_name": files[0]}, "BGR")[0, 0].tolist() == [0, 0, 255]
        assert read({"file_name": files[0]}, "L").shape == (4, 6, 1)
