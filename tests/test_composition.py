"""Relations composed: side by side, along chains within one document, and asked as one question."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from core_model.core import (
    Core,
    Distribution,
    from_weights,
)
from core_model.corpora import kin
from core_model.errors import CandorError, InvalidQuery
from core_model.gibbs import gibbs
from core_model.notation import Binding
from core_model.planning import Conditional, at_once, plan
from core_model.tasks.kin import two_parents
from tests import toy
from tests.toy import draw

FAMILY = kin.Family(
    (
        ("Mary", "Carl", ("Anna", "Ben")),
        ("Ruth", "Paul", ("Carl", "Emma", "Karl")),
        ("Jane", "Otto", ("Paul",)),
    )
)
TOLD = FAMILY.told(np.random.default_rng(0))


class KinCore(Core):
    """Answers of one family, as its pedigree has them."""

    name = "kin"

    def weights(self, conditional: Conditional) -> dict[str, float]:
        """p(answer): of one person, or of both parents where no person is known."""
        known = {b.variable: b.value for b in conditional.given}
        assert known.pop("family") == TOLD
        if "person" in known:
            assert set(known) <= {"person", "father"}
            return FAMILY.of(conditional.variable, known["person"])
        return FAMILY.of(conditional.variable, *known.values())

    def log_prob_of(self, conditional: Conditional, answers: Sequence[str]) -> NDArray[np.float64]:
        weights = self.weights(conditional)
        with np.errstate(divide="ignore"):
            return np.log(np.array([weights.get(answer, 0.0) for answer in answers]))

    def sample_of(self, conditional: Conditional, n: int, rng: np.random.Generator) -> list[str]:
        weights = self.weights(conditional)
        return [str(x) for x in rng.choice(list(weights), n, p=list(weights.values()))]

    def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
        return from_weights("", "exact", self.weights(conditional), 0).top(top)

    def choose(
        self, conditional: Conditional, partial: Sequence[str], options: Sequence[str | None]
    ) -> NDArray[np.float64]:
        raise NotImplementedError

    def write(self, *_: object, **__: object) -> Iterator[str]:  # type: ignore[override]
        raise NotImplementedError


@pytest.fixture
def core() -> Iterator[Core]:
    with toy.registered(*toy.all_toys()) as made:
        yield made


def table(found: Distribution) -> dict[str, float]:
    return {answer.value: answer.probability for answer in found.answers}


# --- several unknowns ---------------------------------------------------------------------------


def test_relations_side_by_side_are_drawn_jointly(core: Core) -> None:
    """p(sky, wind) = p(sky) p(wind | sky), whichever is named first."""
    found = core.distribution(draw("weather: sky & wind"))
    assert table(found) == pytest.approx(
        {f"sky={s}, wind={w}": toy.SKY[s] * p for s in toy.SKY for w, p in toy.WIND[s].items()}
    )
    assert found.entropy_nats == pytest.approx(-sum(p * math.log(p) for p in table(found).values()))
    turned = table(core.distribution(draw("weather: wind & sky")))
    assert sorted(turned.values()) == pytest.approx(sorted(table(found).values()))
    answers = [*table(found), "sky=green, wind=0"]
    log_p = core.log_prob(draw("weather: sky & wind"), answers)
    assert np.exp(log_p) == pytest.approx([*table(found).values(), 0.0])


def test_samples_of_several_unknowns_follow_their_joint(core: Core) -> None:
    n = 3000
    counts = Counter(core.sample(draw("weather: sky & wind"), n, np.random.default_rng(2)))
    for answer, p in table(core.distribution(draw("weather: sky & wind"))).items():
        assert abs(counts[answer] / n - p) < 4 * math.sqrt(p * (1 - p) / n)


def test_what_follows_reads_all_that_stand_side_by_side(core: Core) -> None:
    """p(word) along `sky & wind; word` is the joint's own marginal, both being its parents."""
    chain = core.distribution(draw("weather: sky & wind; word"), top=5)
    alone = core.distribution(draw("weather: word"))
    assert table(chain) == pytest.approx(table(alone))


def test_free_text_beside_others_is_only_sampled(core: Core) -> None:
    with pytest.raises(CandorError, match="can only be sampled"):
        core.distribution(draw("weather: sky & text"))
    with pytest.raises(CandorError, match="--method sampled"):
        core.distribution(draw("weather: sky & word"))
    drawn = core.sample(draw("weather: sky & word | wind=0"), 5, np.random.default_rng(0))
    assert all(answer.startswith("sky=") and ", word=" in answer for answer in drawn)


