"""Makes the README's picture: `python -m tui.screenshot docs/screenshot.svg`.

The application runs without a terminal at a fixed size, asks the released core, and is drawn as
SVG. With a fixed seed only the times that the cards show differ from run to run.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from core_model.config import Settings
from persona.goals import DEFAULT_GOALS
from tui.app import CandorApp
from tui.cli import Program
from tui.composer import Composer
from tui.session import Loader

SIZE = (112, 50)
SECONDS = 300.0
QUESTIONS = ("What were the most popular names for girls in 1985?", "and for boys?")


def main(
    path: Path,
    theme: str = "dark",
    question: Annotated[list[str] | None, typer.Option(help="What is asked, in turn.")] = None,
) -> None:
    """Write the picture to PATH."""
    load = Program(Settings.from_environment()).load_agents
    with tempfile.TemporaryDirectory() as folder:
        svg = asyncio.run(draw(load, Path(folder), question or QUESTIONS, theme))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg, encoding="utf-8")


async def draw(load: Loader, data_dir: Path, questions: Sequence[str], theme: str = "dark") -> str:
    """The application after these questions were answered, as SVG."""
    app = CandorApp(load, data_dir, DEFAULT_GOALS, seed=lambda: 7)
    async with app.run_test(size=SIZE) as pilot:
        app.action_theme(theme)
        composer = app.query_one(Composer)
        for number, question in enumerate(questions, 1):
            composer.put(question)
            await pilot.press("enter")
            waited = 0.0
            while not (app.chat and len(app.chat.turns) == number and app.chat.turns[-1].over):
                if waited > SECONDS:
                    raise TimeoutError(f"'{question}' was not answered in {SECONDS:.0f} s.")
                await pilot.pause(0.05)
                waited += 0.05
        composer.cursor_blink = False
        await pilot.pause(0.3)
        return steady(app.export_screenshot(title="candor chat"))


def steady(svg: str) -> str:
    """The drawing with the names that vary from run to run made constant."""
    return re.sub(r"terminal-\d+", "terminal-candor", svg)


if __name__ == "__main__":
    typer.run(main)
