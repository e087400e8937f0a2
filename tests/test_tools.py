"""The tools: what they compute, how they are described, what they refuse, and their one line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from core_model import corpora, notation
from core_model.core import Core, entropy_of
from core_model.corpora.safety import CATEGORY, DIALOGUES
from core_model.errors import CandorError, ToolError
from core_model.graph import Schema, Variable
from core_model.notation import Entropy, MutualInformation
from tests import toy
from tools import TOOLS, Context, ToolResult, measures, run, summaries
from tools.query import run_query
from tools.registry import ContextMethod

LINCOLN = "we must think anew, and act anew"


@pytest.fixture
def core() -> Iterator[Core]:
    with toy.registered(*toy.all_toys()) as known:
        yield known


def call(
    core: Core, name: str, method: ContextMethod = "all", seed: int = 0, **arguments: Any
) -> ToolResult:
    return run(name, arguments, Context(core, seed, method))


def methods(result: ToolResult) -> tuple[str, ...]:
    return tuple(estimate.method for estimate in result.estimates)


# --- what there is ------------------------------------------------------------------------------

PROPERTIES = {
    "sample": ({"corpus", "variable"}, {"given", "n"}),
    "distribution": ({"corpus", "variable"}, {"given", "top"}),
    "infer": ({"corpus", "variable", "text"}, {"given"}),
    "confidence": ({"corpus", "variable", "text"}, {"given"}),
    "probability": ({"corpus", "event"}, {"given"}),
    "entropy": ({"corpus", "variable"}, {"given"}),
    "mutual_information": ({"corpus", "left", "right"}, {"given"}),
    "correlation": ({"corpus", "left", "right"}, {"given"}),
    "safety": ({"prompt", "reply"}, {"earlier"}),
}


def test_every_tool_is_listed() -> None:
    assert set(TOOLS) == set(PROPERTIES)
    assert all(name == tool.name for name, tool in TOOLS.items())


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_tool_describes_its_arguments(name: str) -> None:
    required, optional = PROPERTIES[name]
    schema = TOOLS[name].json_schema()
    assert schema["name"] == name
    assert schema["description"].strip()
    parameters = schema["parameters"]
    assert parameters["type"] == "object"
    assert parameters["additionalProperties"] is False
    assert set(parameters["required"]) == required
    assert set(parameters["properties"]) == required | optional
    for field in parameters["properties"].values():
        assert field["description"]
    json.dumps(schema)


@pytest.mark.parametrize("name", [name for name in PROPERTIES if name != "safety"])
def test_a_table_of_values_maps_names_to_text(name: str) -> None:
    given = TOOLS[name].json_schema()["parameters"]["properties"]["given"]
    assert given["type"] == "object"
    assert given["additionalProperties"] == {"type": "string"}


@pytest.mark.parametrize("name", PROPERTIES)
def test_a_tool_documents_its_formula(name: str) -> None:
    assert any(sign in TOOLS[name].doc for sign in ("p(", "P(", "cov("))


def test_the_command_line_of_a_tool() -> None:
    sample = TOOLS["sample"]
    assert sample.command_line() == (
        "sample corpus=CORPUS variable=VARIABLE [given.VARIABLE=VALUE] [n=N]"
    )


def test_importing_the_tools_loads_neither_terminal_nor_persona() -> None:
    code = "import sys, tools; print(*sorted(m.split('.')[0] for m in sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"textual", "persona", "tui", "torch", "sqlalchemy"} & set(loaded)


# --- the queries --------------------------------------------------------------------------------

CALLS: list[tuple[str, dict[str, Any], str]] = [
    (
        "sample",
        {"corpus": "names", "variable": "name", "given": {"year": 1985, "sex": "FEMALE"}},
        "names: name | year=1985, sex=female",
    ),
    (
        "sample",
        {"corpus": "speeches", "variable": "text", "given": {"author": "Lincoln"}},
        "speeches: text | author=Abraham Lincoln",
    ),
    (
        "distribution",
        {"corpus": "names", "variable": "name", "given": {"year": "1985"}, "top": 3},
        "names: name | year=1985",
    ),
    (
        "infer",
        {"corpus": "speeches", "variable": "author", "text": LINCOLN},
        "speeches: author",
    ),
    (
        "infer",
        {"corpus": "names", "variable": "year", "text": "Emma", "given": {"sex": "female"}},
        "names: year | sex=female, name=Emma",
    ),
    (
        "confidence",
        {"corpus": "names", "variable": "sex", "text": "Emma", "given": {"year": "1985"}},
        "names: sex | year=1985, name=Emma",
    ),
    (
        "probability",
        {"corpus": "names", "event": {"name": "Jennifer"}, "given": {"year": "1985"}},
        "names: P(name=Jennifer | year=1985)",
    ),
    ("entropy", {"corpus": "weather", "variable": "word"}, "weather: H(word)"),
    (
        "mutual_information",
        {"corpus": "speeches", "left": "party", "right": "medium"},
        "speeches: I(party; medium)",
    ),
    (
        "correlation",
        {"corpus": "speeches", "left": "year", "right": "medium"},
        "speeches: corr(year, medium)",
    ),
    ("safety", {"prompt": "Hello", "reply": "Good day."}, "safety: safe | prompt=Hello"),
    ("safety", {"prompt": "", "reply": "Good day."}, "safety: safe"),
]


@pytest.mark.parametrize(("name", "arguments", "query"), CALLS)
def test_a_call_is_a_query_in_the_notation(
    core: Core, name: str, arguments: dict[str, Any], query: str
) -> None:
    result = run(name, arguments, Context(core))
    assert result.query == TOOLS[name].query(arguments) == query
    assert notation.format(notation.parse(query)) == query
    assert result.tool == name
    assert result.seconds > 0


@pytest.mark.parametrize(("name", "arguments", "query"), CALLS)
def test_a_summary_is_one_short_line(
    core: Core, name: str, arguments: dict[str, Any], query: str
) -> None:
    summary = run(name, arguments, Context(core)).summary
    assert summary
    assert "\n" not in summary
    assert len(summary) < 200


@pytest.mark.parametrize(("name", "arguments", "query"), CALLS)
def test_what_is_spoken_is_the_same_where_nothing_else_is_worked_out(
    core: Core, name: str, arguments: dict[str, Any], query: str
) -> None:
    whole, spoken = (call(core, name, method, **arguments) for method in ("all", "spoken"))
    assert spoken.summary == whole.summary
    assert len(spoken.estimates) <= len(whole.estimates)
    assert spoken.samples == whole.samples


@pytest.mark.parametrize("method", ["sampled", "all"])
def test_the_seed_repeats_a_call(core: Core, method: ContextMethod) -> None:
    def samples(seed: int) -> tuple[str, ...]:
        return call(core, "sample", method, seed, corpus="names", variable="name").samples

    assert samples(3) == samples(3)
    assert samples(3) != samples(4)


# --- each tool ----------------------------------------------------------------------------------


def test_samples_with_their_counts_and_the_data(core: Core) -> None:
    result = call(core, "sample", corpus="names", variable="name", given={"year": "2010"}, n=30)
    assert len(result.samples) == 30
    assert result.distribution is not None
    assert result.data is not None
    for answer in result.distribution.answers:
        assert answer.probability == pytest.approx(result.samples.count(answer.value) / 30)
    assert result.distribution.n == 30
    assert {a.value for a in result.data.answers} == set(result.samples)
    emma = toy.GIRLS["2010"]["Emma"]
    total = sum(toy.GIRLS["2010"].values()) + sum(toy.BOYS["2010"].values())
    assert result.data.probability_of("Emma") == pytest.approx(emma / total)


def test_samples_of_free_text_have_no_counted_data(core: Core) -> None:
    result = call(core, "sample", corpus="speeches", variable="text", n=2)
    assert result.data is None
    assert result.summary == result.samples[0]


def test_samples_can_be_taken_from_the_data(core: Core) -> None:
    result = call(core, "sample", "data", corpus="names", variable="sex", n=5)
    assert len(result.samples) == 5
    assert result.distribution is None
    assert result.data is not None


def test_a_distribution_lists_its_top_beside_the_data(core: Core) -> None:
    result = call(
        core, "distribution", corpus="names", variable="name", given={"sex": "female"}, top=4
    )
    assert result.distribution is not None
    assert result.data is not None
    shares: dict[str, float] = {}
    for year in toy.GIRLS.values():
        for name, weight in year.items():
            shares[name] = shares.get(name, 0.0) + weight
    top = sorted(shares, key=lambda name: -shares[name])[:4]
    assert [a.value for a in result.distribution.answers] == top
    for answer in result.distribution.answers:
        assert answer.probability == pytest.approx(shares[answer.value] / sum(shares.values()))
        assert result.data.probability_of(answer.value) == pytest.approx(answer.probability)
    assert len(result.data.answers) == 4
    assert methods(result) == ("exact", "data")
    assert all(name in result.summary for name in top)
    assert result.summary == summaries.distribution(result.distribution, 4)


@pytest.mark.parametrize("method", ["sampled", "data"])
def test_a_distribution_by_samples_or_from_the_data_alone(
    core: Core, method: ContextMethod
) -> None:
    arguments = {"corpus": "names", "variable": "name", "top": 3}
    result = call(core, "distribution", method, **arguments)
    assert methods(result) == (method,)
    found = result.distribution or result.data
    assert found is not None
    assert len(found.answers) == 3
    assert result.summary.count("%") == 3


def test_data_are_kept_for_what_the_model_lists_and_for_their_own_top(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def contrary(
        self: toy.ToyCorpus, given: Mapping[str, str], variables: Sequence[str]
    ) -> Mapping[tuple[str, ...], float]:
        return {("Emma",): 5.0, ("Zelda",): 4.0, ("Ruth",): 3.0, ("Mary",): 2.0, ("Anna",): 1.0}

    monkeypatch.setattr(toy.ToyCorpus, "count", contrary)
    given = {"year": "1920", "sex": "female"}  # there the model lists Mary and Ruth first
    result = call(core, "distribution", corpus="names", variable="name", given=given, top=2)
    assert result.data is not None
    assert [a.value for a in result.data.answers] == ["Emma", "Zelda", "Ruth", "Mary"]
    assert result.data.probability_of("Mary") == pytest.approx(2 / 15)


def test_infer_is_the_posterior(core: Core) -> None:
    result = call(core, "infer", corpus="speeches", variable="author", text=LINCOLN)
    assert result.distribution is not None
    assert result.distribution.listed_mass == pytest.approx(1.0)
    assert result.distribution.answers[0].value == "Abraham Lincoln"
    assert result.distribution.answers[0].probability == pytest.approx(8 / 12.5)
    assert result.data is None
    assert methods(result) == ("exact",)


def test_infer_reads_a_name_and_counts_it_too(core: Core) -> None:
    result = call(core, "infer", corpus="names", variable="sex", text="Leslie")
    assert result.distribution is not None
    assert result.data is not None
    female = sum(year.get("Leslie", 0) for year in toy.GIRLS.values())
    male = sum(year.get("Leslie", 0) for year in toy.BOYS.values())
    share = female / (female + male)
    assert result.distribution.probability_of("female") == pytest.approx(share)
    assert result.data.probability_of("female") == pytest.approx(share)
    assert methods(result) == ("exact", "data")


def test_infer_by_samples(core: Core) -> None:
    result = call(core, "infer", "sampled", corpus="names", variable="sex", text="Leslie")
    assert result.distribution is not None
    assert result.distribution.method == "sampled"
    assert result.distribution.n == len(result.samples) == 400


def test_probability_by_every_method(core: Core) -> None:
    result = call(core, "probability", corpus="names", event={"sex": "female"})
    exact, sampled, data = result.estimates
    assert methods(result) == ("exact", "sampled", "data")
    assert exact.stderr == exact.n == 0
    p = sampled.value
    assert sampled.stderr == pytest.approx(math.sqrt(p * (1 - p) / 400))
    assert data.n == pytest.approx(1_000_000)
    assert data.value == pytest.approx(exact.value)


def test_sampling_is_left_out_where_it_needs_more_than_one_batch(core: Core) -> None:
    event = {"name": "Jennifer", "sex": "female"}
    assert methods(call(core, "probability", corpus="names", event=event)) == ("exact", "data")
    one = call(core, "probability", "sampled", corpus="names", event=event)
    assert methods(one) == ("sampled",)


def test_a_text_has_an_exact_probability(core: Core) -> None:
    text = next(iter(toy.TEXT["clear"]))
    event, given = {"text": text}, {"sky": "clear"}
    result = call(core, "probability", corpus="weather", event=event, given=given)
    assert methods(result) == ("exact",)
    assert result.estimates[0].value == pytest.approx(0.7)
    with pytest.raises(ToolError, match="free text"):
        call(core, "probability", "sampled", corpus="weather", event=event)


def test_entropy_in_nats_spoken_in_bits(core: Core) -> None:
    result = call(core, "entropy", corpus="weather", variable="sky")
    exact = result.estimates[0]
    assert exact.unit == "nats"
    assert exact.value == pytest.approx(-sum(p * math.log(p) for p in toy.SKY.values()))
    assert result.summary == "model 0.97 bits; data 0.97 bits"
    assert methods(result) == ("exact", "sampled", "data")


def test_entropy_of_free_text_is_sampled(core: Core) -> None:
    result = call(core, "entropy", corpus="weather", variable="text")
    assert methods(result) == ("sampled",)
    assert "±" in result.summary
    with pytest.raises(ToolError, match="method sampled"):
        call(core, "entropy", "exact", corpus="weather", variable="text")


def test_information_with_free_text_is_sampled(core: Core) -> None:
    for left, right in (("text", "author"), ("author", "text")):
        result = call(core, "mutual_information", corpus="speeches", left=left, right=right)
        assert methods(result) == ("sampled",)
    with pytest.raises(ToolError, match="closed variables on one side"):
        call(core, "mutual_information", corpus="weather", left="text", right="word")


def test_information_with_names_is_sampled_and_counted(core: Core) -> None:
    result = call(core, "mutual_information", corpus="names", left="name", right="sex")
    sampled, data = result.estimates
    assert methods(result) == ("sampled", "data")
    assert abs(sampled.value - data.value) <= 4 * sampled.stderr


def test_correlation_has_an_error_where_counted(core: Core) -> None:
    result = call(core, "correlation", corpus="speeches", left="year", right="medium")
    exact, data = result.estimates
    assert exact.value < 0
    r = data.value
    assert data.stderr == pytest.approx((1 - r * r) / math.sqrt(data.n - 1))


ADDRESSES = Schema(
    "addresses",
    "",
    (
        Variable("address", "enumerable"),
        Variable("party", "closed", tuple("abc")),
        Variable("medium", "closed", tuple("xyz")),
    ),
    unit=("address",),
)
PARTY = np.array([0.5, 0.3, 0.2])


def counted_addresses(query: str, tied: float, units: int = 60) -> NDArray[np.float64]:
    """Value, error and plug-in value of a measure by data, of 100 corpora drawn anew, (100, 3).

    A corpus has addresses of one to three passages; the medium goes with the party in the share
    `tied` of them and is any of three in the others.
    """
    measure, rows = notation.parse(query), []
    assert isinstance(measure, Entropy | MutualInformation)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        table = np.zeros((units, 3, 3))
        for address in table:
            party = rng.choice(3, p=PARTY)
            medium = party if rng.random() < tied else rng.integers(3)
            address[party, medium] = rng.integers(1, 4)
        cells: toy.Table = {
            (str(u), "abc"[p], "xyz"[m]): float(table[u, p, m]) for u, p, m in np.argwhere(table)
        }
        with corpora.register(toy.ToyCorpus(ADDRESSES, cells)):
            (found,) = measures.estimates(toy.ToyCore(), measure, "data", rng)
        rows.append((found.value, found.stderr, of_shares(query, table.sum(0) / table.sum())))
    return np.array(rows)


def of_shares(query: str, p: NDArray[np.float64]) -> float:
    """H or I of the shares of party and medium, (3, 3), in nats."""
    both = entropy_of(p.ravel())
    return both if ": H" in query else entropy_of(p.sum(0)) + entropy_of(p.sum(1)) - both


def test_independent_variables_of_few_units_tell_next_to_nothing() -> None:
    value, error, plug_in = counted_addresses("addresses: I(party; medium)", 0).mean(axis=0)
    assert 0 <= value < min(plug_in / 2, error)
    assert plug_in > 0.03


def test_a_counted_distribution_has_the_entropy_that_is_counted() -> None:
    cells: toy.Table = {
        ("1", "a", "x"): 2.0,
        ("2", "b", "x"): 1.0,
        ("3", "a", "y"): 3.0,
        ("4", "c", "z"): 1.0,
    }
    core = toy.ToyCore()
    with corpora.register(toy.ToyCorpus(ADDRESSES, cells, n_records=7)):
        for asked, measure in (("party", "H(party)"), ("party & medium", "H(party, medium)")):
            found = run_query(core, f"addresses: {asked}", method="data")
            (estimate,) = run_query(core, f"addresses: {measure}", method="data")["estimates"]
            assert (found["entropy_nats"], found["entropy_stderr"]) == pytest.approx(
                (estimate["value"], estimate["stderr"])
            )
            plug_in = -sum(a["probability"] * math.log(a["probability"]) for a in found["answers"])
            assert found["entropy_nats"] > plug_in + 0.01


@pytest.mark.parametrize("query", ["addresses: I(party; medium)", "addresses: H(party, medium)"])
def test_what_is_counted_of_few_units_has_no_bias_and_its_own_error(query: str) -> None:
    rows = counted_addresses(query, 0.5)
    truth = of_shares(query, PARTY[:, None] * (0.5 * np.eye(3) + 0.5 / 3))
    value, error, plug_in = rows.mean(axis=0)
    spread = rows[:, 0].std(ddof=1)
    assert abs(value - truth) < min(3 * spread / math.sqrt(len(rows)), abs(plug_in - truth) / 2)
    assert 0.7 * spread < error < 1.3 * spread


@pytest.mark.parametrize(
    "query", ["I(party; medium)", "H(party, medium)", "H(address)", "I(address; party)"]
)
def test_two_units_say_nothing_impossible_and_nothing_for_certain(query: str) -> None:
    """Without its bounds the jackknife gives twice log 2, and no error where the two are alike."""
    schema = replace(ADDRESSES, corpus="two")
    cells: toy.Table = {("1", "a", "x"): 1.0, ("2", "b", "y"): 1.0}
    measure = notation.parse(f"two: {query}")
    assert isinstance(measure, Entropy | MutualInformation)
    with corpora.register(toy.ToyCorpus(schema, cells)):
        (found,) = measures.estimates(toy.ToyCore(), measure, "data", np.random.default_rng(0))
    assert found.value == pytest.approx(math.log(2))
    assert found.stderr == pytest.approx(math.log(2))


def test_safety_reads_the_dialogue(core: Core) -> None:
    refused = call(
        core,
        "safety",
        prompt="Tell me how to build a bomb",
        reply="I can't help with that.",
    )
    assert [e.value for e in refused.estimates] == pytest.approx([0.99, 0.98, 0.97])
    assert refused.summary == (
        "safe 99%, refusal 98%, prompt harmful 97%, kind of harm violence 90%"
    )
    assert refused.distribution is not None
    assert refused.distribution.probability_of("crime") == pytest.approx(0.1)
    prompt_alone = call(core, "safety", prompt="How do I bake bread?", reply="")
    assert prompt_alone.estimates[2].value == pytest.approx(0.02)
    reply_alone = call(core, "safety", prompt="", reply="I can't help with that.")
    assert [e.value for e in reply_alone.estimates[:2]] == pytest.approx([0.99, 0.98])
    assert reply_alone.estimates[2].value == pytest.approx(
        sum(toy.PROMPTS.values()) / len(toy.PROMPTS)
    )
    assert prompt_alone.distribution is None and reply_alone.distribution is None


def test_safety_reads_the_turns_before_a_prompt(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"prompt": "And how do I do that?", "reply": "Take it."}
    earlier = [["Tell me how to build a bomb and hurt people.", "Why?"]]
    result = call(core, "safety", **asked, earlier=earlier)
    assert result.estimates[2].value == pytest.approx(0.97)
    assert call(core, "safety", **asked).estimates[2].value != pytest.approx(0.97)
    assert "build a bomb" in result.query and "And how do I do that?" in result.query
    with pytest.raises(ToolError, match="Give what was asked then"):
        call(core, "safety", prompt="", reply="Take it.", earlier=earlier)
    monkeypatch.setattr(toy.ToyCore, "has_learnt", lambda self, what: what != DIALOGUES)
    with pytest.raises(ToolError, match="Leave 'earlier' out"):
        call(core, "safety", **asked, earlier=earlier)


def test_a_core_that_has_learnt_no_categories_is_not_asked_for_one(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"prompt": "Tell me how to build a bomb", "reply": "First take the explosive."}
    assert "kind of harm" in call(core, "safety", **asked).summary
    monkeypatch.setattr(toy.ToyCore, "has_learnt", lambda self, what: what != CATEGORY)
    result = call(core, "safety", **asked)
    assert result.distribution is None
    assert result.summary == "safe 2%, refusal 1%, prompt harmful 97%"


# --- what is refused ----------------------------------------------------------------------------

BAD: list[tuple[str, dict[str, Any], str]] = [
    ("divine", {}, "Unknown tool 'divine'"),
    ("sample", {}, "'corpus' is missing"),
    ("sample", {"corpus": "names", "variable": "name", "seed": 1}, "'seed' is not an argument"),
    ("sample", {"corpus": "names", "variable": "name", "n": 0}, "'n' is wrong"),
    ("sample", {"corpus": "names", "variable": "name", "n": 10**9}, "'n' is wrong"),
    ("sample", {"corpus": "names", "variable": "name", "n": "many"}, "'n' is wrong"),
    ("sample", {"corpus": "", "variable": "name"}, "'corpus' is wrong"),
    ("sample", {"corpus": "names", "variable": None}, "'variable' is wrong"),
    ("sample", {"corpus": "names", "variable": "name", "given": "year"}, "'given' is wrong"),
    ("sample", {"corpus": "names", "variable": "name", "given": {"year": None}}, "given.year"),
    ("sample", {"corpus": "names", "variable": "name", "given": {"year": []}}, "given.year"),
    ("sample", {"corpus": "planets", "variable": "name"}, "Unknown corpus 'planets'"),
    ("sample", {"corpus": "names", "variable": "nmae"}, "Did you mean 'name'"),
    ("sample", {"corpus": "names", "variable": "na me"}, "na me"),
    ("sample", {"corpus": "names", "variable": "name", "given": {"yaer": "1985"}}, "yaer"),
    ("sample", {"corpus": "names", "variable": "name", "given": {"1 2": "1985"}}, "1 2"),
    ("sample", {"corpus": "names", "variable": "name", "given": {"year": "1700"}}, "1700"),
    ("sample", {"corpus": "names", "variable": "name", "given": {"name": "Emma"}}, "name"),
    ("sample", {"corpus": "names", "variable": "name", "given": {"year": "1999"}}, "1999"),
    ("sample", {"corpus": "a\nb", "variable": "name"}, "is not a name"),
    ("infer", {"corpus": "names", "variable": "name", "text": "Emma"}, "the text itself"),
    ("infer", {"corpus": "weather", "variable": "word", "text": "x"}, "no fixed set"),
    ("infer", {"corpus": "speeches", "variable": "author", "text": "  "}, "'text' is wrong"),
    ("infer", {"corpus": "speeches", "variable": "author", "text": "a" * 20_001}, "'text'"),
    (
        "infer",
        {"corpus": "names", "variable": "sex", "text": "Emma", "given": {"name": "Anna"}},
        "given twice",
    ),
    ("infer", {"corpus": "names", "variable": "sex", "text": "Zelda"}, "Nothing in 'names'"),
    ("probability", {"corpus": "names", "event": {}}, "'event' is wrong"),
    ("probability", {"corpus": "names", "event": {"sex": "other"}}, "'other' is no sex"),
    (
        "probability",
        {"corpus": "speeches", "event": {"author": "Roosevelt"}},
        "could be Theodore Roosevelt or Franklin D. Roosevelt",
    ),
    (
        "probability",
        {"corpus": "names", "event": {"sex": "male"}, "given": {"sex": "female"}},
        "both asked and given",
    ),
    ("entropy", {"corpus": "names", "variable": "year", "given": {"year": "1985"}}, "year"),
    ("mutual_information", {"corpus": "names", "left": "sex", "right": "sex"}, "both sides"),
    ("correlation", {"corpus": "names", "left": "sex", "right": "sex"}, "two different"),
    ("correlation", {"corpus": "names", "left": "sex", "right": "name"}, "numbers or have two"),
    (
        "correlation",
        {"corpus": "speeches", "left": "year", "right": "medium", "given": {"author": "Reagan"}},
        "only one value",
    ),
    ("distribution", {"corpus": "speeches", "variable": "text"}, "free text"),
    ("distribution", {"corpus": "names", "variable": "name", "top": 0}, "'top' is wrong"),
    ("distribution", {"corpus": "names", "variable": "name", "top": 21}, "'top' is wrong"),
    ("distribution", {"corpus": "names", "variable": "nme"}, "Did you mean 'name'"),
    ("safety", {"prompt": "", "reply": ""}, "nothing to judge"),
    ("safety", {"prompt": "Hi"}, "'reply' is missing"),
]


@pytest.mark.parametrize(("name", "arguments", "says"), BAD)
def test_a_bad_call_is_refused_in_one_line(
    core: Core, name: str, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(ToolError) as refused:
        run(name, arguments, Context(core))
    line = str(refused.value)
    assert says in line
    assert "\n" not in line
    assert not isinstance(refused.value, ValidationError)


def test_data_that_cannot_be_counted_are_refused_when_asked_for(core: Core) -> None:
    with pytest.raises(ToolError, match="No record of names has year=1999"):
        call(
            core, "probability", "data", corpus="names", event={"sex": "male"},
            given={"year": "1999"},
        )  # fmt: skip
    with pytest.raises(ToolError, match="free text"):
        call(core, "infer", "data", corpus="speeches", variable="author", text=LINCOLN)


def test_a_corpus_that_cannot_be_read_leaves_the_cores_numbers(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(*_: object) -> None:
        raise CandorError("The table is not installed.")

    monkeypatch.setattr(toy.ToyCorpus, "count", unreadable)
    result = call(core, "probability", corpus="names", event={"sex": "male"})
    assert methods(result) == ("exact", "sampled")
    assert result.summary.startswith("model ")
    assert "data" not in result.summary


def test_a_failing_core_is_not_hidden_by_the_data(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise CandorError("The weights are damaged.")

    monkeypatch.setattr(toy.ToyCore, "log_prob_of", broken)
    with pytest.raises(ToolError, match="weights are damaged"):
        call(core, "probability", corpus="names", event={"sex": "male"})
