"""Laws that every core obeys, proven on a core whose every probability is written down."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from core_model import corpora, notation
from core_model.core import (
    CHAIN_SAMPLES,
    Core,
    Distribution,
    Remembering,
    from_weights,
    jackknife,
)
from core_model.errors import CandorError, EmptySupport, InvalidQuery, UnknownName
from core_model.notation import Binding, Correlation, Draw, Entropy, MutualInformation, Probability
from core_model.planning import Conditional
from tests import toy
from tests.toy import draw
from tools import distributions, joint, measures

CONDITIONALS = [
    Conditional("weather", "sky"),
    Conditional("weather", "wind", (Binding("sky", "cloudy"),)),
    Conditional("weather", "word", (Binding("wind", "20"),)),
    Conditional("names", "name", (Binding("year", "1985"), Binding("sex", "female"))),
    Conditional("names", "year", (Binding("name", "Leslie"),)),
    Conditional("speeches", "author", (Binding("text", "to think anew and act anew"),)),
    Conditional("speeches", "party", (Binding("medium", "written"),)),
]


@pytest.fixture
def core() -> Iterator[Core]:
    with toy.registered(*toy.all_toys()) as known:
        yield known


def shown(conditional: Conditional) -> str:
    return f"{conditional.corpus}.{conditional.variable}"


# --- a distribution -----------------------------------------------------------------------------


@pytest.mark.parametrize("conditional", CONDITIONALS, ids=shown)
def test_a_distribution_sums_to_one_and_is_sorted(core: Core, conditional: Conditional) -> None:
    found = core.distribution_of(conditional)
    p = [answer.probability for answer in found.answers]
    assert sum(p) == pytest.approx(1.0, abs=1e-12)
    assert found.listed_mass == pytest.approx(1.0, abs=1e-12)
    assert p == sorted(p, reverse=True)
    assert found.entropy_nats == pytest.approx(-sum(q * math.log(q) for q in p))


@pytest.mark.parametrize("conditional", CONDITIONALS, ids=shown)
def test_a_distribution_is_its_log_probabilities(core: Core, conditional: Conditional) -> None:
    answers = core.distribution_of(conditional).answers
    log_p = core.log_prob_of(conditional, [answer.value for answer in answers])
    assert np.exp(log_p) == pytest.approx([answer.probability for answer in answers])


@pytest.mark.parametrize("conditional", CONDITIONALS, ids=shown)
def test_a_batch_equals_its_single_answers(core: Core, conditional: Conditional) -> None:
    values = [answer.value for answer in core.distribution_of(conditional).answers]
    singly = [core.log_prob_of(conditional, [value])[0] for value in values]
    assert core.log_prob_of(conditional, values) == pytest.approx(singly, abs=1e-12)


@pytest.mark.parametrize("conditional", CONDITIONALS, ids=shown)
def test_samples_fit_the_log_probabilities(core: Core, conditional: Conditional) -> None:
    """Pearson's χ² over the cells that expect five samples, the rest pooled."""
    n = 2000
    counts = Counter(core.sample_of(conditional, n, np.random.default_rng(7)))
    answers = core.distribution_of(conditional).answers
    assert set(counts) <= {answer.value for answer in answers}
    large = [answer for answer in answers if n * answer.probability >= 5]
    observed = [counts[answer.value] for answer in large]
    expected = [n * answer.probability for answer in large]
    if len(large) < len(answers):
        observed.append(n - sum(observed))
        expected.append(n - sum(expected))
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_the_same_seed_gives_the_same_samples(core: Core) -> None:
    conditional = CONDITIONALS[3]
    first, second = (
        core.sample_of(conditional, 20, np.random.default_rng(seed)) for seed in (5, 5)
    )
    assert first == second


def test_the_top_answers_are_those_of_the_whole(core: Core) -> None:
    whole = core.distribution_of(CONDITIONALS[3])
    top = core.distribution_of(CONDITIONALS[3], top=2)
    assert top.answers == whole.answers[:2]
    assert top.listed_mass == pytest.approx(sum(a.probability for a in top.answers))
    assert top.entropy_nats == whole.entropy_nats


