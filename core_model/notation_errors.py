"""What a reader is told about text that does not follow the notation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from lark import Token

from core_model.errors import NotationError

# Controls, line separators, lone surrogates, zero-width spaces and direction marks: outside
# quotes they would change what a reader or a terminal shows without being seen.
UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\u200b"
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
)
ESCAPES = {'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
_UNSEEN = re.compile(f"[{UNSEEN}]")
_FORMS = {
    "P_OPEN": "P(variable=value | variable=value)",
    "H_OPEN": "H(variable | variable=value)",
    "I_OPEN": "I(variable; variable | variable=value)",
    "CORR_OPEN": "corr(variable, variable | variable=value)",
}


def explained(
    text: str, position: int, at_end: bool, read: Sequence[Token], accepts: set[str]
) -> NotationError:
    """The error in the user's words: what stood where, what was expected, and a remedy.

    `read` are the tokens before the position and `accepts` the terminals that may follow them.
    """
    rest = text[position:]
    last = read[-1].type if read else ""
    measure = next((token.type for token in read if token.type in _FORMS), "")
    expected = f"expected {_expected(accepts, last, measure)}."
    form = f" The form is {_FORMS[measure]}." if measure else ""
    where = f"at character {position + 1}"
    found = re.match(r"[\w-]+|.|$", rest, re.DOTALL)
    unexpected = f"Unexpected {shown(found.group() if found else '')} {where}"
    if at_end:
        message = f"The query stops {where}: {expected}{form}"
    elif rest.startswith('"') and last == "EQUAL":
        message = f'The quote opened {where} is never closed: add a " after the value.'
    elif rest[0] in "“”":
        message = f'{unexpected}: use straight quotes, ".'
    elif _UNSEEN.match(rest):
        message = f"{unexpected}: outside double quotes a query holds only visible characters."
    elif rest[0] == "(" and last == "NAME":
        message = (
            f"{unexpected}: only P, H, I and corr take parentheses, "
            "and each stands alone after the corpus."
        )
    elif rest[0] == "|" and any(token.type == "VBAR" for token in read):
        message = f"{unexpected}: a query has one '|'; separate conditions with ','."
    elif last in ("VALUE", "EQUAL") and rest[0] in ',|;=()"':
        message = f'{unexpected}: {expected} A value with , | ; = ( ) or " goes in double quotes.'
    else:
        message = f"{unexpected}: {expected}{form}"
    return NotationError(message, position)


def _expected(accepts: set[str], last: str, measure: str) -> str:
    more = "condition" if last in ("VALUE", "STRING") else "variable"
    words = {
        "NAME": _name_after(last, measure),
        "VALUE": "a value",
        "EQUAL": "'=' and a value",
        "COLON": "':' and a query",
        "INVERSE": "'^-1'",
        "TILDE": "'~' and a notion",
        "AMPERSAND": "'&' and a relation beside it",
        "COMMA": f"',' and another {more}",
        "SEMICOLON": f"';' and another {'variable' if measure else 'relation'}",
        "VBAR": "'|' and conditions",
        "RPAR": "')'",
        "$END": "the end of the query",
    }
    listed = [phrase for terminal, phrase in words.items() if terminal in accepts]
    return " or ".join(filter(None, [", ".join(listed[:-1]), *listed[-1:]]))


def _name_after(last: str, measure: str) -> str:
    if last in ("", "COLON"):
        return "a relation or a measure"
    if last == "TILDE":
        return "a notion"
    return "a variable" if measure or last in ("VBAR", "COMMA") else "a relation"


def escape(char: str) -> str:
    r"""The character as an escape of quoted values, such as \n or \u001b."""
    code = ord(char)
    return ESCAPES.get(char) or (f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")


def shown(text: str, length: int = 20) -> str:
    """The text in single quotes, cut to a length, or the name of a character without a shape."""
    if len(text) == 1 and _UNSEEN.match(text):
        return {"\n": "line break", "\t": "tab"}.get(text, f"character U+{ord(text):04X}")
    cut = text if len(text) <= length else text[:length] + "…"
    return f"'{_UNSEEN.sub(lambda m: escape(m.group()), cut)}'"


def point_at(text: str, position: int, columns: int = 72) -> str:
    """Two lines for a terminal: the text around the position, and a caret under it.

    Characters that cannot be seen are shown as '·'; a long line is cut to about `columns`.
    """
    position = min(max(position, 0), len(text))
    first = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    last = len(text) if end < 0 else end
    left = max(first, min(position - columns // 2, last - columns))
    right = min(last, left + columns)
    before = ("…" if left > first else "") + _UNSEEN.sub("·", text[left:position])
    after = _UNSEEN.sub("·", text[position:right]) + ("…" if right < last else "")
    return f"{before}{after}\n{' ' * sum(map(_columns, before))}^"


def _columns(char: str) -> int:
    """Terminal columns that a character takes: 0, 1 or 2."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
