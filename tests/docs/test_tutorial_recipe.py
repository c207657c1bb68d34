"""The tutorial on TensorRec's recipe runs, and its text is true."""

import runpy
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial_tensorrec_recipe.py"


@pytest.mark.data
def test_the_recipe_is_as_good_as_chance_on_what_was_really_bought(
    real_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (real_data / "retail_case_study").is_dir():
        pytest.skip("AISLE_DATA has no retail_case_study: NOT CHECKED on real data")
    monkeypatch.setenv("AISLE_DATA", str(real_data))
    monkeypatch.setattr("sys.argv", [str(TUTORIAL), "50"])
    found = runpy.run_path(str(TUTORIAL), run_name="__main__")
    said = capsys.readouterr().out
    assert "77,908 joined lines, 3,899 customers, 92 materials" in said
    assert "201,179 cells above 0" in said
    assert "928 customers, 1,061 cells, 60 of them bought before" in said
    assert found["distinct"] == 6
    mean = found["mean"]
    recipe, often, sells, random = "the recipe", "what is above 0 most often", "what sells", "random"
    assert mean[recipe, "hidden", 80] == pytest.approx(0.887, abs=0.02), "what TensorRec itself reaches"
    assert mean[random, "hidden", 80] == pytest.approx(80 / 92, abs=0.005)
    assert mean[often, "hidden", 80] > 0.99
    assert mean[recipe, "bought", 10] == pytest.approx(mean[random, "bought", 10], abs=0.015)
    assert mean[sells, "bought", 10] > mean[recipe, "bought", 10] + 0.04
    for figures in (found["honest"], found["later"]):
        ten = {name: row[1] for name, row in figures.items()}
        assert ten["features of the recipe"] == pytest.approx(ten["random"], abs=0.025)
        assert ten["an id for each item"] > ten["features of the recipe"] + 0.02
        assert ten["what sells"] > ten["an id for each item"] - 0.01, "nothing beats one list for everybody"


def test_without_data_the_tutorial_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("AISLE_DATA", raising=False)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TUTORIAL), run_name="__main__")
    assert stop.value.code == 0
    assert "SKIPPED: AISLE_DATA" in capsys.readouterr().out
