"""The tutorial runs, and its text is true."""

import runpy
from pathlib import Path

import numpy as np
import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial_retail_case_study.py"


@pytest.mark.data
def test_the_tutorial_finds_what_its_text_says(
    real_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (real_data / "retail_case_study").is_dir():
        pytest.skip("AISLE_DATA has no retail_case_study: NOT CHECKED on real data")
    monkeypatch.setenv("AISLE_DATA", str(real_data))
    found = runpy.run_path(str(TUTORIAL), run_name="__main__")
    said = capsys.readouterr().out
    assert "23,053 rows read = 23,040 accepted + 13 rejected" in said
    assert (found["merged"].height, found["positive"].sum(), found["bought"].sum()) == (77_908, 201_179, 15_975)
    assert found["invented"].sum() == 185_884
    mean = found["mean"]
    assert mean["random", "positive", 80] == pytest.approx(80 / 92, abs=0.005)
    assert mean["most positive", "positive", 80] > 0.99
    assert mean["random", "bought", 10] == pytest.approx(10 / 92, abs=0.01)
    for assessment in (found["by_product"], found["by_material"]):
        verdict = assessment.certificate["verdict"]
        assert verdict["personal_signal"] is False
        assert verdict["ship"].endswith("popularity")
    floor, models = (found["by_material"].certificate[part] for part in ("floor", "models"))
    assert models["popularity"]["ndcg@10"]["low"] > floor["ndcg@10"]
    assert np.isclose(found["recall"](found["places"], found["truth"], 10), 1.0), "the leak finds everything"


def test_without_data_the_tutorial_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("AISLE_DATA", raising=False)
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TUTORIAL), run_name="__main__")
    assert stop.value.code == 0
    assert "SKIPPED: AISLE_DATA" in capsys.readouterr().out