def test_free_text_is_sampled_and_scored_but_not_listed(core: Core) -> None:
    conditional = Conditional("weather", "text", (Binding("sky", "clear"),))
    with pytest.raises(CandorError, match="free text"):
        core.distribution_of(conditional)
    text = core.sample_of(conditional, 1, np.random.default_rng(0))[0]
    assert math.exp(core.log_prob_of(conditional, [text])[0]) == pytest.approx(
        toy.TEXT["clear"][text]
    )
    assert core.log_prob_of(conditional, ["never said"])[0] == -math.inf


def test_what_cannot_be_is_an_empty_support(core: Core) -> None:
    given = (Binding("name", "Jennifer"), Binding("sex", "male"))
    with pytest.raises(EmptySupport):
        core.distribution_of(Conditional("names", "year", given))


# --- an answer piece by piece -------------------------------------------------------------------

DAY = "A day like any other; nobody looked up."
CLOUDY = Conditional("weather", "text", (Binding("sky", "cloudy"),))


def following(answers: Iterable[str], partial: list[str]) -> list[str | None]:
    """The words that go on from `partial` in one of the answers; None where one ends there."""
    begun = [answer.split() for answer in answers]
    rest = [words[len(partial) :] for words in begun if words[: len(partial)] == partial]
    return list(dict.fromkeys(words[0] if words else None for words in rest))


def test_the_pieces_that_may_follow_sum_to_the_whole(core: Core) -> None:
    for partial in ([], ["A"], DAY.split()[:-1], DAY.split()):
        options = following(toy.TEXT["cloudy"], partial)
        assert np.exp(core.choose(CLOUDY, partial, options)).sum() == pytest.approx(1.0)


def test_the_pieces_of_an_answer_multiply_to_its_probability(core: Core) -> None:
    """Σ_i log p(piece_i | pieces before) + log p(end | pieces) = log p(answer)."""
    for answer in toy.TEXT["cloudy"]:
        pieces, total = answer.split(), 0.0
        for place in range(len(pieces) + 1):
            options = following(toy.TEXT["cloudy"], pieces[:place])
            wanted = pieces[place] if place < len(pieces) else None
            total += core.choose(CLOUDY, pieces[:place], options)[options.index(wanted)]
        assert total == pytest.approx(core.log_prob_of(CLOUDY, [answer])[0])


def test_a_choice_is_among_its_options(core: Core) -> None:
    words = Conditional("weather", "word", (Binding("sky", "clear"), Binding("wind", "0")))
    two = np.exp(core.choose(words, [], ["calm", "breezy"]))
    assert two == pytest.approx([0.5 / 0.6, 0.1 / 0.6])
    assert core.choose(words, [], ["calm"]) == pytest.approx([0.0])
    assert core.choose(words, ["calm"], [None, "indeed"]) == pytest.approx([0.0, -np.inf])
    with pytest.raises(EmptySupport):
        core.choose(words, [], ["stormy"])


def test_writing_draws_an_answer_and_keeps_to_its_numbers(core: Core) -> None:
    winds = Conditional("weather", "wind", (Binding("sky", "cloudy"),))
    written = ["".join(core.write(winds, np.random.default_rng(i), None)) for i in range(20)]
    assert set(written) == {"0", "10", "20"}
    kept = {"".join(core.write(winds, np.random.default_rng(i), ["20"])) for i in range(20)}
    assert kept == {"", "20"}


