"""What each key has used: kept as text, summed over agents, the busiest first."""

from store.keys import KeyUsage, dumped_keys, summed_keys


def test_keys_of_several_agents_are_summed_by_label() -> None:
    first = dumped_keys({"web": KeyUsage(2, 30, 40), "mtok.probe": KeyUsage(1, 2, 1)})
    second = dumped_keys({"web": KeyUsage(1, 3, 4), "ünïcode": KeyUsage(9, 90, 900)})
    assert summed_keys([first, second, ""]) == {
        "ünïcode": KeyUsage(9, 90, 900),
        "web": KeyUsage(3, 33, 44),
        "mtok.probe": KeyUsage(1, 2, 1),
    }
    assert list(summed_keys([first, second])) == ["ünïcode", "web", "mtok.probe"]
