"""The report of the measures, its table and figures, and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core_model import measure as command
from core_model.config import Settings
from core_model.core import Core
from core_model.errors import CandorError, StorageError, UnknownName
from core_model.measures import figures, report
from core_model.measures.report import Measured, Report
from core_model.measures.result import Goal, MeasureRow
from core_model.measures.safety import WORDS, first_words
from tests import toy
from tests.measuring import NAMES, QUICK, core_of, registered, split_names


def filled() -> Report:
    row = MeasureRow(
        "names JSD", 0.0412, 0.03, 0.05, "bits", 28, {"mass outside": 1e-5},
        {"neighbour years": 0.011}, Goal("at most", 0.08), Goal("at most", 0.02),
    )  # fmt: skip
    ratio = MeasureRow("names entropy ratio", 1.09, None, None, "ratio", 28,
                       floor=Goal("around one", 0.08))  # fmt: skip
    return Report("ab12", 3, False, {
        "names": Measured((row, ratio), None, "2030-01-02", 4.0),
        "safety": Measured((), "No pairs.", "2030-01-02", 0.1),
    })  # fmt: skip


def test_table_states_goals_intervals_failures_and_definitions() -> None:
    text = report.table(filled())
    assert (
        "| names JSD | 0.0412 | 0.03 to 0.05 | bits | 28 | ≤ 0.08, met | ≤ 0.02, not met "
        "| mass outside 0.0000 | neighbour years 0.011 |" in text
    )
    assert "| names entropy ratio | 1.09 | none | ratio | 28 | 1 ± 0.08, not met |" in text
    assert "Not measured: safety. No pairs." in text
    assert "Not measured on this adapter yet: attribution, inversion, " in text
    assert "yet" not in report.table(replace(filled(), quick=True))
    for fact in ("sha256 `ab12`", "2030-01-02", "seed: 3", "extent: full"):
        assert fact in text
    assert "½ Σ p log2(p/m)" in text  # the definition is the docstring


def test_a_figure_keeps_the_definition_under_which_it_was_measured(tmp_path: Path) -> None:
    made = filled()
    then = replace(made.results["names"], definition="Some names, counted by hand.")
    old = made.with_result("names", then)
    old.save(tmp_path / "measures.json")
    text = report.table(Report.read(tmp_path / "measures.json"))
    assert "defined otherwise by now.\n\nSome names, counted by hand." in text
    now = replace(then, definition=report.definition_of(report.MEASURES["names"]))
    assert "defined otherwise" not in report.table(made.with_result("names", now))


def test_table_of_nothing_still_defines_the_measures() -> None:
    text = report.table(None)
    assert "Nothing has been measured yet." in text
    assert all(f"### {name}" in text for name in report.MEASURES)


def test_figures_show_values_baselines_and_goals_and_are_the_same_each_time(
    tmp_path: Path,
) -> None:
    assert figures.draw(None, tmp_path) == []
    (path,) = figures.draw(filled(), tmp_path)  # the measure that failed has none
    drawn = path.read_bytes()
    for said in ("names JSD, bits", "core 0.0412", "neighbour years 0.011", "floor", "1 ± 0.08"):
        assert said in drawn.decode()
    figures.draw(filled(), tmp_path)
    assert path.read_bytes() == drawn
    assert Goal("around one", 0.08).edges() == pytest.approx((0.92, 1.08))


def calibrated() -> Report:
    curve = ((0.25, 0.5, 0.5), (0.75, 1.0, 0.5))
    row = MeasureRow("author ECE", 0.25, None, None, "share", 4, {"temperature": 1.5}, curve=curve)
    plain = MeasureRow("sex ECE", 0.1, None, None, "share", 4, {"temperature": 0.75})
    return filled().with_result("calibration", Measured((row, plain)))


def test_a_curve_is_kept_and_drawn_beside_its_row(tmp_path: Path) -> None:
    calibrated().save(tmp_path / "m.json")
    assert Report.read(tmp_path / "m.json") == calibrated()
    of_calibration = next(p for p in figures.draw(calibrated(), tmp_path) if "calib" in p.name)
    assert of_calibration.read_text().count(">said<") == 1


def test_the_model_card_has_the_fitted_temperatures_between_its_marks() -> None:
    begin, end = report.CARD_MARKS
    card = f"# Card\n{begin}\nold\n{end}\nmore\n"
    filled_in = report.with_temperatures(card, calibrated())
    assert filled_in == f"# Card\n{begin}\nauthor 1.5, sex 0.75.\n{end}\nmore\n"
    assert report.with_temperatures(filled_in, calibrated()) == filled_in
    assert "Not measured on this adapter yet." in report.with_temperatures(filled_in, filled())
    assert report.with_temperatures("# No marks", calibrated()) == "# No marks"
    assert all(mark in command.CARD.read_text(encoding="utf-8") for mark in report.CARD_MARKS)


def test_report_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "measures.json"
    assert Report.read(path) is None
    filled().save(path)
    assert Report.read(path) == filled()
    path.write_text("{}")
    with pytest.raises(StorageError, match=r"measures\.json is no file of measures"):
        Report.read(path)


def test_what_another_process_added_to_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "docs" / "m.json"
    begun = Report("ab12", 3, False)
    newer, older = Measured(date="2030-01-03"), Measured(date="2030-01-01")
    begun.with_result("names", newer).added_to(path, ["names"])
    mine = begun.with_result("names", older).with_result("time", newer)
    whole = mine.added_to(path, ["time"])
    assert whole.results == {"names": newer, "time": newer}
    assert Report.read(path) == whole
    other = Report("cd34", 3, False).with_result("time", older)
    assert other.added_to(path, ["time"]) == other == Report.read(path)


def test_a_failed_measure_does_not_stop_the_others() -> None:
    seen: list[int] = []
    with registered(split_names(), toy.speeches()) as core:
        done = command.measure(
            Report("ab12", 3, True), ["attribution", "names"], core, QUICK,
            finished=lambda so_far: seen.append(len(so_far.results)),
        )  # fmt: skip
    assert done.results["attribution"].failure is not None
    assert done.results["names"].rows
    assert seen == [1, 2]


def test_another_core_stands_among_the_baselines_of_what_is_measured() -> None:
    with registered(split_names()) as core:
        mine = command.measure(Report("ab12", 3, True), ["names"], core, QUICK)
        skewed = {key: 3.0 if key[0] == "Anna" else 1.0 for key in NAMES}
        other = core_of(skewed, split_names())
        both = command.beside(mine, ["names"], other, "all alike", QUICK)
        alone = command.measure(Report("cd34", 3, True), ["names"], other, QUICK)
        row, was, of_other = (r.results["names"].rows[0] for r in (both, mine, alone))
        assert row.baselines == {**was.baselines, "all alike": of_other.value}
        assert (row.value, both.results["names"].date) == (was.value, mine.results["names"].date)
        assert of_other.value > was.value
        with pytest.raises(CandorError, match="'names' is not measured yet"):
            command.beside(Report("ab12", 3, True), ["names"], other, "all alike", QUICK)


def test_only_names_measures_there_are() -> None:
    assert command.chosen(None, report.MEASURES) == list(report.MEASURES)
    assert command.chosen("time, names", report.MEASURES) == ["names", "time"]
    with pytest.raises(UnknownName, match="Unknown measure 'nmaes'"):
        command.chosen("nmaes", report.MEASURES)


def test_command_renders_the_table_from_the_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = ["--json", str(tmp_path / "m.json"), "--table", str(tmp_path / "m.md")]
    assert command.main(["--render", *paths]) == 0
    assert "Nothing has been measured yet." in (tmp_path / "m.md").read_text(encoding="utf-8")
    filled().save(tmp_path / "m.json")
    assert command.main(["--render", *paths]) == 1  # one measure had failed
    text = (tmp_path / "m.md").read_text(encoding="utf-8")
    assert "0.0412" in text
    assert "![names](figures/names.svg)" in text
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["names.svg"]
    assert "0.0412" in capsys.readouterr().out


def test_command_measures_and_adds_to_the_same_adapters_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.json"
    arguments = ["--only", "names", "--quick", "--json", str(path)]
    from core_model import loading

    with registered(split_names()) as core:
        loaded: list[Path | None] = []

        def load(settings: Settings) -> Core:
            loaded.append(settings.adapter)
            return core

        monkeypatch.setattr(loading, "load_embedded", load)
        monkeypatch.setattr(command, "_adapter_sha256", lambda settings: "ab12")
        assert command.main(arguments) == 0
        kept = Report.read(path)
        assert kept is not None and kept.comparable(Report("ab12", 0, True))
        kept.with_result("time", Measured(date="2030-01-01")).save(path)
        assert command.main(arguments) == 0
        assert set(json.loads(path.read_text())["runs"]) == {"names", "time"}
        assert command.main([*arguments, "--beside", f"twin={tmp_path}"]) == 0
        assert loaded[-1] == tmp_path
        measures = json.loads(path.read_text())["measures"]
        assert all("twin" in row["baselines"] for row in measures)
        assert command.main([*arguments, "--beside", "twin"]) == 2
        assert "NAME=FOLDER" in capsys.readouterr().err
        monkeypatch.setattr(command, "_adapter_sha256", lambda settings: "cd34")
        assert command.main([*arguments, "--beside", f"twin={tmp_path}"]) == 2
        assert set(json.loads(path.read_text())["runs"]) == {"names", "time"}
        assert command.main(arguments) == 0
    assert set(json.loads(path.read_text())["runs"]) == {"names"}
    assert "another adapter" in capsys.readouterr().err


def test_command_on_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "nothing", "--quick"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_texts_are_cut_behind_whole_words_however_long() -> None:
    """Short texts once took hours: each word could be split in every way."""
    words = ["internationally"] * (WORDS + 5)
    assert first_words(" ".join(words)) == " ".join(words[:WORDS])
    short = "  " + "\n".join(words[: WORDS - 1])
    assert first_words(short) == short
