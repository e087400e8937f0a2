"""Long texts as their beginning and their end: a question may stand on either side of a text."""

from __future__ import annotations


def shortened(text: str, words: int, spelled: int) -> str:
    """A text of more than so many words, or bytes in UTF-8, as its two ends with `…` between.

    Both bounds count: script that takes many tokens has few blanks.
    """
    split = text.split(" ")
    if len(split) > words:
        half = words // 2
        text = " ".join([*split[:half], "…", *split[-half:]])
    whole = text.encode("utf-8", "replace")
    if len(whole) > spelled:
        half = spelled // 2
        begin, end = whole[:half].decode("utf-8", "ignore"), whole[-half:]
        text = f"{begin} … {end.decode('utf-8', 'ignore')}"
    return text
