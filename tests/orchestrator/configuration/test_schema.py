"""The JSON Schemas that editors use say what the configuration accepts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from controllers.laws import LAWS
from orchestrator.commands.schema import FILES, json_schema
from orchestrator.errors import ConfigError

CONFIGS = Path(__file__).parents[3] / "configs"
SHIPPED = sorted(CONFIGS.rglob("*.yaml"))


def definitions(schema):
    return schema["$defs"]


def test_campaign_schema_is_json_and_names_every_section():
    schema = json_schema("campaign")
    assert json.loads(json.dumps(schema)) == schema
    assert {"name", "policy", "task", "learner", "arms", "seeds"} <= schema["properties"].keys()
    assert schema["additionalProperties"] is False


def resolve(schema, node):
    while "$ref" in node:
        node = definitions(schema)[node["$ref"].rpartition("/")[2]]
    return node


@pytest.mark.parametrize("of", FILES)
def test_every_reference_leads_somewhere(of):
    schema = json_schema(of)

    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                assert node["$ref"].rpartition("/")[2] in definitions(schema), node
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema)


def test_sections_have_the_settings_of_what_they_become_and_none_is_required():
    schema = json_schema("campaign")
    learner = resolve(schema, schema["properties"]["learner"])
    assert "learning_rate" in learner["properties"]
    assert "iterations" not in learner.get("required", [])
    arm = definitions(schema)["ArmConfig"]
    assert resolve(schema, arm["properties"]["learner"]) == learner


def test_every_law_is_there_with_its_kind():
    schema = json_schema("method")
    for kind, law in LAWS.items():
        member = definitions(schema)[law.__name__]
        assert member["properties"]["kind"]["const"] == kind
        assert "kind" in member["required"]


def mappings(node):
    """Every mapping with keys of ours, at any depth of a schema."""
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            yield node["properties"]
        for value in node.values():
            yield from mappings(value)
    elif isinstance(node, list):
        for value in node:
            yield from mappings(value)


@pytest.mark.parametrize("of", FILES)
def test_every_key_has_a_description_in_plain_sentences(of):
    keys = [(key, value) for properties in mappings(json_schema(of)) for key, value in properties.items()]
    assert len(keys) > 20
    for key, value in keys:
        assert len(value.get("description", "")) > 10, key
        assert value["description"].rstrip(")`").endswith("."), key
        assert not re.match(r"(Of|That|Which) ", value["description"]), key


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.relative_to(CONFIGS)))
def test_a_shipped_file_names_its_schema_and_is_valid_by_it(file):
    first, _, text = file.read_text().partition("\n")
    (name,) = re.fullmatch(r"# yaml-language-server: \$schema=([\w./]+)", first).groups()
    schema = json.loads((file.parent / name).read_text())
    jsonschema.validate(yaml.safe_load(text), schema)


def test_an_arm_and_a_phase_may_change_one_key_of_a_part():
    campaign = {"name": "a", "task": {"kind": "arithmetic"}, "learner": {"iterations": 1}}
    arm = {"name": "b", "method": "aer", "loops": {"entropy": {"reference": {"fraction": 0.6}}}}
    phases = [{"start": 5, "task": {"operations": ["-"]}}]
    schema = json_schema("campaign")
    jsonschema.validate({**campaign, "arms": [arm], "phases": phases}, schema)
    arm["loops"]["entropy"]["reference"] = {"fractoin": 0.6}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**campaign, "arms": [arm]}, schema)
    with pytest.raises(jsonschema.ValidationError, match="'kind' is a required property"):
        jsonschema.validate({**campaign, "task": {"operations": ["-"]}, "arms": [arm]}, schema)


def test_unknown_schema():
    with pytest.raises(ConfigError, match="unknown schema 'campain'; did you mean 'campaign'"):
        json_schema("campain")