def test_a_scripted_core_speaks_as_it_is_told() -> None:
    core = toy.ScriptedCore(
        toy.weather(),
        calls=lambda question: ["entropy", "weather", "sky"] if "sky" in question else ["reply"],
        replies=lambda question, result: f"It is {result}, not 7.5." if result else "Hello!",
    )
    asked = (Binding("user", "hello"), Binding("assistant", "Hello!"), Binding("user", "the sky?"))
    call = Conditional("dialogue", "call", asked)
    assert core.choose(call, [], ["reply", "entropy"]).argmax() == 1
    assert core.choose(call, ["entropy", "weather"], ["wind", "sky"]).argmax() == 1
    assert core.choose(call, ["entropy", "weather", "sky"], [None, "wind"]).argmax() == 0
    assert np.exp(core.choose(call, ["sample"], ["weather", "names"])) == pytest.approx(0.5)
    result = (*asked, Binding("result", "model 0.97 bits"))
    reply = Conditional("dialogue", "reply", result)
    rng = np.random.default_rng(0)
    assert "".join(core.write(reply, rng, ["0.97"])) == "It is model 0.97 bits, not ."
    assert "".join(core.write(reply, rng, None, opening="It is")).startswith(" model")
    assert list(core.write(Conditional("dialogue", "reply", asked), rng, [])) == ["Hello!"]


# --- Bayes --------------------------------------------------------------------------------------


def test_inverting_the_inverse_is_bayes_law(core: Core) -> None:
    """p(sky | text) = p(text | sky) p(sky) / Σ p(text | sky) p(sky)."""
    text = "A day like any other; nobody looked up."
    likelihood = np.exp(
        [
            core.log_prob_of(Conditional("weather", "text", (Binding("sky", sky),)), [text])[0]
            for sky in toy.SKY
        ]
    )
    product = likelihood * np.array(list(toy.SKY.values()))
    posterior = core.distribution_of(Conditional("weather", "sky", (Binding("text", text),)))
    assert [posterior.probability_of(sky) for sky in toy.SKY] == pytest.approx(
        product / product.sum()
    )


def test_the_two_routes_to_a_joint_agree(core: Core) -> None:
    """p(x) p(y|x) = p(y) p(x|y)."""
    one = joint.table(core, "weather", ("sky", "wind"), ())
    for (sky, wind), p in one.items():
        back = core.distribution_of(Conditional("weather", "wind")).probability_of(wind)
        back *= core.distribution_of(
            Conditional("weather", "sky", (Binding("wind", wind),))
        ).probability_of(sky)
        assert p == pytest.approx(back, abs=1e-12)


# --- chains -------------------------------------------------------------------------------------


def test_a_chain_equals_the_mixture_over_its_intermediate_answers(core: Core) -> None:
    """p(year) along `party; year` = Σ_party p(party | text) p(year | party)."""
    text = "The Union must be preserved"
    chain = core.distribution(draw("speeches: party; year"), data=text)
    parties = core.distribution(draw("speeches: party"), data=text)
    mixture: dict[str, float] = defaultdict(float)
    for party in parties.answers:
        given = (Binding("party", party.value),)
        for year in core.distribution_of(Conditional("speeches", "year", given)).answers:
            mixture[year.value] += party.probability * year.probability
    assert {a.value: a.probability for a in chain.answers} == pytest.approx(mixture)
    assert chain.method == "exact"
    assert chain.n == 0


def test_a_chain_of_three_sums_to_one(core: Core) -> None:
    chain = core.distribution(draw("speeches: medium; party; author"), data="slamming the gates")
    assert chain.listed_mass == pytest.approx(1.0)


def test_samples_along_a_chain_follow_the_mixture(core: Core) -> None:
    query, text, n = draw("speeches: author; party"), "trusts are the creatures of the State", 2000
    counts = Counter(core.sample(query, n, np.random.default_rng(3), data=text))
    for answer in core.distribution(query, data=text).answers:
        p = answer.probability
        assert abs(counts[answer.value] / n - p) < 4 * math.sqrt(p * (1 - p) / n)


def test_a_chain_through_free_text_is_sampled_and_says_so(core: Core) -> None:
    query = draw("weather: sky^-1; wind | sky=clear")
    found = core.distribution(query, rng=np.random.default_rng(1))
    assert found.method == "sampled"
    assert found.n > 0
    assert found.listed_mass == pytest.approx(1.0)


def names_of_the_years_of(core: Core, name: str) -> dict[str, float]:
    """p(name') along `year; name`, by hand: Σ_year p(year | name) p(name' | year)."""
    mixture: dict[str, float] = defaultdict(float)
    for year in core.distribution_of(
        Conditional("names", "year", (Binding("name", name),))
    ).answers:
        given = (Binding("year", year.value),)
        for other in core.distribution_of(Conditional("names", "name", given)).answers:
            mixture[other.value] += year.probability * other.probability
    return mixture


