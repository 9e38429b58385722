"""What kinds that take long share."""

from skinjax import making


def test_each_call_moves_the_bar_and_gives_what_the_function_gives(capsys):
    with making.counted(lambda a, b: a * b, 3, 'product') as told:
        assert [told(2, 3), told(4, 5), told(6, 7)] == [6, 20, 42]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('product 3/3, ') and line.endswith(' products/s, 0s left')


def test_slow_items_are_counted_and_quick_ones_are_not(capsys):
    for delay, shown in ((60.0, ''), (0.0, 'map 4/4')):
        with making.counted(lambda k: k * k, 4, 'map', delay) as told:
            assert [*map(told, range(4))] == [0, 1, 4, 9]
        err = capsys.readouterr().err
        assert shown in err and bool(shown) == bool(err)
