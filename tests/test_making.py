"""What kinds that take long share."""

from skinjax import making


def test_each_call_moves_the_bar_and_gives_what_the_function_gives(capsys):
    with making.counted(lambda a, b: a * b, 3, 'product') as told:
        assert [told(2, 3), told(4, 5), told(6, 7)] == [6, 20, 42]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('product 3/3, ') and line.endswith(' products/s, 0s left')
