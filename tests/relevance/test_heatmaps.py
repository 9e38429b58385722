"""Colours of maps."""

import numpy as np

from skinjax.relevance import heatmaps


def test_strength_is_relative_to_all_but_the_largest_pixels():
    heat = np.zeros((100, 100), np.float16)
    heat[:50] = 1
    heat[0, 0], heat[0, 1] = 1000, -1000
    found = heatmaps.strength(heat)
    assert found[0, 0] == 1 and found[0, 1] == -1 and found[1, 0] == 1 and found[99, 0] == 0
    single = np.zeros((100, 100))
    single[3, 3] = 5
    assert heatmaps.strength(single)[3, 3] == 1
    assert not heatmaps.strength(np.zeros((2, 2))).any()


def test_red_speaks_for_and_blue_against():
    red, white, blue = heatmaps.coloured(np.array([[1.0, 0.0, -1.0]]), signed=True)[0]
    assert red[0] > 2 * red[2] and blue[2] > 2 * blue[0] and white.min() > 240
    low, high = heatmaps.coloured(np.array([[0.0, 1.0]]), signed=False)[0]
    assert low.max() < 10 and high.min() > 150


def test_overlay_is_the_grey_image_where_there_is_no_relevance():
    image = np.full((4, 4, 3), (200, 100, 50), np.uint8)
    heat = np.zeros((4, 4))
    heat[0, 0] = -1
    found = heatmaps.overlay(image, heat, signed=True)
    assert (found[1:] == found[1, 1, 0]).all() and abs(int(found[1, 1, 0]) - 124) <= 1
    assert found[0, 0, 2] > found[0, 0, 0]
    assert [p.shape for p in heatmaps.panel(image, heat, signed=True)] == [(160, 160, 3)] * 3
