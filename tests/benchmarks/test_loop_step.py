from benchmarks import loop_step
from controllers import LAWS


def test_every_law_is_measured():
    assert set(loop_step.SETTINGS) >= set(LAWS)
    assert {LAWS[kind](**loop_step.SETTINGS[kind]).kind for kind in LAWS} == set(LAWS)
