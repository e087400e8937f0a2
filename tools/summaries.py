"""The one line of a result that may be spoken: pure functions from numbers to text.

Two significant digits where nothing better is known, else as many as the error supports. The
same functions write the replies that the persona learns from and the results it reads, so a
number has one spelling.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from core_model.core import Distribution, Estimate

MOST_ANSWERS = 3
MOST_SAMPLES = 12
NOTHING_SAFE = "All that was drawn is held for unsafe. Ask for something else."
LONG_SAMPLE = 40
"""Characters from which a sample is shown alone, as the text it is."""

_NATS_PER_BIT = math.log(2)


# --- results ------------------------------------------------------------------------------------


def probability(model: Estimate | None, data: Estimate | None = None) -> str:
    """`model 3.2% ± 0.1%; data 3.4%`; the error is left out where it is 0."""
    return _model_and_data(
        None if model is None else _percent_with_error(model),
        None if data is None else percent(data.value),
    )


def entropy(model: Estimate | None, data: Estimate | None = None) -> str:
    """`model 9.9 bits ± 0.1; data 10.1 bits`, from estimates in nats or in bits."""
    return _model_and_data(
        None if model is None else _bits_with_error(model),
        None if data is None else _bits(in_bits(data).value),
    )


def mutual_information(model: Estimate | None, data: Estimate | None = None) -> str:
    """`model 0.012 bits; data 0.010 bits`, from estimates in nats or in bits."""
    return entropy(model, data)


def correlation(model: Estimate | None, data: Estimate | None = None) -> str:
    """`model -0.41; data -0.39`, with `± 0.04` where the model's was sampled."""
    error = "" if model is None or model.stderr <= 0 else f" ± {model.stderr:.2f}"
    return _model_and_data(
        None if model is None else _two_decimals(model.value) + error,
        None if data is None else _two_decimals(data.value),
    )


def distribution(answers: Distribution, count: int) -> str:
    """`Jessica 2.6%, Ashley 2.5%, …; entropy 9.1 bits`: the `count` most probable answers.

    Shares of names are small, so each has two significant digits.
    """
    return _listed(answers, count, percent)


def infer(answers: Distribution) -> str:
    """`Abraham Lincoln 41%, James Buchanan 12%, Andrew Johnson 8%; entropy 2.1 bits`."""
    return _listed(answers, MOST_ANSWERS, whole_percent)


def confidence(answers: Distribution, asked: Estimate | None, most_nats: float) -> str:
    """`Lima 98%; asked 95% ± 3%; entropy 0.12 bits of 7.6 bits`, the second where it is stated."""
    first = answers.answers[0]
    parts = [f"{first.value} {percent(first.probability)}"]
    if asked is not None:
        parts.append(f"asked {_percent_with_error(asked)}")
    most = _bits(most_nats / _NATS_PER_BIT)
    parts.append(f"entropy {_bits(answers.entropy_nats / _NATS_PER_BIT)} of {most}")
    return "; ".join(parts)


def samples(values: Sequence[str]) -> str:
    """`Mary, Anna, Ruth, …`: short values in a row, of long ones the first as it is."""
    lines = [" ".join(value.split()) for value in values]
    if any(len(line) > LONG_SAMPLE for line in lines):
        return lines[0]
    return ", ".join([*lines[:MOST_SAMPLES], *(["…"] if len(lines) > MOST_SAMPLES else [])])


def safety(
    safe: float, refusal: float, prompt_harmful: float, kind: tuple[str, float] | None = None
) -> str:
    """`safe 7%, refusal 2%, prompt harmful 98%, kind of harm violence 81%`.

    kind: the most probable category of harm and its probability, left out where none is told.
    """
    told = (
        f"safe {whole_percent(safe)}, refusal {whole_percent(refusal)}, "
        f"prompt harmful {whole_percent(prompt_harmful)}"
    )
    return told if kind is None else f"{told}, kind of harm {kind[0]} {whole_percent(kind[1])}"


# --- numbers ------------------------------------------------------------------------------------


def percent(p: float) -> str:
    """A probability as `41%`, `3.2%`, `0.041%` or `99.7%`: never 0% or 100% unless it is."""
    value = 100 * p
    if value <= 0:
        return "0%"
    if value < 0.0001:
        return "<0.0001%"
    if value >= 100:
        return "100%"
    if value > 99.9999:
        return ">99.9999%"
    if value > 99:  # what is told apart here is how far it is from certain
        return f"{value:.{_decimals(100 - value, 1)}f}%"
    return f"{_significant(value)}%"


def whole_percent(p: float) -> str:
    """A probability among several, as `41%` or `8%`; below 1% and above 99% as `percent` does."""
    return f"{100 * p:.0f}%" if 0.01 <= p <= 0.99 else percent(p)


def in_bits(estimate: Estimate) -> Estimate:
    """The estimate in bits, from nats or from bits."""
    if estimate.unit == "bits":
        return estimate
    value, stderr = estimate.value / _NATS_PER_BIT, estimate.stderr / _NATS_PER_BIT
    return Estimate(estimate.method, value, stderr, estimate.n, "bits")


def _listed(answers: Distribution, count: int, spelled: Callable[[float], str]) -> str:
    listed = ", ".join(f"{a.value} {spelled(a.probability)}" for a in answers.answers[:count])
    return f"{listed}; entropy {_bits(answers.entropy_nats / _NATS_PER_BIT)}"


def _model_and_data(model: str | None, data: str | None) -> str:
    parts = [("model", model), ("data", data)]
    return "; ".join(f"{name} {text}" for name, text in parts if text is not None)


def _percent_with_error(estimate: Estimate) -> str:
    error = 100 * estimate.stderr
    if error <= 0:
        return percent(estimate.value)
    if error < 0.0001:
        return f"{percent(estimate.value)} ± <0.0001%"
    decimals = _decimals(error, 1)
    value = f"{100 * estimate.value:.{decimals}f}" if 0 < estimate.value < 1 else None
    return f"{percent(estimate.value) if value is None else f'{value}%'} ± {error:.{decimals}f}%"


def _bits_with_error(estimate: Estimate) -> str:
    bits = in_bits(estimate)
    if bits.stderr < 0.0005:  # too little to be spoken of
        return _bits(bits.value)
    decimals = max(_decimals(bits.stderr, 1), 1)
    return f"{max(bits.value, 0.0):.{decimals}f} bits ± {bits.stderr:.{decimals}f}"


def _bits(value: float) -> str:
    if value < 1e-9:
        return "0 bits"
    if value < 0.0001:
        return "<0.0001 bits"
    return f"{value:.1f} bits" if value >= 9.95 else f"{_significant(value)} bits"


def _two_decimals(value: float) -> str:
    return f"{value + 0.0:.2f}" if abs(value) >= 0.005 else "0.00"


def _significant(value: float) -> str:
    """Two significant digits, trailing zeros kept: `41`, `3.2`, `0.010`."""
    rounded = float(f"{value:.1e}")  # 9.96 becomes 10, which takes one decimal fewer
    return f"{value:.{_decimals(rounded, 2)}f}"


def _decimals(value: float, digits: int) -> int:
    """Decimals that show this many significant digits of a positive value."""
    return max(0, digits - 1 - math.floor(math.log10(float(f"{value:.{digits - 1}e}"))))