@pytest.mark.parametrize("top", [1, 3, None])
def test_the_answers_of_a_chain_are_those_of_the_mixture(core: Core, top: int | None) -> None:
    """An answer that leads in no state may lead in their mixture; cut or not, p is the same."""
    truth = names_of_the_years_of(core, "Leslie")
    ranked = sorted(truth, key=lambda name: (-truth[name], name))
    query = draw("names: year; year^-1")
    found = core.distribution(query, data="Leslie", top=top, rng=np.random.default_rng(5))
    assert [a.value for a in found.answers][:3] == ranked[:3][:top]
    assert {a.value: a.probability for a in found.answers} == pytest.approx(
        {a.value: truth[a.value] for a in found.answers}
    )
    entropy = -sum(p * math.log(p) for p in truth.values())
    assert abs(found.entropy_nats - entropy) <= 4 * found.entropy_stderr
    assert (found.method, found.n) == ("exact", CHAIN_SAMPLES)
    log_p = core.log_prob(query, ranked, data="Leslie")
    assert np.exp(log_p) == pytest.approx([truth[name] for name in ranked])


def test_the_entropy_over_drawn_states_has_no_bias(core: Core) -> None:
    """Along `text; sky` it is H(sky): over 40 runs the mean lies within its own error."""
    truth = -sum(p * math.log(p) for p in toy.SKY.values())
    runs = [
        core.distribution(draw("weather: text; sky"), rng=np.random.default_rng(seed))
        for seed in range(40)
    ]
    errors = np.array([run.entropy_nats - truth for run in runs])
    stated = float(np.mean([run.entropy_stderr for run in runs]))
    assert abs(errors.mean()) <= 3 * stated / math.sqrt(len(runs))
    assert 0.6 * stated < errors.std(ddof=1) < 1.6 * stated


def test_a_jackknife_of_a_mean_is_the_mean_and_its_error() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 1))
    value, error = jackknife(lambda mean: float(mean[0]), rows)
    assert value == pytest.approx(rows.mean())
    assert error == pytest.approx(rows.std(ddof=1) / math.sqrt(50))


@pytest.mark.parametrize(
    ("query", "data"), [("names: name", None), ("names: year; year^-1", "Emma")]
)
def test_the_entropy_of_few_samples_has_no_bias(core: Core, query: str, data: str | None) -> None:
    """Counts of 20 names alone would give some 0.2 nats less than there are."""
    asked = draw(query)
    truth = core.distribution(asked, data).entropy_nats
    if data is not None:
        mixture = names_of_the_years_of(core, data)
        truth = -sum(p * math.log(p) for p in mixture.values())
    runs = [
        distributions.sampled(core, asked, data, 20, np.random.default_rng(seed))[0]
        for seed in range(60)
    ]
    errors = np.array([run.entropy_nats - truth for run in runs])
    assert abs(errors.mean()) <= 4 * errors.std(ddof=1) / math.sqrt(len(runs))


def test_a_relation_reads_its_document_and_its_inverse_writes_one(core: Core) -> None:
    forward = core.distribution(draw("names: sex"), data="Jennifer")
    assert forward.probability_of("female") == 1.0
    backward = core.distribution(draw("names: year^-1 | year=1985"))
    assert backward.answers == core.distribution(draw("names: name | year=1985")).answers


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("names: colour", UnknownName),
        ("names: name | year=3000", UnknownName),
        ("planets: moons", UnknownName),
        ("names: name | name=Emma", InvalidQuery),
        ("name", CandorError),
    ],
)
def test_a_query_that_cannot_be_is_refused(
    core: Core, query: str, error: type[CandorError]
) -> None:
    with pytest.raises(error) as refused:
        core.distribution(draw(query))
    assert "\n" not in str(refused.value)


# --- measures -----------------------------------------------------------------------------------

