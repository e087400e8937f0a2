"""The benchmark's table: ratios say how many times better, whichever way is better."""

from __future__ import annotations

import pytest

from core_model.benchmark import WORKLOADS, Workload, document, main, rows_of, table


def workload(better: str) -> Workload:
    return Workload(lambda bench: {}, "s", better)  # type: ignore[arg-type]


def test_a_ratio_is_how_many_times_better_than_the_reference() -> None:
    figures = {"candor": 2.0, "transformers": 8.0}
    assert [row.ratio for row in rows_of("w", workload("less"), figures)] == [4.0, 1.0]
    assert [row.ratio for row in rows_of("w", workload("more"), figures)] == [0.25, 1.0]
    assert [row.ratio for row in rows_of("w", workload("less"), {"candor": 2.0})] == [None]


def test_the_table_has_a_row_a_figure() -> None:
    lines = table(rows_of("names", workload("less"), {"candor": 2.0, "transformers": 9.0}))
    assert lines.splitlines()[2:] == [
        "| names | candor | 2 | s | 4.5 |",
        "| names | transformers | 9 | s | 1 |",
    ]


def test_the_document_defines_what_it_shows() -> None:
    text = document(rows_of("candidates", WORKLOADS["candidates"], {"candor": 2.0}))
    assert "| candidates | candor | 2 | s |  |" in text
    assert "- **candidates**: Seconds to score CANDIDATES answers" in text
    assert "CANDIDATES = 1,000" in text
    assert "names_of_a_year" not in text and "**names**" not in text


def test_every_workload_says_what_it_times() -> None:
    assert all(w.run.__doc__ for w in WORKLOADS.values())


def test_an_unknown_workload_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "nothing"]) == 2
    assert "There are: single" in capsys.readouterr().err
