"""The JSON Schemas that editors use say what the configuration accepts."""

from __future__ import annotations

import json

import pytest

from controllers.laws import LAWS
from orchestrator.commands.schema import json_schema
from orchestrator.errors import ConfigError


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


@pytest.mark.parametrize("of", ["campaign", "method"])
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


def test_unknown_schema():
    with pytest.raises(ConfigError, match="unknown schema 'campain'; did you mean 'campaign'"):
        json_schema("campain")