def test_an_inverse_stands_alone(core: Core) -> None:
    with pytest.raises(InvalidQuery, match="stands alone"):
        core.distribution(draw("names: sex & year^-1 | year=1985"))
    with pytest.raises(InvalidQuery, match="both asked and given"):
        core.distribution(draw("weather: sky & wind | wind=0"))


# --- chains within one document -----------------------------------------------------------------


@pytest.mark.parametrize("person", FAMILY.people)
@pytest.mark.parametrize("chain", [("father", "father"), ("mother", "sibling"), ("child",) * 3])
def test_a_chain_of_relatives_stays_in_its_family(person: str, chain: tuple[str, ...]) -> None:
    query = draw(f"kin: {'; '.join(chain)} | person={person}")
    found = table(KinCore().distribution(query, data=TOLD))
    assert found == pytest.approx(FAMILY.along(chain, person))


@pytest.mark.parametrize("name", kin.COMPOUNDS)
def test_a_name_for_a_chain_means_the_chain(name: str) -> None:
    for person in FAMILY.people:
        query = draw(f"kin: {'; '.join(kin.COMPOUNDS[name])} | person={person}")
        assert table(KinCore().distribution(query, data=TOLD)) == pytest.approx(
            FAMILY.of(name, person)
        )


@pytest.mark.parametrize("person", FAMILY.people)
def test_a_child_of_both_parents(person: str) -> None:
    """A composition that is no chain: what follows reads father and mother, and no person."""
    query = draw(f"kin: father & mother; child | person={person}")
    assert table(KinCore().distribution(query, data=TOLD)) == pytest.approx(
        two_parents(FAMILY, person)
    )
    last = plan(query, TOLD)[-1].bind(("Carl", "Mary"))
    assert last.given == (
        Binding("family", TOLD), Binding("father", "Carl"), Binding("mother", "Mary")
    )  # fmt: skip


def test_a_chain_asked_at_once_is_one_question() -> None:
    query = draw("kin: father; father | person=Anna")
    once = at_once(query, TOLD)
    assert once == Conditional(
        "kin", "father; father", (Binding("person", "Anna"), Binding("family", TOLD))
    )
    assert kin.Kin.schema.asked("father & mother; child").name == "child"
    with pytest.raises(InvalidQuery, match="does not end in one relation"):
        at_once(draw("kin: sibling; father & mother | person=Anna"), TOLD)


# --- one variable at a time ---------------------------------------------------------------------


def test_gibbs_sampling_reaches_the_joint(core: Core) -> None:
    """From independent starts, the sweeps alone bring in what the variables say of each other."""
    n, names = 4000, ("sky", "wind", "word")
    counts = Counter(gibbs(core, "weather", names, (), n, np.random.default_rng(4), sweeps=8))
    joint = {
        (sky, wind, word): toy.SKY[sky] * p_wind * p_word
        for sky in toy.SKY
        for wind, p_wind in toy.WIND[sky].items()
        for word, p_word in zip(toy.WORDS, toy.WORD[sky, wind], strict=True)
    }
    assert set(counts) <= {state for state, p in joint.items() if p}
    distance = sum(abs(counts[state] / n - p) for state, p in joint.items()) / 2
    assert distance < 0.5 * math.sqrt(len(joint) / n)
    marginals = Counter(gibbs(core, "weather", names, (), n, np.random.default_rng(4), sweeps=0))
    started = sum(abs(marginals[state] / n - p) for state, p in joint.items()) / 2
    assert started > 3 * distance


def test_gibbs_sampling_keeps_what_is_given(core: Core) -> None:
    rng = np.random.default_rng(5)
    drawn = gibbs(core, "weather", ("sky", "word"), (Binding("wind", "0"),), 2000, rng, sweeps=8)
    exact = {
        tuple(part.split("=")[1] for part in answer.split(", ")): p
        for answer, p in table_of_samples(core).items()
    }
    for state, p in exact.items():
        assert abs(Counter(drawn)[state] / 2000 - p) < 4 * math.sqrt(p * (1 - p) / 2000)
    with pytest.raises(InvalidQuery, match="at least one"):
        gibbs(core, "weather", (), (), 1, rng)


def table_of_samples(core: Core) -> dict[str, float]:
    """p(sky, word | wind=0) by hand."""
    skies = {sky: toy.SKY[sky] * toy.WIND[sky]["0"] for sky in toy.SKY}
    return {
        f"sky={sky}, word={word}": share / sum(skies.values()) * p
        for sky, share in skies.items()
        for word, p in zip(toy.WORDS, toy.WORD[sky, "0"], strict=True)
        if p
    }
