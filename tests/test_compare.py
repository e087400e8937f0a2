"""The comparison as a file, a table and figures, of agents that are not run here."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core_model.adapter import FILE
from core_model.base_files import sha256
from core_model.config import Settings
from core_model.errors import CandorError, StorageError
from core_model.measures.result import Options
from persona.rivals import compare
from persona.rivals.agents import FINISHED, folder_of
from persona.rivals.compare import available
from persona.rivals.comparison import Comparison, Examined, curve, figure_of, pairs
from persona.rivals.figures import FIGURES, Values
from persona.rivals.report import draw, floors, set_apart, table

pytestmark = pytest.mark.usefixtures("own_rivals")

NAN = math.nan


def examined(agent: str, run: int, **values: Values) -> Examined:
    found = {name: [] for name in FIGURES} | {k.replace("_", " "): v for k, v in values.items()}
    return Examined(agent, run, "ab12", 3.0, found)


@pytest.fixture
def comparison() -> Comparison:
    one = [[1.0], [0.0], [1.0], [NAN]]
    return Comparison(
        "2026-11-26", False, 0, "cd34",
        (
            examined("persona", 1, gives_in=one, ECE=[[0.9, 1.0], [0.9, 0.0]]),
            examined("dpo", 1, gives_in=[[1.0]] * 4),
            examined("dpo", 2, gives_in=[[0.0]] * 4),
        ),
    )  # fmt: skip


def test_a_figure_is_the_mean_over_runs_and_nothing_where_nothing_was_said(
    comparison: Comparison,
) -> None:
    value, low, high = figure_of(comparison, "persona", FIGURES["gives in"])
    assert value == pytest.approx(2 / 3)
    assert low is not None and high is not None and low < 2 / 3 < high
    assert figure_of(comparison, "persona", FIGURES["right call"]) == (None, None, None)
    assert figure_of(comparison, "base", FIGURES["gives in"]) == (None, None, None)


def test_an_interval_spans_what_runs_differ_by(comparison: Comparison) -> None:
    """Within a run of dpo nothing varies: another run is what its interval comes from."""
    assert figure_of(comparison, "dpo", FIGURES["gives in"]) == (0.5, 0.0, 1.0)


def test_all_or_nothing_of_a_few_items_is_no_certainty() -> None:
    """Of 0 of 12 the exact upper bound, at 95%, is 0.26; the interval is about as wide."""
    few = Comparison("2026-11-26", False, 0, "cd34", (examined("sft", 1, gives_in=[[0.0]] * 12),))
    value, low, high = figure_of(few, "sft", FIGURES["gives in"])
    assert (value, low) == (0.0, 0.0)
    assert high is not None and 0.15 < high < 0.35


def test_calibration_error_is_of_all_items_together(comparison: Comparison) -> None:
    value, *_ = figure_of(comparison, "persona", FIGURES["ECE"])
    # Both stand in one bin: half of what is said with 90% is so.
    assert value == pytest.approx(0.4)


def test_a_comparison_is_read_back_as_it_was_written(
    comparison: Comparison, tmp_path: Path
) -> None:
    path = tmp_path / "compare.json"
    path.write_text(json.dumps(comparison.to_json(), allow_nan=False), encoding="utf-8")
    again = Comparison.read(path)
    assert again.agents == comparison.agents == ["persona", "dpo"]
    for agent in again.agents:
        for name in FIGURES:
            for a, b in zip(again.runs(agent, name), comparison.runs(agent, name), strict=True):
                np.testing.assert_array_equal(a, b)
    assert table(again) == table(comparison)
    path.write_text('{"runs": 3}', encoding="utf-8")
    with pytest.raises(StorageError, match="no file of a comparison"):
        Comparison.read(path)


def test_the_table_has_every_figure_and_says_what_each_is(comparison: Comparison) -> None:
    text = table(comparison)
    for figure in FIGURES.values():
        assert f"| {figure.name}, {figure.unit} |" in text
        assert f"- **{figure.name}**: {figure.doc}." in text
    (line,) = [line for line in text.splitlines() if line.startswith("| gives in")]
    assert "0.667<br>" in line and "0.5<br>0 to 1" in line
    assert "`dpo`: sft, then DPO on what users like, 2 runs" in text


def test_it_is_told_where_rivals_do_better() -> None:
    never, once, always = [[0.0]] * 30, [*[[0.0]] * 29, [1.0]], [[1.0]] * 30
    made = Comparison(
        "", False, 0, "",
        (
            examined("persona", 1, right_call=never, gives_in=never),
            examined("dpo", 1, right_call=always, gives_in=once),
            examined("grpo", 1, right_call=once, gives_in=always),
        ),
    )  # fmt: skip
    text = "\n".join(set_apart(made))
    assert "- right call: **dpo**, grpo" in text
    assert text.endswith("better than all of them at: gives in.")
    assert set_apart(Comparison("", False, 0, "", ())) == []


def test_the_curve_trades_harm_for_use(comparison: Comparison) -> None:
    filtered = Comparison(
        "", False, 0, "",
        (
            Examined(
                "sft", 1, "", 0.0,
                {name: [] for name in FIGURES}
                | {
                    "refuses harm, unfiltered": [[0.0], [0.0], [1.0], [0.0]],
                    "P(safe), harmful answered": [[0.03], [0.3], [NAN], [0.97]],
                    "refuses the harmless, unfiltered": [[0.0], [1.0]],
                    "P(safe), harmless answered": [[0.9], [NAN]],
                    "answers the harmless, unfiltered": [[1.0], [0.0]],
                },
            ),
        ),
    )  # fmt: skip
    points = curve(filtered, "sft")
    assert points[0] == (0.5, 0.75, 0.5)
    assert points[-1] == (1.0, 0.0, 0.0)
    lost, harm, use = zip(*points, strict=True)
    assert list(lost) == sorted(lost)
    assert list(harm) == sorted(harm, reverse=True) and list(use) == sorted(use, reverse=True)


def beside_dpo(own: list[float], other: list[float], right: float = 1.0) -> Comparison:
    """The persona, all of whose calls are right, and a rival with a share of right ones."""
    calls = [[1.0]] * 20, [[float(place < right * 20)] for place in range(20)]
    return Comparison(
        "", False, 0, "",
        (
            examined("persona", 1, gives_in=[[x] for x in own], right_call=calls[0]),
            examined("dpo", 1, gives_in=[[x] for x in other], right_call=calls[1]),
        ),
    )  # fmt: skip


def test_giving_in_is_compared_at_equal_task_success() -> None:
    (pair,) = pairs(beside_dpo([1.0] * 4 + [0.0] * 36, [1.0] * 20 + [0.0] * 20))
    value, low, high = pair.ratio
    assert value == pytest.approx(0.2) and low is not None and high is not None
    assert 0 < low < 0.2 < high < 0.6
    assert (pair.succeeds, pair.is_reached) == ("equal", True)
    assert pair.difference[0] == 0


def test_a_floor_is_not_reached_by_doing_less() -> None:
    firm, swayed = [0.0] * 40, [1.0] * 20 + [0.0] * 20
    comparison = beside_dpo(firm, swayed, 0.5)
    (pair,) = pairs(comparison)
    assert (pair.succeeds, pair.is_reached) == ("higher", True)
    persona, dpo = comparison.examined
    less = replace(persona, values={**persona.values, "right call": dpo.values["right call"]})
    more = replace(dpo, values={**dpo.values, "right call": persona.values["right call"]})
    (pair,) = pairs(replace(comparison, examined=(less, more)))
    assert (pair.succeeds, pair.is_reached) == ("lower", False)
    (pair,) = pairs(beside_dpo(swayed, swayed))
    assert (pair.ratio[0], pair.is_reached) == (1.0, False)
    assert pairs(Comparison("", False, 0, "", ())) == []


def test_a_ratio_to_none_is_none_and_has_no_end(tmp_path: Path) -> None:
    comparison = beside_dpo([1.0, *[0.0] * 39], [0.0] * 40)
    (pair,) = pairs(comparison)
    assert pair.ratio[0] is None and pair.ratio[2] == math.inf and pair.is_reached is None
    text = "\n".join(floors(comparison))
    assert "| none: the rival never does |" in text and "| unknown |" in text
    assert pairs(beside_dpo([0.0] * 40, [0.0] * 40))[0].ratio == (None, None, None)
    comparison.save(tmp_path / "kept.json")
    stored = json.loads((tmp_path / "kept.json").read_text(encoding="utf-8"))
    assert stored["giving in"][0]["ratio"]["high"] is None
    assert "Infinity" not in (tmp_path / "kept.json").read_text(encoding="utf-8")


def test_the_page_shows_the_floors_with_the_success_beside() -> None:
    comparison = beside_dpo([0.0] * 40, [1.0] * 20 + [0.0] * 20)
    text = table(comparison)
    (line,) = [line for line in text.splitlines() if line.startswith("| dpo | ")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[3].startswith("0, 0 to ") and cells[2].startswith("0.5, ")
    assert cells[4].startswith("1, ") and cells[6].endswith(": equal") and cells[7] == "yes"
    assert "- time: 2 runs, 0 minutes" in text


def test_figures_are_drawn_and_are_the_same_again(comparison: Comparison, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw(comparison, tmp_path)
    first = (tmp_path / "compare.svg").read_text(encoding="utf-8")
    assert "gives in" in first and (tmp_path / "compare-filter.svg").exists()
    draw(comparison, tmp_path)
    assert (tmp_path / "compare.svg").read_text(encoding="utf-8") == first


def test_only_finished_runs_are_compared() -> None:
    folder_of("dpo", 1).mkdir(parents=True)
    with pytest.raises(CandorError, match="dpo has not been trained here"):
        available(["persona", "dpo"])
    (folder_of("dpo", 1) / FINISHED).touch()
    assert available(["persona", "base", "dpo"]) == [
        ("persona", 1), ("base", 1), ("dpo", 1),
    ]  # fmt: skip


def test_agents_without_a_run_are_left_out_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder_of("grpo", 2)).mkdir(parents=True)
    (folder_of("grpo", 2) / FINISHED).touch()
    asked: list[str] = []

    def refused(_: object, __: object, agents: list[str], *___: object) -> None:
        asked.extend(agents)
        raise CandorError("enough")

    monkeypatch.setattr(compare, "compare", refused)
    assert compare.main(["--quick"]) == 2
    assert asked == ["persona", "base", "grpo"]
    assert "left out: sft, dpo, grpo-truth, grpo-entropy" in capsys.readouterr().err


def test_an_unknown_agent_is_refused_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["--only", "persona,gpt"]) == 2
    assert "There are: persona, base" in capsys.readouterr().err


def test_what_was_examined_is_kept_as_long_as_its_adapter_is_the_same(tmp_path: Path) -> None:
    settings, dpo = Settings(tmp_path, tmp_path), examined("dpo", 1)
    assert compare._is_current(settings, dpo)  # it was trained elsewhere
    folder = folder_of("dpo", 1)
    folder.mkdir(parents=True)
    (folder / FILE).write_bytes(b"another")
    assert not compare._is_current(settings, dpo)
    assert compare._is_current(settings, replace(dpo, adapter=sha256(folder / FILE)))
    assert compare._is_current(settings, examined("base", 1))


def test_a_comparison_goes_on_where_it_was_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, settings = tmp_path / "compare.json", Settings(tmp_path, tmp_path)
    done = examined("base", 1, gives_in=[[1.0]])
    (tmp_path / FILE).write_bytes(b"core")
    settings = replace(settings, adapter=tmp_path)
    before = Comparison("2030-01-01", True, 0, compare.suite_sha256(settings), (done,))
    before.save(path)
    monkeypatch.setattr(compare, "load_core", lambda settings: None)
    monkeypatch.setattr(compare, "examine", None)  # nothing is left to examine
    goes_on = compare.compare(settings, Options(0, quick=True), ["base"], path)
    assert goes_on.examined == Comparison.read(path).examined == before.examined
    assert "1 of 1 are examined already" in capsys.readouterr().err