RNG = np.random.default_rng(11)
SKY_WIND = MutualInformation("weather", ("sky",), ("wind",))


def exact_entropy(core: Core, *names: str, given: tuple[Binding, ...] = ()) -> float:
    return measures.entropy_exact(core, Entropy("weather", names, given), RNG).value


def conditional_entropy(core: Core, x: str, y: str) -> float:
    """H(X|Y) = Σ_y p(y) H(X | Y=y)."""
    prior = core.distribution_of(Conditional("weather", y)).answers
    return sum(a.probability * exact_entropy(core, x, given=(Binding(y, a.value),)) for a in prior)


def test_information_is_the_same_from_either_side(core: Core) -> None:
    """H(X) - H(X|Y) = H(Y) - H(Y|X) = I(X;Y) = H(X) + H(Y) - H(X,Y)."""
    h_sky, h_wind = exact_entropy(core, "sky"), exact_entropy(core, "wind")
    one = h_sky - conditional_entropy(core, "sky", "wind")
    other = h_wind - conditional_entropy(core, "wind", "sky")
    information = measures.mutual_information_exact(core, SKY_WIND, RNG).value
    assert one == pytest.approx(other, abs=1e-12)
    assert information == pytest.approx(one, abs=1e-12)
    assert information == pytest.approx(h_sky + h_wind - exact_entropy(core, "sky", "wind"))


def test_information_is_symmetric_and_not_negative(core: Core) -> None:
    closed = {"weather": ("sky", "wind"), "speeches": ("author", "party", "medium")}
    for corpus, names in closed.items():
        for x in names:
            for y in names:
                if x == y:
                    continue
                one, other = (
                    measures.mutual_information_exact(
                        core, MutualInformation(corpus, (a,), (b,)), RNG
                    ).value
                    for a, b in ((x, y), (y, x))
                )
                assert one == pytest.approx(other, abs=1e-12)
                assert one >= 0


def test_information_of_several_variables_obeys_the_chain_rule(core: Core) -> None:
    """I(author; party, medium) = I(author; party) + I(author; medium | party)."""
    whole = MutualInformation("speeches", ("author",), ("party", "medium"))
    first = MutualInformation("speeches", ("author",), ("party",))
    rest = sum(
        a.probability
        * measures.mutual_information_exact(
            core,
            MutualInformation("speeches", ("author",), ("medium",), (Binding("party", a.value),)),
            RNG,
        ).value
        for a in core.distribution_of(Conditional("speeches", "party")).answers
    )
    both = measures.mutual_information_exact(core, whole, RNG).value
    assert both == pytest.approx(measures.mutual_information_exact(core, first, RNG).value + rest)


def test_entropy_of_an_enumerable_variable_goes_through_its_conditionals(core: Core) -> None:
    joint_entropy = exact_entropy(core, "word", "sky")
    split = exact_entropy(core, "sky") + conditional_entropy(core, "word", "sky")
    assert joint_entropy == pytest.approx(split, abs=1e-12)


def test_a_written_probability(core: Core) -> None:
    event = (Binding("word", "stormy"), Binding("sky", "cloudy"), Binding("wind", "20"))
    found = measures.probability_exact(core, Probability("weather", event), RNG)
    assert found.value == pytest.approx(0.4 * 0.6 * 0.6)
    assert (found.stderr, found.n, found.method) == (0.0, 0, "exact")


def test_the_order_of_an_event_does_not_matter(core: Core) -> None:
    text = next(iter(toy.TEXT["clear"]))
    event = (Binding("text", text), Binding("wind", "0"), Binding("sky", "clear"))
    values = {
        measures.probability_exact(core, Probability("weather", order), RNG).value
        for order in (event, event[::-1], (event[1], event[2], event[0]))
    }
    assert len(values) == 1
    by_hand = 1.0
    for place, binding in enumerate(event):
        conditional = Conditional("weather", binding.variable, event[:place])
        by_hand *= math.exp(core.log_prob_of(conditional, [binding.value])[0])
    assert values.pop() == pytest.approx(by_hand)


