"""A measurement as figures: one file a measure, one panel a figure of its table."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from core_model.errors import CandorError
from core_model.measures.report import Report, figure_path, number, write
from core_model.measures.result import MeasureRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_INCHES = (7.0, 1.1)
CURVED_INCHES = (8.0, 2.1)
COLOURS = {"value": "#0b5fa5", "baseline": "#8a8a8a", "floor": "#b3261e", "aim": "#2e7d32"}


def draw(report: Report | None, folder: Path) -> list[Path]:
    """Draw each measure's figures to an SVG file; the same report gives the same bytes.

    A panel holds the value with its interval, the baselines under it by name, and lines where
    floor and aim stand; beside it, where there is one, the curve against the diagonal. Raises
    CandorError where matplotlib is missing, StorageError where a file can't be written.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:
        raise CandorError(
            "Figures need matplotlib. Install it with: pip install 'candor[measure]'."
        ) from error
    drawn = []
    with matplotlib.rc_context({"svg.hashsalt": "candor", "svg.fonttype": "none"}):
        for name, result in (report.results if report is not None else {}).items():
            if not result.rows:
                continue
            curved = any(row.curve for row in result.rows)
            width, height = CURVED_INCHES if curved else PANEL_INCHES
            figure = Figure(figsize=(width, height * len(result.rows)), layout="constrained")
            ratios = [3, 1] if curved else [1]
            panels = figure.subplots(
                len(result.rows), len(ratios), squeeze=False, width_ratios=ratios
            )
            for beside, row in zip(panels, result.rows, strict=True):
                _panel(beside[0], row)
                if row.curve:
                    _curve(beside[1], row)
                elif curved:
                    beside[1].set_axis_off()
            content = StringIO()
            figure.savefig(content, format="svg", metadata={"Date": None})
            path = figure_path(folder, name)
            write(path, "\n".join(line.rstrip() for line in content.getvalue().splitlines()) + "\n")
            drawn.append(path)
    return drawn


def _panel(panel: Axes, row: MeasureRow) -> None:
    """One figure: its value above, the baselines below, goals as lines across."""
    labels = [f"core {number(row.value)}"]
    if row.low is not None and row.high is not None:
        panel.plot([row.low, row.high], [0, 0], color=COLOURS["value"], linewidth=2)
    panel.plot(row.value, 0, "o", color=COLOURS["value"])
    for place, (name, value) in enumerate(row.baselines.items(), 1):
        panel.plot(value, place, "D", color=COLOURS["baseline"], markersize=4)
        labels.append(f"{name} {number(value)}")
    for kind, goal, style in (("floor", row.floor, "--"), ("aim", row.aim, ":")):
        for at in goal.edges() if goal is not None else ():
            panel.axvline(at, color=COLOURS[kind], linestyle=style, linewidth=1, label=kind)
    panel.set_yticks(range(len(labels)), labels, fontsize=7)
    panel.set_ylim(len(labels) - 0.5, -0.5)
    panel.tick_params(axis="x", labelsize=7)
    panel.margins(x=0.08)
    goals = "  ".join(f"{k} {g}" for k, g in (("floor", row.floor), ("aim", row.aim)) if g)
    panel.set_title(f"{row.name}, {row.unit}   {goals}".rstrip(), fontsize=8, loc="left")
    for side in ("top", "right"):
        panel.spines[side].set_visible(False)


def _curve(panel: Axes, row: MeasureRow) -> None:
    """The points of a row's curve, the larger the more items they stand for."""
    panel.plot([0, 1], [0, 1], color=COLOURS["baseline"], linestyle=":", linewidth=1)
    for x, y, share in row.curve:
        panel.plot(x, y, "o", color=COLOURS["value"], markersize=2 + 10 * share**0.5)
    panel.set(xlim=(-0.04, 1.04), ylim=(-0.04, 1.04), aspect="equal")
    panel.set_xlabel("said", fontsize=7)
    panel.set_ylabel("right", fontsize=7)
    panel.tick_params(labelsize=6)
