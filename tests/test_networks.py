"""Networks: exact conditionals from small files and the real ones, their records, their split."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.stats import chisquare

from core_model import corpora
from core_model.base_files import sha256
from core_model.corpora import networks, wheels
from core_model.corpora.base import Split
from core_model.corpora.networks import FOLDER, HELD_OUT, TRAINING, WHEEL, Network
from core_model.errors import (
    CandorError,
    EmptySupport,
    InvalidQuery,
    StorageError,
    ToolError,
    UnknownName,
)
from core_model.notation import Binding, Draw, parse
from core_model.planning import plan
from tests import toy
from tools import TOOLS

EVERY = (*TRAINING, *HELD_OUT)
NAME = "cancer"
"""The files of these tests stand under this name."""

LAWN = """network unknown {
}
variable Rain {
  type discrete [ 2 ] { True, False };
}
variable WetGrass {
  type discrete [ 3 ] { dry, wet, VERY_Wet };
}
variable Sprinkler {
  type discrete [ 2 ] { on, off };
}
probability ( Rain ) {
  table 0.2, 0.8;
}
probability ( Sprinkler | Rain ) {
  (False) 0.4, 0.6;
  (True) 1e-2, 0.99;
}
probability ( WetGrass | Sprinkler, Rain ) {
  (on, True) 0.0, 0.5, 0.5;
  (off, True) 0.2, 0.7, 0.1;
  (on, False) 0.1, 0.6, 0.3;
  (off, False) 1.0, 0.0, 0.0;
}
"""


def network_of(text: str, folder: Path, name: str = NAME) -> Network:
    """The network of a BIF text, out of a wheel in the folder."""
    wheel = folder / "data" / WHEEL
    wheel.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{FOLDER}{name}.bif.gz", gzip.compress(text.encode()))
    return Network(name, folder, sha256(wheel))


@pytest.fixture
def lawn(tmp_path: Path) -> Network:
    return network_of(LAWN, tmp_path)


# Exactness


def test_names_and_values_are_readable_and_in_the_order_of_the_file(lawn: Network) -> None:
    assert {v.name: v.values for v in lawn.schema.variables} == {
        "rain": ("yes", "no"),
        "wet_grass": ("dry", "wet", "very wet"),
        "sprinkler": ("on", "off"),
    }
    assert {v.kind for v in lawn.schema.variables} == {"closed"}
    assert lawn.parents == {"rain": (), "sprinkler": ("rain",), "wet_grass": ("sprinkler", "rain")}


def test_the_joint_is_the_product_of_the_conditionals(lawn: Network) -> None:
    expected = np.zeros((2, 3, 2))  # rain, wet grass, sprinkler
    expected[0, :, 0] = np.array([0.0, 0.5, 0.5]) * 0.2 * 0.01
    expected[0, :, 1] = np.array([0.2, 0.7, 0.1]) * 0.2 * 0.99
    expected[1, :, 0] = np.array([0.1, 0.6, 0.3]) * 0.8 * 0.4
    expected[1, :, 1] = np.array([1.0, 0.0, 0.0]) * 0.8 * 0.6
    assert_allclose(lawn.joint, expected, atol=1e-15)


@pytest.mark.parametrize(
    ("given", "variables", "expected"),
    [
        ({}, ["sprinkler"], [0.322, 0.678]),
        ({"rain": "yes"}, ["sprinkler"], [0.01, 0.99]),
        # wet: 0.2 (0.01 0.5 + 0.99 0.7) = 0.1396 with rain, 0.8 0.4 0.6 = 0.192 without.
        ({"wet_grass": "wet"}, ["rain"], [0.1396 / 0.3316, 0.192 / 0.3316]),
        ({"wet_grass": "very wet", "sprinkler": "off"}, ["rain"], [1.0, 0.0]),
        (
            {"wet_grass": "wet"},
            ["sprinkler", "rain"],
            [[0.001 / 0.3316, 0.192 / 0.3316], [0.1386 / 0.3316, 0.0]],
        ),
    ],
)
def test_conditionals_computed_by_hand(
    lawn: Network, given: dict[str, str], variables: list[str], expected: list[float]
) -> None:
    assert_allclose(lawn.exact(given, variables), expected, atol=1e-12)


@dataclass(frozen=True)
class Drawn:
    """A random network: sizes of variables, parents of each, and p(own value | parents' values)."""

    sizes: Mapping[str, int]
    parents: Mapping[str, tuple[str, ...]]
    tables: Mapping[str, Mapping[tuple[int, ...], Sequence[float]]]

    def text(self) -> str:
        parts = ["network unknown {\n}"]
        for name, size in self.sizes.items():
            values = ", ".join(f"v{i}" for i in range(size))
            parts.append(f"variable {name} {{\n type discrete [ {size} ] {{ {values} }};\n}}")
        for name, of in self.parents.items():
            rows = [
                f"({', '.join(f'v{i}' for i in case)}) {', '.join(map(repr, row))};"
                if of
                else f"table {', '.join(map(repr, row))};"
                for case, row in self.tables[name].items()
            ]
            head = f"{name} | {', '.join(of)}" if of else name
            parts.append("\n".join([f"probability ( {head} ) {{", *rows, "}"]))
        return "\n".join(parts)

    def probability(self, known: Mapping[str, int]) -> float:
        """P(known), by summing over everything else."""
        total = 0.0
        for cell in itertools.product(*map(range, self.sizes.values())):
            value = dict(zip(self.sizes, cell, strict=True))
            if all(value[name] == of for name, of in known.items()):
                p = 1.0
                for name, parents in self.parents.items():
                    p *= self.tables[name][tuple(value[of] for of in parents)][value[name]]
                total += p
        return total


@st.composite
def drawn_networks(draw: st.DrawFn) -> Drawn:
    order = draw(st.permutations("abcd"[: draw(st.integers(2, 4))]))
    sizes = {name: draw(st.integers(2, 3)) for name in sorted(order)}
    parents, tables = {}, {}
    for place, name in enumerate(order):
        of = draw(st.lists(st.sampled_from(order[:place]), unique=True)) if place else []
        parents[name] = tuple(of)
        weights = st.lists(st.integers(0, 5), min_size=sizes[name], max_size=sizes[name])
        tables[name] = {
            case: [w / sum(row) for w in row]
            for case in itertools.product(*(range(sizes[parent]) for parent in of))
            if (row := draw(weights.filter(any)))
        }
    return Drawn(sizes, parents, tables)


@given(st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exact_agrees_with_summing_by_force(tmp_path: Path, data: st.DataObject) -> None:
    drawn = data.draw(drawn_networks())
    network = network_of(drawn.text(), tmp_path)
    names = data.draw(st.permutations(list(drawn.sizes)))
    cut = data.draw(st.integers(1, len(names)))
    asked, others = names[:cut], names[cut:]
    known = {
        name: data.draw(st.integers(0, drawn.sizes[name] - 1))
        for name in others
        if data.draw(st.booleans())
    }
    bound = {name: f"v{i}" for name, i in known.items()}
    total = drawn.probability(known)
    if total == 0:
        with pytest.raises(EmptySupport):
            network.exact(bound, asked)
        return
    expected = np.zeros([drawn.sizes[name] for name in asked])
    for cell in np.ndindex(expected.shape):
        case = dict(zip(asked, cell, strict=True))
        expected[cell] = drawn.probability({**known, **case}) / total
    assert_allclose(network.exact(bound, asked), expected, atol=1e-9)


def test_an_impossible_condition_is_one_line(tmp_path: Path) -> None:
    network = network_of(LAWN.replace("0.2, 0.8;", "0.0, 1.0;"), tmp_path)
    with pytest.raises(EmptySupport) as caught:
        network.exact({"sprinkler": "on", "rain": "yes"}, ["wet_grass"])
    assert caught.value.message == (
        "cancer has no case of sprinkler=on, rain=yes. Give fewer or other conditions."
    )


@pytest.mark.parametrize(
    ("given", "variables", "kind", "message"),
    [
        ({"wind": "yes"}, ["rain"], UnknownName, "Unknown variable 'wind'"),
        ({"rain": "true"}, ["sprinkler"], UnknownName, "'true' is no rain"),
        ({}, ["wind"], UnknownName, "Unknown variable 'wind'"),
        ({"rain": "yes"}, ["rain"], InvalidQuery, "'rain' is both asked and given"),
        ({}, ["rain", "rain"], CandorError, "'rain' stands twice"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    lawn: Network,
    given: dict[str, str],
    variables: list[str],
    kind: type[CandorError],
    message: str,
) -> None:
    with pytest.raises(kind, match=message):
        lawn.exact(given, variables)


def test_nobody_can_write_to_what_is_handed_out(lawn: Network) -> None:
    for table in (lawn.joint, lawn.taught):
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 1


# Queries without a document


def query(text: str) -> Draw:
    parsed = parse(text)
    assert isinstance(parsed, Draw)
    return parsed


def test_a_relation_reads_only_what_is_given(lawn: Network) -> None:
    with corpora.register(lawn):
        (step,) = plan(query("cancer: wet_grass | rain=Yes"))
        first, second = plan(query("cancer: rain; wet_grass | sprinkler=on"))
    assert step.conditional.given == (Binding("rain", "yes"),)
    assert second.bind(("no",)).given == (Binding("sprinkler", "on"), Binding("rain", "no"))
    assert first.bind(()).variable == "rain"


def test_a_chain_is_its_mixture(lawn: Network) -> None:
    cells = itertools.product(*(v.values for v in lawn.schema.variables))
    table = dict(zip(cells, lawn.joint.ravel().tolist(), strict=True))
    with toy.registered(toy.ToyCorpus(lawn.schema, table)) as core:
        found = core.distribution(query("cancer: rain; wet_grass"))
    expected = lawn.exact({}, ["wet_grass"])
    for value, p in zip(("dry", "wet", "very wet"), expected, strict=True):
        assert found.probability_of(value) == pytest.approx(p)


def test_data_and_inverses_are_refused_in_one_line(lawn: Network) -> None:
    with corpora.register(lawn):
        with pytest.raises(CandorError, match=r"^cancer has no document and reads no data: .*\.$"):
            plan(query("cancer: rain"), "some text")
        with pytest.raises(InvalidQuery, match=r"^cancer has no document that 'rain\^-1'.*\.$"):
            plan(query("cancer: rain^-1"))
        arguments = {"corpus": "cancer", "variable": "rain", "text": "some text"}
        with pytest.raises(ToolError, match=r"^cancer has no document to read\. .*\.$"):
            TOOLS["infer"].query(arguments)


# Records


def test_records_are_the_same_each_time_and_differ_between_splits(
    lawn: Network, tmp_path: Path
) -> None:
    again = Network(NAME, tmp_path, lawn.wheel.checksum)
    for split, n in (("train", 4_000), ("held_out", 1_000)):
        assert len(lawn.records(split)) == n
        assert lawn.records(split) == again.records(split)
    assert {r.corpus for r in lawn.records("train")} == {NAME}
    assert lawn.records("held_out") != lawn.records("train")[:1_000]


def test_networks_of_one_shape_have_their_own_draws(tmp_path: Path) -> None:
    one, other = (network_of(LAWN, tmp_path, name).records("train") for name in EVERY[:2])
    assert [r.values for r in one] != [r.values for r in other]


def test_counts_are_those_of_the_training_records(lawn: Network) -> None:
    records = [r.values for r in lawn.records("train")]
    pairs = Counter((r["sprinkler"], r["rain"]) for r in records)
    assert lawn.count({}, ["sprinkler", "rain"]) == pairs
    wet = Counter((r["rain"],) for r in records if r["wet_grass"] == "very wet")
    assert lawn.count({"wet_grass": "very wet"}, ["rain"]) == wet
    assert lawn.count({"rain": "yes"}, ["sprinkler", "rain"]) == {
        pair: n for pair, n in pairs.items() if pair[1] == "yes"
    }
    assert lawn.count({"sprinkler": "off", "rain": "no"}, ["wet_grass"]) == {
        ("dry",): pairs["off", "no"]
    }


def test_nothing_is_held_out_by_value(lawn: Network) -> None:
    record = lawn.records("held_out")[0]
    assert record in lawn.records("train") and not lawn.is_held_out(record.values)


def test_training_sees_a_held_out_network_by_its_records_alone(tmp_path: Path) -> None:
    network = network_of(LAWN, tmp_path, HELD_OUT[0])
    records = [r.values for r in network.records("train")]
    n_rain = sum(r["rain"] == "yes" for r in records)
    n_both = sum(r["rain"] == "yes" and r["wet_grass"] == "wet" for r in records)
    assert network.taught.sum() == pytest.approx(1)
    assert network.taught[0].sum() == pytest.approx(n_rain / 4_000)
    found = network.conditional(network.taught, {"rain": "yes"}, ["wet_grass"])
    assert found[1] == pytest.approx(n_both / n_rain)
    assert abs(network.taught - network.joint).max() > 1e-4


def test_training_sees_the_other_networks_exactly(lawn: Network) -> None:
    assert lawn.taught is lawn.joint


# Reading


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (LAWN, "", "ends too early"),
        (LAWN, LAWN[:-3], "ends too early"),
        ("type discrete [ 2 ] { on, off };", "type discrete [ 2 ] { on; off };", "line 10, column"),
        ("network", "netzwerk", "line 1, column 1 is not BIF"),
        ("[ 3 ]", "[ 4 ]", "'WetGrass' has 3 values, not 4"),
        ("{ on, off }", "{ on, on }", "'on' stands twice"),
        ("variable Sprinkler", "variable Rain", "'Rain' stands twice"),
        ("probability ( Sprinkler | Rain )", "probability ( Rain | Rain )", "'Rain' stands twice"),
        ("Sprinkler | Rain", "Sprinkler | Snow", "'Snow' in .* is no variable"),
        ("( Sprinkler | Rain", "( Snow | Rain", "'Snow' in .* is no variable"),
        ("Sprinkler, Rain", "Rain, Rain", "'Rain' stands twice"),
        ("(off, True) 0.2, 0.7, 0.1;", "", "one row for each case of its parents: 4"),
        ("(off, True)", "(on, True)", "one row for each case of its parents: 4"),
        ("(off, True)", "(of, True)", "one row for each case of its parents: 4"),
        ("(off, True)", "(off)", "one row for each case of its parents: 4"),
        ("table 0.2", "table 0.3", "a row of 'Rain' is not 2 numbers that sum to one"),
        ("table 0.2", "table -0.2, 0.4", "a row of 'Rain' is not 2 numbers that sum to one"),
        ("0.2, 0.8", "-0.2, 1.2", "a row of 'Rain' is not 2 numbers that sum to one"),
        ("table 0.2", "table nan", "a row of 'Rain' is not 2 numbers that sum to one"),
        ("1e-2, 0.99", "none, 0.99", "a row of 'Sprinkler' is not 2 numbers that sum to one"),
        ("1e-2, 0.99", "0.01, 0.9, 0.09", "a row of 'Sprinkler' is not 2 numbers"),
        (
            "probability ( Rain ) {\n  table 0.2, 0.8;",
            "probability ( Rain | Sprinkler ) {\n (on) 0.2, 0.8;\n (off) 0.1, 0.9;",
            "its arrows run in a circle: (Rain -> Sprinkler -> Rain|Sprinkler -> Rain -> S)",
        ),
        (
            "probability ( Rain ) {\n  table 0.2, 0.8;\n}\n",
            "",
            "'Rain' has no probabilities",
        ),
    ],
)
def test_a_bad_file_is_one_clear_line(
    tmp_path: Path, before: str, after: str, message: str
) -> None:
    assert LAWN.count(before) == 1
    network = network_of(LAWN.replace(before, after), tmp_path)
    with pytest.raises(StorageError, match=message) as caught:
        _ = network.schema
    text = caught.value.message
    assert len(text.splitlines()) == 1
    assert f"{WHEEL} can't be read (cancer.bif: " in text
    assert text.endswith("). Delete it and run again.")


def test_rounded_rows_are_scaled_to_one(tmp_path: Path) -> None:
    network = network_of(LAWN.replace("0.2, 0.8;", "0.1999, 0.8;"), tmp_path)
    assert network.joint.sum() == pytest.approx(1, abs=1e-12)
    assert network.exact({}, ["rain"])[0] == pytest.approx(0.1999 / 0.9999, abs=1e-12)


# Fetching


def test_a_wheel_that_is_not_the_expected_one_is_refused(lawn: Network, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="checksum"):
        _ = Network(NAME, tmp_path).schema
    wheel = lawn.wheel.path
    with pytest.raises(StorageError, match=r"no item named .*asia.* Delete it and run again"):
        _ = Network("asia", tmp_path, lawn.wheel.checksum).schema
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{FOLDER}{NAME}.bif.gz", gzip.compress(LAWN.encode())[:-20])
    with pytest.raises(StorageError, match="Delete it and run again"):
        _ = Network(NAME, tmp_path, sha256(wheel)).schema
    wheel.write_bytes(b"not a zip")
    with pytest.raises(StorageError, match="Delete it and run again"):
        _ = Network(NAME, tmp_path, sha256(wheel)).schema


def pip_that(folder: Path, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a shell script stand in for Python where pip is called."""
    pip = folder / "pip"
    pip.write_text(f"#!/bin/sh\n{does}\n")
    pip.chmod(0o755)
    monkeypatch.setattr(wheels.sys, "executable", str(pip))


def test_a_failed_download_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip_that(tmp_path, "echo 'ERROR: No route.' >&2\nexit 1", monkeypatch)
    cache = tmp_path / "cache"
    network = Network(NAME, cache)
    assert not cache.exists()
    with pytest.raises(StorageError, match=r"Could not download pgmpy==0.1.26: No route\. Check"):
        _ = network.schema


def test_what_pip_fetched_is_kept(
    lawn: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = lawn.wheel.path
    copy = f'while [ "$1" != --dest ]; do shift; done\ncp {wheel} "$2"'
    pip_that(tmp_path, copy, monkeypatch)
    again = Network(NAME, tmp_path / "cache", lawn.wheel.checksum)
    assert again.schema == lawn.schema
    assert again.wheel.path.read_bytes() == wheel.read_bytes()


def test_knowing_the_networks_loads_nothing() -> None:
    code = (
        "import json, sys; from core_model import corpora; "
        "print(json.dumps([corpora.known(), list(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    known, modules = json.loads(done.stdout)
    assert set(EVERY) < set(known)
    assert not {"numpy", "core_model.corpora.networks"} & set(modules)


# The real networks


@pytest.fixture(params=EVERY)
def real(request: pytest.FixtureRequest) -> Network:
    found = corpora.load(request.param)
    assert isinstance(found, Network)
    return found


def network(name: str) -> Network:
    found = corpora.load(name)
    assert isinstance(found, Network)
    return found


def test_the_split_is_by_whole_networks() -> None:
    assert (len(TRAINING), len(HELD_OUT), len(set(EVERY))) == (6, 3, 9)
    assert set(networks.PLANS) == set(EVERY)


def test_words_can_be_asked_for(real: Network) -> None:
    schema = real.schema
    assert (schema.corpus, schema.document) == (real.name, "")
    assert len(schema.names) <= (11 if real.name == "sachs" else 8)
    for variable in schema.variables:
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", variable.name)
        assert len(set(variable.values)) == len(variable.values) >= 2
        assert all(value == value.strip() and "_" not in value for value in variable.values)
        assert set(real.parents[variable.name]) <= set(schema.names) - {variable.name}
        for value in variable.values:
            spelled = schema.spelled(Binding(variable.name, value.upper()))
            assert spelled == Binding(variable.name, value)


def test_figures_from_the_literature() -> None:
    asia, earthquake = network("asia"), network("earthquake")
    assert asia.exact({}, ["dyspnoea"])[0] == pytest.approx(0.43597, abs=5e-6)
    assert asia.exact({"smoker": "yes"}, ["lung_cancer"])[0] == pytest.approx(0.1)
    assert asia.exact({}, ["tuberculosis"])[0] == pytest.approx(0.0104)
    called = {"john_calls": "yes", "mary_calls": "yes"}
    p = 0.9 * 0.7 * np.array([
        0.01 * (0.02 * 0.95 + 0.98 * 0.94), 0.99 * (0.02 * 0.29 + 0.98 * 0.001)
    ]) + 0.05 * 0.01 * np.array([
        0.01 * (0.02 * 0.05 + 0.98 * 0.06), 0.99 * (0.02 * 0.71 + 0.98 * 0.999)
    ])  # fmt: skip
    assert_allclose(earthquake.exact(called, ["burglary"]), p / p.sum())


@pytest.mark.parametrize(
    ("name", "given", "variable", "expected"),
    [
        ("child", {"disease": "tetralogy of Fallot", "sick": "no"}, "age", [0.25, 0.25, 0.5]),
        (
            "child",
            {"lung_parenchyma": "congested", "lung_flow": "low"},
            "chest_xray",
            [0.05, 0.22, 0.08, 0.5, 0.15],
        ),
        (
            "insurance",
            {"driving_skill": "normal", "risk_aversion": "adventurous"},
            "driving_history",
            [0.5, 0.3, 0.2],
        ),
        (
            "alarm",
            {"hypovolemia": "yes", "left_heart_failure": "no"},
            "stroke_volume",
            [0.5, 0.49, 0.01],
        ),
        (
            "win95pts",
            {"desktop_speed": "good", "network_configuration": "correct", "print_queue": "long"},
            "network_speed",
            [0.25, 0.75],
        ),
        ("survey", {"occupation": "employee", "residence": "small city"}, "travel",
         [0.48, 0.42, 0.1]),
        ("sachs", {"plcg": "low"}, "pip3", [0.2184310, 0.4473238, 0.3342453]),
    ],
)  # fmt: skip
def test_figures_as_they_stand_in_the_files(
    name: str, given: dict[str, str], variable: str, expected: list[float]
) -> None:
    """Of a sub-network too: leaving out what nothing kept depends on changes no probability."""
    assert_allclose(network(name).exact(given, [variable]), expected, atol=1e-6)


def test_the_laws_of_probability(real: Network) -> None:
    assert real.joint.shape == tuple(len(v.values) for v in real.schema.variables)
    assert real.joint.sum() == pytest.approx(1, abs=1e-12)
    assert real.joint.min() >= 0
    first, second, third = real.schema.names[:3]
    both = real.exact({}, [third, first])
    assert_allclose(both.sum(axis=0), real.exact({}, [first]), atol=1e-12)
    value = real.schema.variable(second).values[1]
    (p_value,) = real.exact({}, [second])[1:2]
    cells = real.exact({}, [first, second, third])[:, 1]
    assert_allclose(real.exact({second: value}, [first, third]), cells / p_value, atol=1e-12)


@pytest.mark.parametrize("split", ["train", "held_out"])
def test_records_fit_the_joint(real: Network, split: Split) -> None:
    """Pearson's chi-squared over cells, rare ones in one class of at least five expected."""
    counts = Counter(tuple(r.values.values()) for r in real.records(split))
    cells = itertools.product(*(v.values for v in real.schema.variables))
    observed = np.array([counts[cell] for cell in cells], np.float64)
    n = observed.sum()
    expected = real.joint.ravel() * n
    assert n == {"train": 4_000, "held_out": 1_000}[split]
    assert not observed[expected == 0].any()
    order = np.argsort(expected)
    rare = max(int((expected < 5).sum()), int(np.searchsorted(expected[order].cumsum(), 5)) + 1)
    pooled = [
        np.concatenate([[table[order][:rare].sum()], table[order][rare:]])
        for table in (observed, expected)
    ]
    assert len(pooled[0]) > 3
    assert chisquare(*pooled).pvalue > 1e-3


def test_training_never_sees_the_probabilities_of_held_out_networks(real: Network) -> None:
    if real.name in TRAINING:
        assert real.taught is real.joint
    else:
        n_cells = real.taught * 4_000
        assert_allclose(n_cells, n_cells.round(), atol=1e-9)
        assert n_cells.sum() == pytest.approx(4_000)