def test_an_impossible_event_has_probability_zero(core: Core) -> None:
    event = (Binding("sex", "male"), Binding("name", "Jennifer"), Binding("year", "1985"))
    assert measures.probability_exact(core, Probability("names", event), RNG).value == 0


def test_the_probabilities_of_all_values_sum_to_one(core: Core) -> None:
    total = sum(
        measures.probability_exact(
            core, Probability("weather", (Binding("sky", sky), Binding("wind", wind))), RNG
        ).value
        for sky in toy.SKY
        for wind in ("0", "10", "20")
    )
    assert total == pytest.approx(1.0)


def test_correlation_of_a_written_table(core: Core) -> None:
    """By hand: sky coded 0 and 1, wind in knots, p(sky) p(wind | sky)."""
    cells = [
        (float(code), float(wind), toy.SKY[sky] * p)
        for code, sky in enumerate(toy.SKY)
        for wind, p in toy.WIND[sky].items()
    ]
    mean_x = sum(x * p for x, _, p in cells)
    mean_y = sum(y * p for _, y, p in cells)
    cov = sum((x - mean_x) * (y - mean_y) * p for x, y, p in cells)
    var_x = sum((x - mean_x) ** 2 * p for x, _, p in cells)
    var_y = sum((y - mean_y) ** 2 * p for _, y, p in cells)
    found = measures.correlation_exact(core, Correlation("weather", "sky", "wind"), RNG)
    assert found.value == pytest.approx(cov / math.sqrt(var_x * var_y))
    back = measures.correlation_exact(core, Correlation("weather", "wind", "sky"), RNG)
    assert back.value == pytest.approx(found.value)


QUERIES = [
    "weather: P(wind=20 | sky=clear)",
    "weather: P(word=grey, sky=cloudy)",
    "names: P(name=Jennifer | year=1985)",
    "names: P(name=Jacob, sex=female)",
    "weather: H(word)",
    "weather: H(sky, wind)",
    "names: H(name | sex=male)",
    "weather: I(sky; wind)",
    "speeches: I(party; medium)",
    "speeches: I(author; party, medium)",
    "weather: corr(sky, wind)",
    "speeches: corr(year, medium)",
]


@pytest.mark.parametrize("query", QUERIES)
def test_sampled_and_counted_agree_with_exact(core: Core, query: str) -> None:
    """Within four standard errors: the toy's data are its own table."""
    measure = notation.parse(query)
    assert not isinstance(measure, Draw)
    rng = np.random.default_rng(2)
    exact, sampled, data = (
        measures.estimates(core, measure, method, rng)[0] for method in ("exact", "sampled", "data")
    )
    assert abs(exact.value - sampled.value) <= 4 * sampled.stderr + 1e-9
    assert data.value == pytest.approx(exact.value, abs=1e-9)
    assert (exact.method, sampled.method, data.method) == ("exact", "sampled", "data")
    assert sampled.n == joint.SAMPLES
    assert data.n > sampled.n


def test_information_of_free_text_by_samples(core: Core) -> None:
    """I(text; sky) from the written tables lies within four errors of the sampled one."""
    texts = {text for texts in toy.TEXT.values() for text in texts}
    p = {
        (sky, text): toy.SKY[sky] * toy.TEXT[sky].get(text, 0.0)
        for sky in toy.SKY
        for text in texts
    }
    p_text = {text: sum(p[sky, text] for sky in toy.SKY) for text in texts}
    true = sum(
        q * math.log(q / (toy.SKY[sky] * p_text[text])) for (sky, text), q in p.items() if q > 0
    )
    for left, right in (("text", "sky"), ("sky", "text")):
        query = MutualInformation("weather", (left,), (right,))
        found = measures.mutual_information_sampled(core, query, np.random.default_rng(4))
        assert abs(found.value - true) <= 4 * found.stderr
        assert found.n == joint.SAMPLES_OF_TEXT
        assert found.unit == "nats"


