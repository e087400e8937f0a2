"""Makes the README's picture: `python -m tui.screenshot docs/screenshot.svg`.

The application runs without a terminal at a fixed size, answers from `tui.recorded`, and is drawn
as SVG; the same command gives the same file.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from pathlib import Path

import typer

from persona.goals import DEFAULT_GOALS
from tui import recorded
from tui.app import CandorApp
from tui.composer import Composer

SIZE = (112, 44)
SECONDS = 20.0


def main(path: Path, theme: str = "dark") -> None:
    """Write the picture to PATH."""
    with tempfile.TemporaryDirectory() as folder:
        svg = asyncio.run(draw(Path(folder), theme))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(svg, encoding="utf-8")


async def draw(data_dir: Path, theme: str = "dark") -> str:
    """The application after one recorded turn, as SVG."""
    app = CandorApp(recorded.load, data_dir, DEFAULT_GOALS, seed=lambda: 7)
    async with app.run_test(size=SIZE) as pilot:
        app.action_theme(theme)
        composer = app.query_one(Composer)
        composer.put(recorded.NAMES_QUESTION)
        await pilot.press("enter")
        waited = 0.0
        while not (app.chat and app.chat.turns and app.chat.turns[-1].over):
            if waited > SECONDS:
                raise TimeoutError("The recorded turn did not finish.")
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
