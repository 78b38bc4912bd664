from sweeps.reporting.looks import COLOURS, WEAK, numbers


def test_a_trial_has_one_look_in_all_stages():
    found = numbers([["a", "b", "c"], ["b", "d"], ["d", "a", "e"]])
    assert found == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4}


def test_no_two_trials_of_a_stage_have_one_colour_and_none_is_pale():
    stages = [list("abcde"), list("cfghi"), list("fjklm"), list("anopq")]
    found = numbers(stages)
    for keys in stages:
        assert len({found[key] % COLOURS for key in keys}) == len(keys)
    assert WEAK not in {number % COLOURS for number in found.values()}
    assert len(set(found.values())) == len(found)


def test_a_stage_of_more_trials_than_colours_has_as_many_looks():
    keys = [str(number) for number in range(50)]
    assert len(set(numbers([keys]).values())) == 50
