"""plant.yaml: reads back as it was written, and says of itself what is wrong with it."""

from __future__ import annotations

from dataclasses import replace
from math import pi

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from controllers.plants.plant import Plant
from orchestrator.configuration.part_schema import to_plain
from orchestrator.engineering.plant_file import PlantFile, plant_text, read_plant, yaml_text
from orchestrator.errors import ConfigError
from tests.orchestrator.engineering.conftest import PLANT, plant_file

numbers = st.floats(allow_nan=False, allow_infinity=False, width=64)


def test_a_plant_file_reads_back_equal(write_plant):
    assert read_plant(write_plant()) == plant_file()


@given(numbers)
def test_every_number_survives_the_text(value):
    read = yaml.safe_load(yaml_text({"value": value}))["value"]
    assert isinstance(read, float)
    assert read == value


def test_awkward_numbers_survive_the_file_itself(tmp_path):
    plant = replace(PLANT, drift=-1e-05, b=(pi / 1e7,), a=(1.0,), noise_std=5e-324)
    path = tmp_path / "plant.yaml"
    path.write_text(plant_text(plant_file(plant)))
    assert read_plant(path).plant == plant


def changed(path, key, value):
    content = yaml.safe_load(path.read_text())
    *parents, last = key.split(".")
    node = content
    for parent in parents:
        node = node[parent]
    if value is None:
        del node[last]
    else:
        node[last] = value
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("plant.driift", 1.0, r"plant\.yaml: plant\.driift: unknown key; did you mean 'drift'\?"),
        ("plant.drift", None, r"plant\.yaml: plant\.drift: is missing; add it"),
        ("channel", None, r"plant\.yaml: channel: is missing"),
        ("plant.delay", 0, r"plant\.yaml: plant: delay must be >= 1, got 0"),
        ("plant.noise_std", "much", r"plant\.noise_std: .*number"),
        ("plant.covariance", [[1.0]], r"plant: covariance must be 3 × 3"),
        (
            "channel.actuator.kind",
            "bonsu",
            r"channel\.actuator\.kind: unknown kind 'bonsu'; did you mean 'bonus'",
        ),
        ("channel.limits", [1.0, -1.0], r"channel: limits must be \[low, high\] with low < high"),
        ("channel.learning_rate", 0.0, r"channel\.learning_rate: .* greater than 0"),
        ("origin.camapign", "x", r"origin\.camapign: unknown key; did you mean 'campaign'"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(write_plant, key, value, message):
    with pytest.raises(ConfigError, match=message):
        read_plant(changed(write_plant(), key, value))


def test_a_preset_is_no_plant(tmp_path):
    path = tmp_path / "preset.yaml"
    path.write_text("method: x\n")
    with pytest.raises(ConfigError, match="is a method preset, not a plant"):
        read_plant(path)


def test_no_file_is_said_so(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_plant(tmp_path / "none.yaml")


def test_the_file_explains_its_model_and_holds_nothing_else(write_plant):
    text = write_plant().read_text()
    assert "z_t = a_1·z_{t−1}" in text
    assert set(yaml.safe_load(text)) == set(PlantFile.model_fields)
    assert set(yaml.safe_load(text)["plant"]) == set(to_plain(PLANT))
    assert isinstance(plant_file().plant, Plant)
