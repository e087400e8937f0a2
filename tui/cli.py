"""The `candor` command.

Every failure that was foreseen is one line on standard error and exit status 2; one that was not
is one line and a log file, exit status 1; ctrl-c is 130. Nothing heavy is imported until a command
needs it.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.exceptions import TyperException

from core_model.config import Settings
from core_model.errors import CandorError

if TYPE_CHECKING:
    from core_model.core import Core
    from tui.session import AgentFactory, Progress

DATA_LIMIT = 20_000
"""Characters of `--data` that are read."""

BaseOption = Annotated[
    str | None, typer.Option("--base", help="Base weights: a local folder of a SmolLM2 model.")
]
AdapterOption = Annotated[
    Path | None,
    typer.Option("--adapter", help="Adapter in place of the one that ships with Candor."),
]

DraftsOption = Annotated[
    int,
    typer.Option(
        min=1, max=16, help="Replies written, of which one is kept by how well it fits the goals."
    ),
]

cli = typer.Typer(
    name="candor",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


class Program:
    """What the commands work with; tests put fakes in its place.

    drafts: written of each reply. stays: many replies are to come, so that it pays to warm up.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.drafts = 1
        self.stays = False

    def use(self, base: str | None, adapter: Path | None) -> None:
        """Take what options name in place of what the settings do."""
        changes: dict[str, Any] = {}
        if base is not None:
            changes["base"] = base
        if adapter is not None:
            changes["adapter"] = adapter
        self.settings = replace(self.settings, **changes)

    def load_core(self, progress: Progress) -> Core:
        """The core that the settings name."""
        from core_model.loading import load_core

        return load_core(self.settings, progress)

    def load_agents(self, progress: Progress) -> AgentFactory:
        """What makes agents on that core."""
        from persona.agent import Agent
        from persona.rivals.agents import Rivals

        core, drafts = self.load_core(progress), self.drafts
        if self.stays:
            core.warm_up()
        rivals = Rivals(self.settings, core)
        return lambda goals, seed, name: (
            rivals.agent(name, seed) if name else Agent(core, goals, seed, drafts)
        )

    @property
    def log(self) -> Path:
        """Where tracebacks go."""
        return self.settings.data_dir / "candor.log"


def program(context: typer.Context) -> Program:
    """The program that `main` put in the context."""
    found = context.obj
    assert isinstance(found, Program)
    return found


