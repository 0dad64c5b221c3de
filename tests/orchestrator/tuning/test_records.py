"""A name stands for one study: made once, found again, refused for another."""

from __future__ import annotations

from contextlib import contextmanager

import optuna
import pytest

from orchestrator.errors import ConfigError
from orchestrator.storage.run_folder import CampaignFolder, CampaignInfo
from orchestrator.tuning.judging import search
from orchestrator.tuning.records import AT_ONCE, DEFINITION, open_study, store_simulation, stored_simulation
from tests.orchestrator.tuning.conftest import KI, KP, SIMULATION, ask

CONSTRAINTS = {"collapse": {"fraction": 0.5}}


def test_the_same_study_is_found_again(make_study, storage):
    first = open_study(make_study(), storage)
    first.tell(ask(first), 1.0)
    again = open_study(make_study(budget={"trials": 50}, pruner={"kind": "halving"}, workers=3), storage)
    assert len(again.trials) == 1
    assert again.metric_names == ["iae"]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (
            {
                "space": {
                    KP: {"low": 0.01, "high": 5.0, "log": True},
                    KI: {"low": 0.001, "high": 1.0, "log": True},
                }
            },
            f"space.{KP}.high: stored 10.0, now 5.0",
        ),
        ({"space": {KP: {"low": 0.01, "high": 10.0, "log": True}}}, f"space.{KI}"),
        ({"objective": "rmse"}, "objective: stored ['iae'], now ['rmse']"),
        ({"seeds": [0, 1, 2]}, "seeds"),
        ({"constraints": {"collapse": {"fraction": 0.5}}}, "constraints.collapse"),
        (
            {"in_campaign": {"arms.0.loops.entropy.reference.value_nats": 0.3}},
            "arm.loops.entropy.reference.value_nats: stored 0.4, now 0.3",
        ),
    ],
)
def test_another_study_of_the_name_is_refused_with_what_differs(make_study, storage, changes, names):
    open_study(make_study(), storage)
    with pytest.raises(ConfigError) as caught:
        open_study(make_study(**changes), storage)
    assert names in str(caught.value)
    assert "give this study another name" in str(caught.value)


def test_a_study_of_before_a_setting_came_is_the_same_study(make_study, storage):
    """A key that is new has a default that keeps what trials did without it."""
    study = make_study(constraints=CONSTRAINTS, simulation=SIMULATION)
    found = open_study(study, storage)
    older = study.definition()
    del older["arm"]["learner"]["betas"]
    del older["constraints"]["collapse"]["window"]
    del older["space"][KP]["when"]
    found.set_user_attr(DEFINITION, older)
    open_study(study, storage)
    simulated = store_simulation(study, storage, search(study))
    older = study.simulated_definition()
    del older["simulation"]["sampler"]
    simulated.set_user_attr(DEFINITION, older)
    assert stored_simulation(study, storage) is not None
    with pytest.raises(ConfigError, match=r"differs \(arm\.learner\.iterations: stored 20, now 21\)"):
        open_study(make_study(constraints=CONSTRAINTS, in_campaign={"learner.iterations": 21}), storage)


def test_a_study_that_has_a_hash_of_its_arm_is_known_by_the_arm_in_its_folder(make_study, storage):
    """Earlier versions stored the hash, which another setting makes another one."""
    study = make_study()
    found = open_study(study, storage)
    hashed = study.definition() | {"arm": "of an earlier version"}
    found.set_user_attr(DEFINITION, hashed)
    with pytest.raises(
        ConfigError, match=f"arm: stored 'of an earlier version', now '{study.arm.fingerprint}'"
    ):
        open_study(study, storage)
    CampaignFolder(study.folder).write_info(CampaignInfo(name="gains", config=study.plain))
    with pytest.raises(ConfigError, match=r"arm\.learner\.iterations: stored 20, now 21"):
        open_study(make_study(in_campaign={"learner.iterations": 21}), storage)
    assert found.user_attrs[DEFINITION] == hashed
    open_study(study, storage)
    assert open_study(study, storage).user_attrs[DEFINITION] == study.definition()  # on other machines too


def test_a_study_that_others_made_is_left_alone(make_study, storage):
    theirs = optuna.create_study(study_name="gains", storage=storage)
    theirs.tell(ask(theirs), 1.0)
    with pytest.raises(ConfigError, match="that Entrostat did not make"):
        open_study(make_study(), storage)


def test_stage_one_is_stored_once_and_found_complete(make_study, storage):
    study = make_study(simulation=SIMULATION)
    assert stored_simulation(study, storage) is None
    found = search(study)
    stored = store_simulation(study, storage, found)
    again = stored_simulation(study, storage)
    assert [t.values for t in again.trials] == [t.values for t in found.trials]
    assert [t.params for t in stored.trials] == [t.params for t in found.trials]
    assert store_simulation(study, storage, found)._study_id == stored._study_id  # another machine, as fast
    with pytest.raises(ConfigError, match=r"initial_nats: stored 0\.5, now 0\.6"):
        stored_simulation(make_study(simulation={**SIMULATION, "initial_nats": 0.6}), storage)


def test_how_many_are_handed_on_may_change(make_study, storage):
    study = make_study(simulation=SIMULATION)
    store_simulation(study, storage, search(study))
    assert stored_simulation(make_study(simulation={**SIMULATION, "enqueue": 1}), storage) is not None


def test_a_writer_of_stage_one_that_dies_half_way_is_gone_on_with(make_study, storage, monkeypatch):
    """Half of stage one is none; the next command writes the other half, each candidate once."""
    study = make_study(simulation=SIMULATION)
    searched = search(study)
    written, real = [], storage.create_new_trial

    def killed(*arguments):
        if len(written) == AT_ONCE + 3:
            raise KeyboardInterrupt
        written.append(real(*arguments))
        return written[-1]

    with monkeypatch.context() as half_way:
        half_way.setattr(storage, "create_new_trial", killed)
        with pytest.raises(KeyboardInterrupt):
            store_simulation(study, storage, searched)
    assert stored_simulation(study, storage) is None
    half = optuna.load_study(study_name="gains.simulated", storage=storage)
    assert len(half.trials) == AT_ONCE
    stored = store_simulation(study, storage, searched)
    assert [t.params for t in stored.trials] == [t.params for t in searched.trials]
    assert len(stored_simulation(study, storage).trials) == 64


def test_two_commands_that_write_stage_one_at_once_write_each_candidate_once(
    make_study, storage, monkeypatch
):
    study = make_study(simulation=SIMULATION)
    searched = search(study)
    real = storage.alone

    @contextmanager
    def between(found):
        """The other command comes in before each transaction of this one but its own."""
        with monkeypatch.context() as other:
            other.setattr(storage, "alone", real)
            store_simulation(study, storage, searched)
        with real(found):
            yield

    monkeypatch.setattr(storage, "alone", between)
    stored = store_simulation(study, storage, searched)
    assert [t.values for t in stored.trials] == [t.values for t in searched.trials]


def test_stage_one_is_stored_with_all_that_it_found(make_study, storage):
    study = make_study(simulation=SIMULATION)
    searched = search(study)
    stored = store_simulation(study, storage, searched)
    for one, other in zip(stored.trials, searched.trials, strict=True):
        one._trial_id = other._trial_id
        assert one == other
