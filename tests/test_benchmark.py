"""The benchmark's table: ratios, floors, definitions, and that the ones in docs are up to date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core_model import benchmark
from core_model.benchmark import WORKLOADS, main
from core_model.errors import StorageError
from core_model.measure import DOCS
from core_model.measures.result import Goal
from core_model.workloads.report import Floor, Report, Timed, Workload, document, table

SIZE, SIZES = 1000, (1, 2)


def two_engines(bench: object) -> dict[str, float]:
    """Seconds of SIZE
    things, at SIZES; KL is no constant."""
    return {"candor": 2.0, "transformers": 8.0}


def workload(better: str, *floors: Floor) -> Workload:
    return Workload(two_engines, "s", better, floors=floors)  # type: ignore[arg-type]


def timed(of: Workload, **figures: float) -> Timed:
    return Timed(figures, of.unit, "2026-11-26", of.definition)


@pytest.mark.parametrize(("better", "times"), [("less", 4.0), ("more", 0.25)])
def test_a_ratio_is_how_many_times_better_than_another(better: str, times: float) -> None:
    figures = {"candor": 2.0, "transformers": 8.0}
    assert workload(better).times_better(figures, "candor", "transformers") == times
    assert workload(better).times_better(figures, "transformers", "transformers") == 1.0
    assert workload(better).times_better({"candor": 2.0}, "candor", "transformers") is None


def test_the_table_has_a_row_a_figure_and_says_which_floors_are_met() -> None:
    of = workload(
        "less",
        Floor(Goal("at least", 4), "transformers"),
        Floor(Goal("at least", 10), "another"),
        Floor(Goal("at most", 1)),
        Floor(Goal("at most", 9), of="transformers"),
    )
    lines = table({"names": timed(of, candor=2.0, transformers=9.0)}, {"names": of})
    assert lines[2:] == [
        "| names | candor | 2 | s | 4.5 | ≥ 4 × transformers, met; ≤ 1, not met |",
        "| names | transformers | 9 | s | 1 | ≤ 9, met |",
    ]


def test_a_definition_names_sizes_and_not_constants() -> None:
    assert workload("less").definition == "Seconds of 1,000 things, at 1, 2; KL is no constant."


def test_figures_of_an_old_definition_keep_it_and_are_held_to_no_floor() -> None:
    of = workload("less", Floor(Goal("at most", 1)))
    old = Timed({"candor": 2.0}, "ms", "2026-11-25", "Milliseconds of one thing.")
    text = document(Report("a machine", {"w": old, "v": timed(of, candor=0.5)}), {"w": of, "v": of})
    assert "| w | candor | 2 | ms |  |  |" in text
    assert "| v | candor | 0.5 | s |  | ≤ 1, met |" in text
    assert "to be run again: w.\n" in text
    assert "- **w**: Milliseconds of one thing.\n- **v**: Seconds of 1,000" in text
    assert "- date: 2026-11-25 to 2026-11-26\n" in text


@pytest.mark.parametrize("name", ["benchmark", "benchmark-float32", "benchmark-server"])
def test_the_tables_in_docs_are_those_of_their_files(name: str) -> None:
    report = Report.read(DOCS / f"{name}.json")
    assert report is not None
    assert (DOCS / f"{name}.md").read_text(encoding="utf-8") == document(report, WORKLOADS)


def test_every_workload_says_what_it_times_and_its_floors_are_of_engines_it_has() -> None:
    report = Report.read(DOCS / "benchmark.json")
    assert report is not None
    for name, of in WORKLOADS.items():
        assert of.definition
        for floor in of.floors:
            engines = report.results[name].figures
            assert floor.of in engines and floor.than in {None, *engines}, name


@pytest.fixture
def one_workload(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(benchmark, "WORKLOADS", {"one": workload("less"), "two": workload("more")})
    monkeypatch.setattr(benchmark, "machine", lambda: "a machine")
    yield


@pytest.mark.usefixtures("one_workload")
def test_a_file_is_added_to_unless_it_is_of_another_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.json"
    for only in ("one", "two"):
        assert main(["--json", str(path), "--only", only]) == 0
    both = Report.read(path)
    assert both is not None and list(both.results) == ["one", "two"]
    assert "| one | candor | 2 | s | 4 |  |" in capsys.readouterr().out
    monkeypatch.setattr(benchmark, "machine", lambda: "another")
    assert main(["--json", str(path), "--only", "two"]) == 0
    assert "another machine: replaced" in capsys.readouterr().err
    other = Report.read(path)
    assert other is not None and list(other.results) == ["two"]


@pytest.mark.usefixtures("one_workload")
def test_a_table_is_written_anew_from_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, made = tmp_path / "b.json", tmp_path / "b.md"
    assert main(["--json", str(path)]) == 0
    text = made.read_text(encoding="utf-8")
    made.unlink()
    assert main(["--json", str(path), "--render"]) == 0
    assert made.read_text(encoding="utf-8") == text
    assert main(["--json", str(tmp_path / "none.json"), "--render"]) == 2
    path.write_text("[]", encoding="utf-8")
    assert main(["--json", str(path), "--render"]) == 2
    assert capsys.readouterr().err.count("\n") == 4  # two of them of the runs
    with pytest.raises(StorageError, match="no file of a benchmark"):
        Report.read(path)


def test_an_unknown_workload_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "nothing"]) == 2
    assert "There are: single" in capsys.readouterr().err