@cli.callback(invoke_without_command=True)
def options(
    context: typer.Context,
    base: BaseOption = None,
    adapter: AdapterOption = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and the adapter's checksum, or the server."
        ),
    ] = False,
) -> None:
    """A language model treated as a statistical model: when you ask, you see what answers."""
    if version:
        from importlib.metadata import version as version_of

        from core_model.adapter import RELEASE, checksum

        settings = program(context).settings
        folder = adapter or settings.adapter or RELEASE
        asked = settings.server or f"adapter {checksum(folder)[:12]}"
        _write(f"candor {version_of('candor')}, {asked}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        _write(context.get_help() + "\n")
        return
    program(context).use(base, adapter)


@cli.command()
def chat(
    context: typer.Context,
    plain: Annotated[
        bool, typer.Option("--plain", help="Plain text, for screen readers and pipes.")
    ] = False,
    drafts: DraftsOption = 1,
    base: BaseOption = None,
    adapter: AdapterOption = None,
) -> None:
    """Open the chat."""
    given = program(context)
    given.use(base, adapter)
    given.drafts = drafts
    given.stays = True
    if plain:
        _plain_chat(given)
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CandorError("The chat needs a terminal. Use 'candor chat --plain' or 'candor ask'.")
    from persona.goals import DEFAULT_GOALS
    from tui.app import CandorApp

    settings = given.settings
    app = CandorApp(given.load_agents, settings.data_dir, DEFAULT_GOALS, server=settings.server)
    app.run()
    if app.crash:
        print(app.crash, file=sys.stderr)
        raise typer.Exit(1)


def _plain_chat(given: Program) -> None:
    from persona.goals import DEFAULT_GOALS
    from persona.history import History
    from tui.failures import line_for
    from tui.plain import PlainChat
    from tui.session import Chat

    history = History(given.settings.data_dir / "history.db")
    notice = history.open()
    if notice:
        print(f"! {notice}", file=sys.stderr)
    agents = given.load_agents(loading_line())
    PlainChat(
        Chat(history, DEFAULT_GOALS),
        agents,
        input,
        _write,
        lambda error: line_for(error, given.log),
    ).run()


@cli.command()
def ask(
    context: typer.Context,
    question: Annotated[
        list[str] | None, typer.Argument(help="The question; several words are joined.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Events as JSON lines; the last is the reply.")
    ] = False,
    batch: Annotated[
        bool, typer.Option("--batch", help="Each line of standard input is a conversation.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything drawn at random.")] = 0,
    goals: Annotated[
        str | None, typer.Option(help="Goals by name, or changes as '+brief -calibrated'.")
    ] = None,
    agent: Annotated[
        str,
        typer.Option(help="In place of Candor: base, sft, dpo, grpo, grpo-truth or grpo-entropy."),
    ] = "",
    drafts: DraftsOption = 1,
) -> None:
    """Answer one question and exit; nothing is kept in the history."""
    from persona.goals import DEFAULT_GOALS, parse_goals
    from persona.turn import clean_question

    given = program(context)
    given.drafts = drafts
    chosen = DEFAULT_GOALS if goals is None else parse_goals(goals)
    if batch and question:
        raise CandorError("With --batch the questions come on standard input, one a line.")
    single = [] if batch else [clean_question(" ".join(question or []))]
    given.stays = batch
    agents = given.load_agents(loading_line())
    questions: Iterator[str] = (
        (line for line in sys.stdin if line.strip()) if batch else iter(single)
    )
    failed = 0
    for line in questions:
        failed += not _answer(given, agents, line, chosen, seed, as_json, agent)
    if failed:
        raise typer.Exit(2)


def _answer(
    given: Program,
    agents: AgentFactory,
    line: str,
    goals: tuple[str, ...],
    seed: int,
    as_json: bool,
    agent: str,
) -> bool:
    """Answer one question; False where it failed, which has then been said."""
    import threading

    from persona.events import Event, TurnFailed
    from persona.turn import Turn, clean_question
    from tui.failures import line_for
    from tui.plain import print_events, print_json

    def events() -> Iterator[Event]:
        try:
            question = clean_question(line)
            yield from agents(goals, seed, agent).turn((), question, threading.Event())
        except Exception as error:
            yield TurnFailed("", line_for(error, given.log))

    if as_json:
        return print_json(events(), _write)
    turn = print_events(events(), Turn("", line.strip(), goals, agent=agent), _write)
    return turn.failure is None


@cli.command()
def query(
    context: typer.Context,
    text: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="A query in the notation.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="What the first relation reads; - is standard input.")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="How many answers to list.")] = None,
    method: Annotated[str, typer.Option(help="exact, sampled, gibbs, asked, data, all.")] = "exact",
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything drawn at random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    batch: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="JSON lines of queries; - is standard input."),
    ] = None,
) -> None:
    """Ask the core a query in the notation, as 'names: name | year=1985, sex=female'.

    RELATION reads a variable off --data, or draws it; RELATION^-1 writes a text from its value.
    'a; b' asks a, then b of what that answered; 'a & b' asks both; '| year=1985' is what is known.
    P(name=Emma | year=1985), H(name), I(a; b) and corr(a, b) measure, behind the name of a corpus
    as well. `candor corpora` lists what there is.
    """
    from tui import queries
    from tui.failures import line_for

    given = program(context)
    if (text is None) == (batch is None):
        raise CandorError("Give either a QUERY or --batch FILE.")
    if batch is not None:
        lines = _lines(batch)
        core = given.load_core(loading_line())
        if data == "-":
            raise CandorError("With --batch each line has its own data: leave '--data -' out.")
        defaults = {"data": data, "top": top, "method": method, "seed": seed}
        queries.run_batch(
            lines, _runner(core), defaults, lambda error: line_for(error, given.log), _write
        )
        return
    assert text is not None
    _check_query(text)
    document = _data(data)
    result = _runner(given.load_core(loading_line()))(text, document, top, method, seed)
    if as_json:
        import json

        _write(json.dumps(result) + "\n")
    else:
        _write(queries.as_text(result) + "\n")


def _runner(core: Core) -> Callable[[str, str | None, int | None, str, int], dict[str, Any]]:
    from tools.query import run_query

    def run(text: str, data: str | None, top: int | None, method: str, seed: int) -> dict[str, Any]:
        return run_query(core, text, _checked(data), top, method, seed)

    return run


def _check_query(text: str) -> None:
    """Find a mistake in the query before the core is loaded."""
    from core_model import notation
    from tools import joint

    joint.resolve(notation.parse(text))


def _data(data: str | None) -> str | None:
    return _checked(sys.stdin.read() if data == "-" else data)


def _checked(data: str | None) -> str | None:
    """Text without control characters; raises CandorError where it is empty or too long."""
    from persona.turn import CONTROLS, readable

    if data is None:
        return None
    cleaned = CONTROLS.sub("", readable(data)).strip()
    if not cleaned:
        raise CandorError("The text to read is empty. Give some text.")
    if len(cleaned) > DATA_LIMIT:
        raise CandorError(
            f"The text to read has {len(cleaned):,} characters; at most {DATA_LIMIT:,} are read. "
            "Give a passage of it."
        )
    return cleaned


