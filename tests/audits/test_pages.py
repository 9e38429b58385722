"""What audits print."""

from skinjax.audits import pages


def test_slow_items_are_counted_and_quick_ones_are_not(monkeypatch, capsys):
    assert list(pages.counted((k * k for k in range(4)), 4, 'map')) == [0, 1, 4, 9]
    assert capsys.readouterr().err == ''
    monkeypatch.setattr(pages, 'SHOWN_AFTER', 0.0)
    assert list(pages.counted(iter('abc'), 3, 'map')) == ['a', 'b', 'c']
    assert 'map 3/3' in capsys.readouterr().err
