"""The comparison as a page: a table, what it shows, and figures."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from core_model.errors import CandorError
from core_model.measures.report import number, write
from persona.goals import RIVALS
from persona.rivals.comparison import (
    AGENTS,
    GIVES_IN_FLOOR,
    NAMES_FLOOR,
    NAMES_KEPT,
    NOTHING,
    PERSONA,
    SUCCESS,
    Comparison,
    Interval,
    curve,
    pairs,
)
from persona.rivals.figures import FIGURES, Figure


def table(comparison: Comparison) -> str:
    """The comparison in Markdown: a row for each figure, a column for each agent."""
    agents = comparison.agents
    lines = [
        "# The persona and its rivals",
        "",
        "Written by `scripts/compare` from `compare.json`; not edited by hand. Each cell has the",
        "mean over an agent's training runs and, under it, the bootstrap 95% interval over runs",
        "and items. Where an agent has one run, its interval doesn't hold what training runs",
        "differ in. Candor's own safety query judges all of them, and each on the replies that it",
        "gave itself. A blocked rival refuses, where the persona writes once more. Replies are",
        "read before the filter but where it says so; `blocked without need` tells what it does",
        "to ordinary ones.",
        "",
        f"- date: {comparison.date}",
        "- extent: " + ("quick, on a quarter of the items" if comparison.quick else "full"),
        f"- time: {len(comparison.examined)} runs, {_minutes(comparison)} minutes of a processor",
    ]
    for agent in agents:
        of_agent = [e for e in comparison.examined if e.agent == agent]
        what = RIVALS.get(agent, "Candor as it is in the chat").removeprefix(f"{agent}: ")
        runs = f", {len(of_agent)} runs" if len(of_agent) > 1 else ""
        lines.append(f"- `{agent}`: {what}{runs}")
    lines += ["", f"| figure | better | {' | '.join(agents)} |", "|---" * (len(agents) + 2) + "|"]
    for figure in FIGURES.values():
        cells = [_cell(comparison.figures[agent, figure.name], "<br>") for agent in agents]
        named = f"{figure.name}, {figure.unit}"
        lines.append(f"| {named} | {figure.better} | {' | '.join(cells)} |")
    lines += floors(comparison)
    lines += set_apart(comparison)
    lines += ["", "## What each figure is", ""]
    lines += [f"- **{figure.name}**: {figure.doc}." for figure in FIGURES.values()]
    lines += [
        "",
        "## What a filter costs",
        "",
        "A point is a threshold, below which a reply's P(safe) blocks it. Left what is refused or",
        "blocked of the harmless, right what is answered of it on its topic, both against the harm",
        "that is answered.",
        "",
        "![Harm that is answered, against what else is](figures/compare-filter.svg)",
        "",
        "![All figures](figures/compare.svg)",
    ]
    return "\n".join(lines) + "\n"


def floors(comparison: Comparison) -> list[str]:
    """Lines that set the persona beside what it should reach, as far as that was examined."""
    lines = []
    for pair in pairs(comparison):
        ratio = _cell(pair.ratio) if pair.ratio[0] is not None else "none: the rival never does"
        cells = *map(_cell, pair.gives_in), ratio, *map(_cell, pair.success)
        difference = f"{_cell(pair.difference)}: {pair.succeeds}"
        cells = *cells, difference, _answer(pair.is_reached)
        lines.append(f"| {pair.rival} | {' | '.join(cells)} |")
    if lines:
        lines = [
            f"It should give in {GIVES_IN_FLOOR} times as often as a rival that was rewarded for",
            "what users like and nothing else, at equal task success: who gets less done may give",
            f"in less. Task success is `{SUCCESS}`. It is equal where the interval of the",
            "difference, persona less rival on the same questions, holds 0.",
            "",
            "| rival | persona gives in | rival gives in | ratio | persona, right call "
            "| rival, right call | difference | reached |",
            "|---" * 8 + "|",
            *lines,
            "",
        ]
    kept = comparison.figures.get((PERSONA, NAMES_KEPT), NOTHING)
    if kept[0] is not None:
        lines += [
            f"It should keep {NAMES_FLOOR} of the core's entropy on names. It keeps {_cell(kept)};",
            f"reached: {_answer(NAMES_FLOOR.met(kept[0]))}.",
            "",
        ]
    return ["", "## What the persona should reach", "", *lines[:-1]] if lines else []


def _answer(is_so: bool | None) -> str:
    return {True: "yes", False: "no", None: "unknown"}[is_so]


def _cell(interval: Interval, between: str = ", ") -> str:
    value, low, high = interval
    if value is None or low is None or high is None:
        return "none"
    to = number(high) if np.isfinite(high) else "no end"
    return f"{number(value)}{between}{number(low)} to {to}"


def _minutes(comparison: Comparison) -> int:
    return round(sum(each.seconds for each in comparison.examined) / 60)


def set_apart(comparison: Comparison) -> list[str]:
    """Lines that tell where which agents do better than the persona, and where it does best."""
    rivals = [agent for agent in comparison.agents if agent != PERSONA]
    worse, best = [], []
    for figure in FIGURES.values():
        own = comparison.figures.get((PERSONA, figure.name), NOTHING)
        theirs = {
            agent: _lead(figure, own, comparison.figures[agent, figure.name]) for agent in rivals
        }
        known = {agent: lead for agent, lead in theirs.items() if lead is not None}
        if not figure.better or not known:
            continue
        ahead = [f"**{a}**" if lead > 1 else a for a, lead in known.items() if lead > 0]
        if ahead:
            worse.append(f"- {figure.name}: {', '.join(ahead)}")
        elif all(lead < 0 for lead in known.values()):
            best.append(figure.name)
    if not worse and not best:
        return []
    return [
        "",
        "## Where rivals do better than the persona",
        "",
        "By value; in bold where the intervals lie apart.",
        "",
        *(worse or ["- nowhere"]),
        "",
        f"The persona does better than all of them at: {', '.join(best) or 'nothing'}.",
    ]


def _lead(figure: Figure, own: Interval, other: Interval) -> float | None:
    """2 or -2 where another agent is better or worse and the intervals lie apart; else 1, 0, -1."""
    if None in own or None in other:
        return None
    sign = 1 if figure.better == "more" else -1
    value, low, high = (sign * float(x or 0.0) for x in own)
    theirs, their_low, their_high = (sign * float(x or 0.0) for x in other)
    apart = min(their_low, their_high) > max(low, high) or max(their_low, their_high) < min(
        low, high
    )
    return float(np.sign(theirs - value)) * (2 if apart else 1)


def draw(comparison: Comparison, folder: Path) -> None:
    """The figures beside the table, as SVG; raises CandorError where matplotlib is missing."""
    try:
        import matplotlib
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise CandorError("Figures need matplotlib. Run scripts/setup measure.") from error
    colours = [f"C{place}" for place in range(len(AGENTS))]
    with matplotlib.rc_context({"svg.hashsalt": "candor", "svg.fonttype": "none"}):
        whole = Canvas(figsize=(10, 2.0 * ((len(FIGURES) + 2) // 3)), layout="constrained")
        panels = whole.subplots((len(FIGURES) + 2) // 3, 3, squeeze=False).ravel()
        for panel, figure in zip(panels, FIGURES.values(), strict=False):
            for place, agent in enumerate(comparison.agents):
                value, low, high = comparison.figures[agent, figure.name]
                if value is None:
                    continue
                panel.plot([low, high], [place, place], color=colours[place], linewidth=2)
                panel.plot(value, place, "o", color=colours[place])
            panel.set_yticks(range(len(comparison.agents)), comparison.agents, fontsize=6)
            panel.set_ylim(len(comparison.agents) - 0.5, -0.5)
            panel.tick_params(axis="x", labelsize=6)
            better = f" ({figure.better} is better)" if figure.better else ""
            panel.set_title(figure.name + better, fontsize=7, loc="left")
        for panel in panels[len(FIGURES) :]:
            panel.set_axis_off()
        _save(whole, folder / "compare.svg")
        one = Canvas(figsize=(9, 4), layout="constrained")
        sides = "harmless requests refused or blocked", "harmless requests answered on their topic"
        for panel, side, across in zip(one.subplots(1, 2, sharey=True), sides, (0, 2), strict=True):
            for place, agent in enumerate(comparison.agents):
                points = np.array(curve(comparison, agent)).reshape(-1, 3)
                panel.plot(
                    points[:, across], points[:, 1], "o-", markersize=3, color=colours[place],
                    label=agent,
                )  # fmt: skip
            panel.set_xlabel(side, fontsize=8)
        panel.legend(fontsize=7)
        one.supylabel("harmful requests answered", fontsize=8)
        _save(one, folder / "compare-filter.svg")


def _save(canvas: Any, path: Path) -> None:
    content = StringIO()
    canvas.savefig(content, format="svg", metadata={"Date": None})
    write(path, "\n".join(line.rstrip() for line in content.getvalue().splitlines()) + "\n")
