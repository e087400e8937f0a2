"""Sources of random words: stochastic grammars, phonologies and small programs, told as data.

Each is drawn at random together with its exact distribution, found by going through every way in
which it can come out. None is recursive, and each has at most `MOST_ANSWERS` answers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np

Table = dict[str, float]
Rng = np.random.Generator
MOST_ANSWERS = 300
WORDS = (
    *("cat", "dog", "bird", "fish", "horse", "tree", "house", "river", "stone", "road"),
    *("old", "small", "green", "cold", "quiet", "fast", "sees", "finds", "holds", "leaves"),
    *("the", "a", "one", "every", "here", "now", "again", "and", "with", "near"),
)
CONSONANTS, VOWELS, CODAS = "ptkbdgmnslrvz", "aeiou", "nslrmt"


def percentages(n: int, rng: Rng) -> list[int]:
    """n whole percentages, each at least 1, that sum to 100."""
    cuts = np.sort(rng.choice(np.arange(1, 100), n - 1, replace=False))
    return [int(share) for share in np.diff([0, *cuts, 100])]


def grammar(rng: Rng) -> tuple[str, Table]:
    """Rules with shares, such as `S: A the B 60% | B 40%; A: …`, and p(sentence)."""
    while True:
        symbols = ["S", "A", "B", "C"][: int(rng.integers(2, 5))]
        words = [str(word) for word in rng.permutation(WORDS)]
        rules: dict[str, list[tuple[list[str], int]]] = {}
        for place, symbol in enumerate(symbols):
            below = symbols[place + 1 :]
            n = int(rng.integers(2, 4))
            shares = percentages(n, rng)
            expansions: list[list[str]] = []
            for _ in range(n):
                parts = [words.pop() for _ in range(int(rng.integers(1, 3)))] if words else []
                parts += [str(s) for s in rng.permutation(below)[: int(rng.integers(0, 3))]]
                expansions.append([str(part) for part in rng.permutation(parts)])
            rules[symbol] = list(zip(expansions, shares, strict=True))
        used = {part for rule in rules.values() for parts, _ in rule for part in parts}
        found = _derived(rules, "S")
        if set(symbols[1:]) <= used and 2 < len(found) <= MOST_ANSWERS:
            break
    text = "; ".join(
        f"{symbol}: " + " | ".join(f"{' '.join(parts)} {share}%" for parts, share in rule)
        for symbol, rule in rules.items()
    )
    return text, found


def _derived(rules: dict[str, list[tuple[list[str], int]]], symbol: str) -> Table:
    """p(sentence) of what a symbol stands for."""
    table: Table = {}
    for parts, share in rules[symbol]:
        ways: list[list[tuple[str, float]]] = [
            list(_derived(rules, part).items()) if part in rules else [(part, 1.0)]
            for part in parts
        ]
        for way in itertools.product(*ways):
            sentence = " ".join(text for text, _ in way)
            p = share / 100 * float(np.prod([p for _, p in way]))
            table[sentence] = table.get(sentence, 0.0) + p
    return table


def phonology(rng: Rng) -> tuple[str, Table]:
    """Sounds of a language and p(word): syllables of an onset, a vowel and, at times, a coda."""
    while True:
        onsets = [str(c) for c in rng.permutation(list(CONSONANTS))[: int(rng.integers(1, 5))]]
        vowels = [str(v) for v in rng.permutation(list(VOWELS))[: int(rng.integers(1, 4))]]
        codas = [str(c) for c in rng.permutation(list(CODAS))[: int(rng.integers(0, 3))]]
        closed = int(rng.integers(1, 10)) * 10 if codas else 0
        long = int(rng.integers(1, 10)) * 10
        if (len(onsets) * len(vowels) * (len(codas) + 1)) ** 2 <= MOST_ANSWERS:
            break
    syllables = {
        onset + vowel + coda: p / len(onsets) / len(vowels)
        for onset, vowel in itertools.product(onsets, vowels)
        for coda, p in [("", 1 - closed / 100), *((c, closed / 100 / len(codas)) for c in codas)]
    }
    table: Table = {word: (1 - long / 100) * p for word, p in syllables.items()}
    for (one, p), (other, q) in itertools.product(syllables.items(), repeat=2):
        table[one + other] = table.get(one + other, 0.0) + long / 100 * p * q
    end = f", in {closed}% closed by {' or '.join(codas)}" if codas else ""
    text = (
        f"a word of two syllables in {long}%, else of one; a syllable is {' or '.join(onsets)} "
        f"and {' or '.join(vowels)}{end}"
    )
    return text, table


def program(rng: Rng) -> tuple[str, Table]:
    """A program of draws and one printed answer, and p(answer)."""
    names = ["x", "y", "z"][: int(rng.integers(1, 4))]
    drawn = [_draw(rng) for _ in names]
    printed, compute = _printed(names, rng)
    table: Table = {}
    for way in itertools.product(*(values.items() for _, values in drawn)):
        answer = compute([value for value, _ in way])
        table[str(answer)] = table.get(str(answer), 0.0) + float(np.prod([p for _, p in way]))
    lines = [f"{name} = {told}" for name, (told, _) in zip(names, drawn, strict=True)]
    return "; ".join([*lines, printed]), table


def _draw(rng: Rng) -> tuple[str, dict[int, float]]:
    """How a variable is drawn, and p(value)."""
    match int(rng.integers(3)):
        case 0:
            sides = int(rng.choice([3, 4, 6, 8]))
            return f"die({sides})", dict.fromkeys(range(1, sides + 1), 1 / sides)
        case 1:
            percent = int(rng.integers(5, 96))
            return f"coin({percent / 100})", {1: percent / 100, 0: 1 - percent / 100}
        case _:
            values = [int(v) for v in rng.choice(20, int(rng.integers(2, 5)), replace=False)]
            return f"pick({', '.join(map(str, values))})", dict.fromkeys(values, 1 / len(values))


def _printed(names: Sequence[str], rng: Rng) -> tuple[str, Callable[[Sequence[int]], int | str]]:
    """The line that prints, and what it prints of the drawn values."""
    first, last, by = names[0], names[-1], int(rng.integers(2, 6))
    one, other = (str(word) for word in rng.choice(WORDS[:10], 2, replace=False))
    match int(rng.integers(6)):
        case 0:
            return f"print({' + '.join([*names, str(by)])})", lambda v: sum(v) + by
        case 1:
            return f"print({first} * {by})", lambda v: v[0] * by
        case 2:
            return f"print(max({', '.join([*names, str(by)])}))", lambda v: max(*v, by)
        case 3:
            return (
                f"print({one} if {first} > {by} else {other})",
                lambda v: one if v[0] > by else other,
            )
        case 4:
            return (
                f"print({first} if {last} < {by} else {other})",
                lambda v: v[0] if v[-1] < by else other,
            )
        case _:
            return f"print(({' + '.join(names)}) % {by})", lambda v: sum(v) % by
