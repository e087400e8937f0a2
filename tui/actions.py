"""Every action, once: the keys, the palette, the slash commands and the help come from this list.

An action named `x` is the method `action_x` of the application; where it has an argument, the slash
command passes what follows it. Keys are ones that every terminal sends; a person may change them in
`preferences.json` under "keys", by the action's name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Action:
    """Something a person can do; `slash` is its command, with `argument` naming what may follow."""

    name: str
    title: str
    doc: str
    keys: str = ""
    slash: str = ""
    argument: str = ""
    in_plain: bool = False

    @property
    def usage(self) -> str:
        """The slash command with its argument, `/export [FILE]`."""
        return f"/{self.slash} [{self.argument}]" if self.argument else f"/{self.slash}"


ACTIONS: tuple[Action, ...] = (
    Action("help", "Help", "keys, commands and how to read a card", "f1", "help", in_plain=True),
    Action(
        "new", "New conversation", "begin again with nothing said", "ctrl+n", "new", in_plain=True
    ),
    Action("stop", "Stop the reply", "keep what is written so far", "escape"),
    Action(
        "again", "Ask again", "edit the last question and ask it as a new branch", "ctrl+r", "again"
    ),
    Action(
        "compare",
        "Compare",
        "put a question, or the last one, to the instruct base too, or to a rival named first",
        "",
        "compare",
        "QUESTION",
        in_plain=True,
    ),
    Action(
        "goals",
        "Goals",
        "what the author of the replies is conditioned on",
        "ctrl+g",
        "goals",
        "GOAL …",
        in_plain=True,
    ),
    Action("sidebar", "Conversations", "show or hide the list", "ctrl+b", "list"),
    Action(
        "find",
        "Find a conversation",
        "search titles and everything said",
        "ctrl+f",
        "find",
        "WORDS",
    ),
    Action(
        "cards", "Cards", "close, open or fully open the cards of the last reply", "ctrl+o", "cards"
    ),
    Action(
        "copy",
        "Copy the last reply",
        "to the system clipboard, or through the terminal",
        "ctrl+y",
        "copy",
    ),
    Action(
        "export",
        "Export",
        "write this conversation to a Markdown file",
        "",
        "export",
        "FILE",
        in_plain=True,
    ),
    Action(
        "delete",
        "Delete this conversation",
        "for good, when it is said twice",
        "",
        "delete",
        in_plain=True,
    ),
    Action("theme", "Theme", "light, dark or the terminal's own colours", "f2", "theme", "NAME"),
    Action("command_palette", "Commands", "find any action by its name", "ctrl+p"),
    Action("quit", "Quit", "leave; everything is saved", "ctrl+q", "quit", in_plain=True),
)

DELETE_AGAIN = "This deletes the conversation for good. /delete once more does it."
DELETED = "The conversation is deleted."

COMPOSER_KEYS: tuple[tuple[str, str], ...] = (
    ("enter", "send the question"),
    ("ctrl+j", "new line (shift+enter too, where the terminal sends it)"),
    ("up", "earlier questions, from the first line"),
    ("down", "on the welcome screen: to the questions to try"),
    ("tab", "move between the question, the cards and the list"),
)


def by_slash(word: str) -> Action | None:
    """The action of a slash command, without its slash."""
    return next((action for action in ACTIONS if action.slash and action.slash == word), None)


def matching(typed: str) -> list[Action]:
    """Actions whose slash command begins with what is typed after the slash."""
    return [action for action in ACTIONS if action.slash and action.slash.startswith(typed)]


def help_markdown(keys: dict[str, str] | None = None) -> str:
    """The help page; `keys` are a person's own, by action name."""
    remapped = keys or {}
    rows = []
    for action in ACTIONS:
        key = remapped.get(action.name, action.keys).replace("escape", "esc")
        slash = f"`{action.usage}`" if action.slash else ""
        rows.append(f"| {f'`{key}`' if key else ''} | {slash} | **{action.title}**: {action.doc} |")
    writing = "\n".join(f"| `{key}` | | {doc} |" for key, doc in COMPOSER_KEYS)
    return HELP.format(writing=writing, rows="\n".join(rows))


HELP = """\
# Candor

Ask about the corpora in plain words. Where a number is needed a tool is called, and its card shows
which distribution answered.

| key | command | what it does |
|---|---|---|
{writing}
{rows}

## Reading a card

- The title is the tool and the **query in the notation**: `names: name | year=1985, sex=female` is
  *p(name | year 1985, female)* in the corpus *names*. The same line works with `candor query`.
- A bar `━` is the **model's** probability; the mark `┃` on it, and the second number, is what was
  **counted** in the corpus.
- `±` is a standard error; `n` the number of samples or records; `enumerated` means no sampling.
- The seed runs the same call again. What is sampled is drawn at temperature 1, from the whole
  distribution; replies are written at temperature 0.3.
- Under a reply in the author's own words: the conduct and the voice that it **reads as**; `!` marks
  one that does not read as what `/goals` asked for.
- Under a reply on a fact that was inferred: how sure that fact is, and the entropy of its answer.
- Under each reply: the chance that it is **safe**, that it is a **refusal**, and that your question
  was **harmful**, as the model itself estimates them. An unsafe reply is withheld and written anew,
  and texts that a tool drew are withheld where they are unsafe.
"""
