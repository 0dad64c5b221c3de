"""The example notebook runs from top to bottom; its cells are executed as they stand, without a notebook server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import entrostat

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"


def sources():
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_the_notebook_simulates_reads_and_plots(make_campaign, tmp_path, monkeypatch):
    make_campaign()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(entrostat, "run", lambda *_: pytest.fail("the campaign is there already"))
    found = {}
    for place, source in enumerate(sources()):
        exec(compile(source, f"cell {place}", "exec"), found)
    trace, records, table = found["trace"], found["records"], found["table"]
    assert len(trace) == 1000
    assert trace.entropy.iloc[-1] == pytest.approx(0.5, abs=0.01)
    assert [len(each.data) for each in (found["held"], found["curves"])] == [2, 3]
    assert set(records.arm) == {"grpo", "entropic", "aer"}
    assert set(records.metric) == {"entropy", "reward", "eval/pass_at_1"}
    assert len(records[records.metric == "entropy"]) == 3 * 3 * 150
    assert list(table.iloc[:, 0]) == ["grpo", "entropic", "aer"]


def test_it_is_kept_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text())
    assert notebook["nbformat"] == 4
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_tables_are_those_of_the_commands(make_campaign, tmp_path, monkeypatch):
    make_campaign(seeds=(0,))
    monkeypatch.chdir(tmp_path)
    wide = entrostat.read("quickstart", metrics=["entropy"], wide=True)
    assert {"arm", "step", "entropy"} <= set(wide.columns)
    with pytest.raises(ValueError, match="unknown table 'sumary'; did you mean 'summary'"):
        entrostat.compare("quickstart", table="sumary")
    with pytest.raises(ValueError, match="no run has the metric 'entropi'"):
        entrostat.read("quickstart", metrics=["entropi"])
