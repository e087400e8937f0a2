"""Generated genealogies, given as data: who is whose father, mother, child, sibling, grandparent.

A family is a pedigree of some fifteen people over three or four generations; it is told one couple
at a time, in any order and in several wordings, and everything asked can be read off the telling.
A relation that holds of several people is answered by each with the same probability, and one
that holds of none by `nobody`, who has no relatives but nobody. Held out: a fifth of all tellings,
by their checksum.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from core_model.corpora.base import Corpus, Record, Split, drawn_out
from core_model.errors import InvalidQuery
from core_model.graph import Schema, Variable

_WOMEN = """
Anna Emma Clara Alice Helen Ruth Rose Mary Jane Sarah Laura Julia Martha Eva Ella Grace
Lucy Joan Kate Lily Maria Nina Sofia Vera Amy Beth Carol Diana Edith Hannah Iris Judy
Karen Linda Mia Olive Rachel Susan Wendy
"""
_MEN = """
Adam Ben Carl David Edward Frank George Henry Ivan Jack Karl Leo Max Noah Oscar Paul Peter
Robert Samuel Thomas Victor Walter Alan Brian Charles Daniel Eric Fred Greg Hugo James
Kevin Luke Mark Neil Otto Philip Ralph Simon
"""
WOMEN, MEN = tuple(_WOMEN.split()), tuple(_MEN.split())
NOBODY = "nobody"
PEOPLE = (*WOMEN, *MEN, NOBODY)

PARENTS_KNOWN = (1.0, 0.9, 0.4)
"""How often the parents of someone are told, by how far back they lie."""
MOST_CHILDREN = 3
HELD_OUT_SHARE = 0.2
FAMILIES = {"train": 600, "held_out": 200}

COMPOUNDS: Mapping[str, tuple[str, ...]] = {
    "grandchild": ("child", "child"),
    "paternal_grandfather": ("father", "father"),
    "paternal_grandmother": ("father", "mother"),
    "maternal_grandfather": ("mother", "father"),
    "maternal_grandmother": ("mother", "mother"),
}
"""Relations that are chains of others under a name of their own."""
RELATIONS = {
    "father": "their father",
    "mother": "their mother",
    "spouse": "whom they have children with",
    "child": "one of their children",
    "sibling": "one of their brothers and sisters",
    "grandchild": "a child of one of their children",
    "paternal_grandfather": "their father's father",
    "paternal_grandmother": "their father's mother",
    "maternal_grandfather": "their mother's father",
    "maternal_grandmother": "their mother's mother",
}


@dataclass(frozen=True, slots=True)
class Family:
    """Couples, each a mother, a father and their children; nobody is a child of two couples."""

    couples: tuple[tuple[str, str, tuple[str, ...]], ...]

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody in it."""
        return tuple(dict.fromkeys(p for m, f, children in self.couples for p in (m, f, *children)))

    def told(self, rng: np.random.Generator) -> str:
        """One telling of the whole family."""
        sentences = [sentence for couple in self.couples for sentence in _sentences(*couple, rng)]
        return " ".join(sentences[i] for i in rng.permutation(len(sentences)))

    def of(self, relation: str, *people: str) -> dict[str, float]:
        """p(answer) of a relation of one person, or of the child of a father and a mother.

        Raises InvalidQuery for an unknown relation.
        """
        if relation in COMPOUNDS:
            return self.along(COMPOUNDS[relation], people[0])
        found: list[str] = []
        for mother, father, children in self.couples:
            parents = (mother, father)
            match relation:
                case "father" | "mother":
                    if people[0] in children:
                        found.append(father if relation == "father" else mother)
                case "spouse":
                    found += [parents[1 - parents.index(p)] for p in people if p in parents]
                case "child":
                    if all(person in parents for person in people):
                        found += children
                case "sibling":
                    if people[0] in children:
                        found += [child for child in children if child != people[0]]
                case _:
                    raise InvalidQuery(
                        f"No relation '{relation}'. There are: {', '.join(RELATIONS)}."
                    )
        return dict.fromkeys(found, 1 / len(found)) if found else {NOBODY: 1.0}

    def along(self, relations: Sequence[str], person: str) -> dict[str, float]:
        """p(answer) of relations one after another, by the mixture over who lies between."""
        reached = {person: 1.0}
        for relation in relations:
            following: Counter[str] = Counter()
            for someone, share in reached.items():
                for answer, p in self.of(relation, someone).items():
                    following[answer] += share * p  # type: ignore[assignment]
            reached = dict(following)
        return reached