def _lines(batch: str) -> list[str]:
    if batch == "-":
        return sys.stdin.readlines()
    try:
        # Not splitlines: a JSON string may hold other line separators as they are.
        return Path(batch).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CandorError(f"{batch} could not be read: {reason}.") from error


@cli.command()
def write(
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="QUERY", help="What is written, in the notation.")],
    about: Annotated[str, typer.Option(help="The variable estimated along the way.")] = "topic",
    sentences: Annotated[int, typer.Option(min=1, max=40, help="How many at most.")] = 4,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything drawn at random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Events as JSON lines.")] = False,
) -> None:
    """Write a text whose topic is estimated anew behind every sentence.

    As in 'speeches: text | author=Abraham Lincoln'. What the text is about by then stands behind
    each sentence, in brackets.
    """
    from tui.queries import written

    _check_query(text)
    core = program(context).load_core(loading_line())
    for line in written(core, text, about, sentences, seed, as_json):
        _write(line)


@cli.command()
def anonymise(
    context: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A passage; - is standard input.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything drawn at random.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="All drafts as one JSON object.")] = False,
) -> None:
    """Write a passage of a speech anew, so that it tells less of who wrote it.

    Behind the text stands how much of its author it gives away, and how much the passage did.
    """
    from tui.queries import anonymous

    passage = _data(text)
    assert passage is not None
    _write(anonymous(program(context).load_core(loading_line()), passage, seed, as_json))


@cli.command()
def goals() -> None:
    """List the goals and which are in force from the start."""
    from persona.goals import DEFAULT_GOALS
    from tui.plain import goals_text

    _write(goals_text(DEFAULT_GOALS))


@cli.command()
def tools(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON schemas.")] = False,
) -> None:
    """List the tools that a question can lead to, with their arguments."""
    import json

    from tools import TOOLS

    if as_json:
        _write(json.dumps([tool.json_schema() for tool in TOOLS.values()], indent=2) + "\n")
        return
    for tool in TOOLS.values():
        doc = "\n".join(f"    {line}".rstrip() for line in tool.doc.strip().splitlines())
        _write(f"{tool.command_line()}\n{doc}\n\n")


@cli.command()
def corpora(
    name: Annotated[str | None, typer.Argument(help="One of them, to see its variables.")] = None,
) -> None:
    """List what can be asked about: the corpora, their variables, and a query of each."""
    from tui import queries

    _write(queries.corpora_listed() if name is None else queries.corpus_in_full(name))


@cli.command()
def export(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="A file that ends in .gguf, or a new folder.")],
) -> None:
    """Write the core for other programs: one GGUF, or a folder that vLLM serves."""
    from core_model.loading import export as write

    write(program(context).settings, path, loading_line())


# ---- output ----------------------------------------------------------------------------------


def _write(text: str) -> None:
    """To standard output at once; what its encoding lacks is escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


def loading_line() -> Progress:
    """Progress on standard error, one line drawn over; nothing where that is not a terminal."""
    if not sys.stderr.isatty():
        return lambda what, part: None

    def show(what: str, part: float) -> None:
        done = part >= 1.0
        text = "" if done else f"loading the core {part:4.0%}  {what}"
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()

    return show


def run(arguments: list[str] | None = None, given: Program | None = None) -> int:
    """Run a command line; returns the exit status, every failure said in one line."""
    log: Path | None = None
    _open_streams()
    try:
        ready = given or Program(Settings.from_environment())
        log = ready.log
        status = cli(arguments, obj=ready, standalone_mode=False)
        return status if isinstance(status, int) else 0
    except BrokenPipeError:
        # Whoever read our output has had enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except Exception as error:
        return _explain(error, log)


def _open_streams() -> None:
    """Streams that were closed are empty; input that is not text in its encoding is still read."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")


def _explain(error: Exception, log: Path | None) -> int:
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        print(file=sys.stderr)
        return 130
    if isinstance(error, TyperException):
        print(
            f"candor: {' '.join(error.format_message().split())} Try 'candor --help'.",
            file=sys.stderr,
        )
        return 2
    if isinstance(error, CandorError):
        print(f"candor: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    from tui.failures import line_for

    said = line_for(error, log) if log is not None else f"{type(error).__name__}: {error}"
    print(f"candor: {said}", file=sys.stderr)
    return 1


def main() -> NoReturn:
    """Entry point of the `candor` command."""
    sys.exit(run())


if __name__ == "__main__":
    main()