def test_records_of_one_unit_count_as_one(core: Core) -> None:
    """All passages of an address have its medium: the error is that of the addresses."""
    plain = toy.speeches()
    units = ("author", "year")
    grouped = toy.ToyCorpus(replace(plain.schema, unit=units), plain.table, plain.n_records)
    query = Probability("speeches", (Binding("medium", "spoken"),))
    alone = measures.probability_data(query)
    with corpora.register(grouped):
        together = measures.probability_data(query)
        sizes = np.array(list(grouped.count({}, units).values()))
    assert (together.value, together.n) == (pytest.approx(alone.value), alone.n)
    p = together.value
    assert together.stderr == pytest.approx(math.sqrt(p * (1 - p) * (sizes**2).sum()) / sizes.sum())
    assert together.stderr > 20 * alone.stderr


class Contradicting(toy.ToyCore):
    """Draws words as the tables say, and reads the same sky off every one of them."""

    def distribution_of(self, conditional: Conditional, top: int | None = None) -> Distribution:
        if conditional.variable == "sky" and conditional.given:
            return from_weights("weather: sky", "exact", {"clear": 0.9, "cloudy": 0.1}, 0)
        return super().distribution_of(conditional, top)


def test_what_never_changes_tells_nothing_whatever_the_prior(core: Core) -> None:
    """KL(p(sky | word) ‖ p(sky)) is not 0 here, yet no word tells anything of the sky."""
    contradicting = Contradicting(toy.weather())
    for other in ("word", "text"):
        query = MutualInformation("weather", ("sky",), (other,))
        found = measures.mutual_information_sampled(contradicting, query, np.random.default_rng(1))
        assert (found.value, found.stderr) == pytest.approx((0.0, 0.0), abs=1e-9)


def test_none_among_the_samples_is_not_certainty(core: Core) -> None:
    query = Probability("names", (Binding("name", "Zelda"),))
    found = measures.probability_sampled(core, query, np.random.default_rng(0))
    assert found.value == 0
    assert found.stderr > 0


# --- the toy ------------------------------------------------------------------------------------


def test_the_toys_are_registered_for_a_block_only() -> None:
    with toy.registered(toy.weather()):
        assert corpora.schema("weather").document == "text"
    with pytest.raises(UnknownName):
        corpora.schema("weather")


def test_the_toy_reads_any_text_as_the_nearest_it_lists(core: Core) -> None:
    given = (Binding("text", "clouds and rain over the town"),)
    found = core.distribution_of(Conditional("weather", "sky", given))
    assert found.answers[0].value == "cloudy"


# --- a core that remembers ------------------------------------------------------------------------


def test_what_is_remembered_is_what_would_have_been_said(core: Core) -> None:
    remembering = Remembering(core)
    asked = CONDITIONALS[3]
    names = ["Jennifer", "Nobody"]
    for _ in range(2):
        np.testing.assert_array_equal(
            remembering.log_prob_of(asked, names), core.log_prob_of(asked, names)
        )
        assert remembering.distribution_of(asked, 2) == core.distribution_of(asked, 2)
        one, other = np.random.default_rng(3), np.random.default_rng(3)
        for n in (5, 7):  # the second draw goes on where the first one ended
            assert remembering.sample_of(asked, n, one) == core.sample_of(asked, n, other)
        assert one.random() == other.random()


def test_what_is_remembered_is_asked_once(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    remembering, calls = Remembering(core), Counter[str]()
    for verb in ("log_prob_of", "distribution_of", "sample_of", "choose"):
        told = getattr(core, verb)

        def counted(*given: object, verb: str = verb, told: Any = told) -> object:
            calls[verb] += 1
            return told(*given)

        monkeypatch.setattr(core, verb, counted)
    for seed in (1, 1, 2):
        remembering.log_prob_of(CONDITIONALS[0], ["clear"])
        remembering.distribution_of(CONDITIONALS[0])
        remembering.sample_of(CONDITIONALS[0], 3, np.random.default_rng(seed))
        skies = ["clear", "cloudy"]
        one, other = (remembering.choose(CONDITIONALS[0], [], o) for o in (skies, skies[::-1]))
        np.testing.assert_allclose(one, other[::-1])
    assert calls == {"log_prob_of": 1, "distribution_of": 1, "sample_of": 2, "choose": 2}