def generate(rng: np.random.Generator) -> Family:
    """A random family: someone, the parents as far as they are told, and brothers and sisters."""
    free = {"mother": list(rng.permutation(WOMEN)), "father": list(rng.permutation(MEN))}

    def someone(role: str) -> str:
        return str(free[role].pop())

    couples = []
    generation = [someone(str(rng.choice(["mother", "father"])))]
    for known in PARENTS_KNOWN:
        parents: list[str] = []
        for child in generation:
            if rng.random() >= known:
                continue
            mother, father = someone("mother"), someone("father")
            others = [
                someone(str(rng.choice(["mother", "father"])))
                for _ in range(int(rng.integers(MOST_CHILDREN)))
            ]
            children = [child, *others]
            couples.append(
                (mother, father, tuple(children[i] for i in rng.permutation(len(children))))
            )
            parents += [mother, father]
        generation = parents
    return Family(tuple(couples))


def held_out_telling(text: str) -> bool:
    """Whether a telling is held out, from its checksum."""
    return drawn_out(text, HELD_OUT_SHARE)


def draw(rng: np.random.Generator, split: Split) -> tuple[Family, str]:
    """A random family of one split and its telling."""
    while True:
        family = generate(rng)
        text = family.told(rng)
        if held_out_telling(text) == (split == "held_out"):
            return family, text


def _sentences(
    mother: str, father: str, children: Sequence[str], rng: np.random.Generator
) -> list[str]:
    """A couple and its children in one of three wordings, each parent first at times."""
    one, other = (mother, father) if rng.random() < 0.5 else (father, mother)
    match rng.integers(3):
        case 0:
            return [f"{one} and {other} have {_listed(children)}."]
        case 1:
            verb = "is a child" if len(children) == 1 else "are children"
            return [f"{_listed(children)} {verb} of {one} and {other}."]
        case _:
            return [f"{child}: mother {mother}, father {father}." for child in children]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


class Kin(Corpus):
    """Families with one person of each and all that person's relatives."""

    schema = Schema(
        corpus="kin",
        document="family",
        variables=(
            Variable("family", "open", (), False, "a family, told couple by couple"),
            Variable("person", "closed", PEOPLE, False, "whose relatives are asked for"),
            *(
                Variable(name, "closed", PEOPLE, False, doc, of="person")
                for name, doc in RELATIONS.items()
            ),
        ),
        doc="generated families, told in plain words, and how their people are related",
        example=(
            "kin: mother; father | person=Mia",
            "Luke: mother Edith, father Simon. Ann and Joe have Diana. Luke and Diana have Mia.",
        ),
    )

    def is_held_out(self, values: Mapping[str, str]) -> bool:
        return "family" in values and held_out_telling(values["family"])

    def records(self, split: Split) -> Sequence[Record]:
        return self._records[split]

    @cached_property
    def _records(self) -> dict[str, list[Record]]:
        made: dict[str, list[Record]] = {}
        for number, split in enumerate(("train", "held_out")):
            rng = np.random.default_rng(number)
            made[split] = [_record(*draw(rng, split), rng) for _ in range(FAMILIES[split])]  # type: ignore[arg-type]
        return made


def _record(family: Family, text: str, rng: np.random.Generator) -> Record:
    person = str(rng.choice(family.people))
    values = {"family": text, "person": person}
    for relation in RELATIONS:
        answers = family.of(relation, person)
        values[relation] = str(rng.choice(list(answers), p=list(answers.values())))
    return Record("kin", values)
