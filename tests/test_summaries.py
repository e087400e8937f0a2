"""The line that may be spoken: every number in its one spelling."""

from __future__ import annotations

import math

import pytest

from core_model.core import Answer, Distribution, Estimate
from tools import summaries


def exactly(value: float, unit: str = "") -> Estimate:
    return Estimate("exact", value, 0.0, 0, unit)


def sampled(value: float, stderr: float, unit: str = "") -> Estimate:
    return Estimate("sampled", value, stderr, 400, unit)


def counted(value: float, unit: str = "") -> Estimate:
    return Estimate("data", value, 0.001, 1000, unit)


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0, "0%"),
        (1e-9, "<0.0001%"),
        (0.00041, "0.041%"),
        (0.0099999, "1.0%"),
        (0.0324, "3.2%"),
        (0.03, "3.0%"),
        (0.0996, "10%"),
        (0.41, "41%"),
        (0.987, "99%"),
        (0.997, "99.7%"),
        (0.99996, "99.996%"),
        (0.99999999, ">99.9999%"),
        (1.0, "100%"),
    ],
)
def test_a_percentage(p: float, text: str) -> None:
    assert summaries.percent(p) == text


def test_a_probability_is_spoken() -> None:
    assert summaries.probability(sampled(0.032, 0.001), counted(0.034)) == (
        "model 3.2% ± 0.1%; data 3.4%"
    )
    assert summaries.probability(exactly(0.032), counted(0.034)) == "model 3.2%; data 3.4%"
    assert summaries.probability(exactly(0.00041)) == "model 0.041%"
    assert summaries.probability(None, counted(0.41)) == "data 41%"
    assert summaries.probability(sampled(0.0, 0.0025)) == "model 0% ± 0.2%"
    assert summaries.probability(sampled(0.41, 0.025)) == "model 41% ± 2%"


def test_an_entropy_is_spoken_in_bits() -> None:
    nat = math.log(2)
    model, data = sampled(9.9 * nat, 0.1 * nat, "nats"), counted(10.1 * nat, "nats")
    assert summaries.entropy(model, data) == "model 9.9 bits ± 0.1; data 10.1 bits"
    assert summaries.entropy(exactly(2.1, "bits")) == "model 2.1 bits"
    assert summaries.entropy(exactly(0.0, "nats")) == "model 0 bits"
    assert summaries.entropy(exactly(1e-5, "bits")) == "model <0.0001 bits"


def test_mutual_information_is_spoken_in_bits() -> None:
    model, data = exactly(0.012, "bits"), counted(0.01, "bits")
    assert summaries.mutual_information(model, data) == "model 0.012 bits; data 0.010 bits"


def test_a_correlation_is_spoken() -> None:
    assert summaries.correlation(exactly(-0.412), counted(-0.39)) == "model -0.41; data -0.39"
    assert summaries.correlation(sampled(-0.001, 0.05)) == "model 0.00 ± 0.05"


def test_a_posterior_is_spoken() -> None:
    answers = {"Abraham Lincoln": 0.41, "James Buchanan": 0.12, "Andrew Johnson": 0.08, "X": 0.04}
    found = Distribution(
        "speeches: author",
        "exact",
        tuple(Answer(value, p) for value, p in answers.items()),
        0.65,
        2.1 * math.log(2),
        0.0,
        0,
    )
    assert summaries.infer(found) == (
        "Abraham Lincoln 41%, James Buchanan 12%, Andrew Johnson 8%; entropy 2.1 bits"
    )


def test_a_distribution_is_spoken_in_small_shares() -> None:
    shares = {"Jessica": 0.0262, "Ashley": 0.0249, "Emily": 0.00996, "Zoe": 0.0004}
    answers = tuple(Answer(value, p) for value, p in shares.items())
    found = Distribution("names: name", "exact", answers, 0.06, 9.1 * math.log(2), 0.0, 0)
    assert summaries.distribution(found, 2) == "Jessica 2.6%, Ashley 2.5%; entropy 9.1 bits"
    assert summaries.distribution(found, 4) == (
        "Jessica 2.6%, Ashley 2.5%, Emily 1.0%, Zoe 0.040%; entropy 9.1 bits"
    )


def test_samples_are_spoken() -> None:
    assert summaries.samples(["Mary", "Anna", "Ruth"]) == "Mary, Anna, Ruth"
    many = summaries.samples([f"N{i}" for i in range(20)])
    assert many.endswith("N11, …")
    long = ["A long passage\nover two lines, more than forty letters.", "Another."]
    assert summaries.samples(long) == "A long passage over two lines, more than forty letters."


def test_safety_is_spoken() -> None:
    assert summaries.safety(0.07, 0.02, 0.98, ("violence", 0.812)).endswith(
        "prompt harmful 98%, kind of harm violence 81%"
    )
    assert summaries.safety(0.97, 0.02, 0.01) == "safe 97%, refusal 2%, prompt harmful 1%"
    assert summaries.safety(0.9971, 0.0004, 1.0) == (
        "safe 99.7%, refusal 0.040%, prompt harmful 100%"
    )
