"""Training: it learns, it goes on after a kill as if nothing had happened, and it never cheats."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from core_model import corpora, teacher
from core_model.adapter import (
    FILE,
    changed_by,
    learnt,
    read_adapter,
    save_adapter,
    with_adapter,
)
from core_model.base import resolve_base
from core_model.core import Core
from core_model.corpora.base import Corpus, Record, Split, refuse_held_out
from core_model.corpora.names import FIRST_YEAR, YEARS, Names
from core_model.corpora.safety import unseen
from core_model.corpora.speeches import Speeches
from core_model.errors import CandorError, HeldOutError
from core_model.planning import Conditional
from core_model.prefix_tree import PackedRow
from core_model.recipe import Recipe, Task, TaskEntry, read_recipe
from core_model.tasks import NamesTask, SpeechesTask
from core_model.torch_core import TorchCore
from core_model.train import known_by, start_decoder, train
from core_model.wire import Wire
from persona.dialogues import corpus_values
from persona.task import DialogueTask
from tests import tiny, toy


class Killed(Exception):
    """Stands for a kill at any moment."""


class KilledAt:
    """A task that is killed when it makes its rows for the n-th time."""

    def __init__(self, task: Task, calls: int) -> None:
        self.corpora = task.corpora
        self._task = task
        self._left = calls

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        if self._left == 0:
            raise Killed
        self._left -= 1
        return self._task.rows(rng, count)


def tasks(recipe: Recipe) -> list[Task]:
    return [entry.make(tiny.wire()) for entry in recipe.tasks]


def log_of(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def results(folder: Path) -> list[dict[str, Any]]:
    """The log without what depends on the clock."""
    return [{k: v for k, v in entry.items() if k != "seconds"} for entry in log_of(folder)]


def test_the_loss_falls(tmp_path: Path) -> None:
    recipe = tiny.recipe(steps=40)
    train(recipe, tiny.decoder(tiny.RANK), tasks(recipe), tmp_path)
    log = log_of(tmp_path)
    assert [entry["step"] for entry in log] == list(range(40))
    for name in ("words", "skies"):
        excess = [entry["tasks"][name]["excess"] for entry in log]
        assert min(excess) > -0.01  # no less than the targets' own entropy
        assert np.mean(excess[-5:]) < 0.5 * excess[0]


def test_a_run_upon_another_leaves_it_as_it_is(tmp_path: Path) -> None:
    recipe = tiny.recipe(steps=2)
    save_adapter(tiny.decoder(4), tmp_path / "below", {"corpora": "speeches"})
    upon = recipe.model_copy(update={"upon": str(tmp_path / "below"), "rank": 2})
    base = resolve_base(tiny.write_base(tmp_path / "base"), tmp_path / "cache")
    decoder = start_decoder(upon, base, tiny.wire())
    start = with_adapter(tiny.SHAPE, tiny.weights(), tmp_path / "below", torch.float32).merged()
    for name, weight in decoder.float().merged().items():
        torch.testing.assert_close(weight, start[name], rtol=1e-2, atol=1e-2, msg=name)
    train(upon, decoder, tasks(upon), tmp_path / "above")
    assert changed_by(tmp_path / "above") == [tmp_path / "below"]
    assert set(learnt(tmp_path / "above")) == {"speeches", "weather"}


def test_only_what_no_run_has_seen_is_unseen() -> None:
    hate, crime = unseen("hate"), unseen("crime")
    assert known_by(["safety", hate], []) == {"safety", hate}
    assert known_by(["safety", hate], [["names"]]) == {"names", "safety", hate}
    assert known_by(["safety", hate], [["safety"]]) == {"safety"}
    assert known_by(["safety", hate, crime], [["safety", hate]]) == {"safety", hate}
    assert known_by(["safety"], [["safety", hate]]) == {"safety"}
    assert known_by(["names"], [["safety", hate]]) == {"names", "safety", hate}


def test_a_killed_run_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    recipe = tiny.recipe(steps=6, checkpoint_every=3)
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    train(recipe, tiny.decoder(tiny.RANK), tasks(recipe), straight)
    doomed: list[Task] = [KilledAt(task, 5) for task in tasks(recipe)]
    with pytest.raises(Killed):
        train(recipe, tiny.decoder(tiny.RANK), doomed, killed)
    assert [entry["step"] for entry in log_of(killed)] == [0, 1, 2, 3, 4]
    with (killed / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 5, "tok')  # the kill came while a line was written
    train(recipe, tiny.decoder(tiny.RANK), tasks(recipe), killed)
    assert results(killed) == results(straight)
    one, other = (read_adapter(folder)[0] for folder in (straight, killed))
    assert set(one) == set(other)
    assert all(torch.equal(one[name], other[name]) for name in one)
    states = [torch.load(f / "checkpoint.pt", weights_only=True) for f in (straight, killed)]
    first, second = (state["parameters"] for state in states)
    assert all(torch.equal(first[name], second[name]) for name in first)


class Counting(tiny.WordTask):
    """Words for days whose share is what the last E-step says."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire)
        self.expectations: dict[str, torch.Tensor] = {}

    def expect(self, core: Core, rng: np.random.Generator) -> None:
        p = np.exp(core.log_prob_of(Conditional("weather", "sky"), list(toy.SKY)))
        self.expectations = {"clear": torch.tensor(p[0] + 0.01 * rng.random())}

    def rows(self, rng: np.random.Generator, count: int) -> list[PackedRow]:
        clear = float(self.expectations["clear"])
        return [self.row("clear" if rng.random() < clear else "cloudy", "10") for _ in range(count)]


def test_expected_labels_are_made_anew_and_survive_a_kill(tmp_path: Path) -> None:
    """Killed between two E-steps, a run goes on with the labels that the last one gave."""
    recipe = tiny.recipe(steps=7, checkpoint_every=2).model_copy(update={"expect_every": 3})
    straight, killed = tmp_path / "straight", tmp_path / "killed"

    def run(folder: Path, doomed_at: int | None = None) -> Counting:
        decoder, wire = tiny.decoder(tiny.RANK), tiny.wire()
        second = tasks(recipe)[1]
        counting = Counting(wire)
        others: Task = second if doomed_at is None else KilledAt(second, doomed_at)
        with toy.registered(*toy.all_toys()):
            train(recipe, decoder, [counting, others], folder, wire.silent,
                  lambda: TorchCore(decoder, wire))  # fmt: skip
        return counting

    whole = run(straight)
    with pytest.raises(Killed):
        run(killed, 5)
    assert run(killed).expectations == whole.expectations
    assert results(killed) == results(straight)


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    recipe = tiny.recipe(steps=2)
    train(recipe, tiny.decoder(tiny.RANK), tasks(recipe), tmp_path)
    before = log_of(tmp_path), (tmp_path / FILE).read_bytes()
    train(recipe, tiny.decoder(tiny.RANK), tasks(recipe), tmp_path)
    assert (log_of(tmp_path), (tmp_path / FILE).read_bytes()) == before


def test_a_checkpoint_of_another_recipe_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    recipe = tiny.recipe(steps=2)
    train(recipe, tiny.decoder(tiny.RANK), tasks(recipe), tmp_path)
    other = recipe.model_copy(update={"learning_rate": recipe.learning_rate / 2})
    path, before = tmp_path / "checkpoint.pt", log_of(tmp_path)
    with pytest.raises(CandorError, match="another recipe"):
        train(other, tiny.decoder(tiny.RANK), tasks(other), tmp_path)
    whole = path.read_bytes()
    for content in (b"", b"not a checkpoint", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(CandorError, match="is damaged") as refused:
            train(recipe, tiny.decoder(tiny.RANK), tasks(recipe), tmp_path)
        assert "\n" not in str(refused.value)
    assert log_of(tmp_path) == before


def test_a_log_without_a_checkpoint_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 7}\n', encoding="utf-8")
    recipe = tiny.recipe(steps=1)
    train(recipe, tiny.decoder(tiny.RANK), tasks(recipe), tmp_path)
    assert [entry["step"] for entry in log_of(tmp_path)] == [0]


def test_the_rows_of_a_step_depend_on_seed_and_step_alone() -> None:
    task = tiny.WordTask(tiny.wire())
    one, same, other = (task.rows(np.random.default_rng([1, s, 0]), 6) for s in (4, 4, 5))
    spelled = [[row.tokens.tolist() for row in rows] for rows in (one, same, other)]
    assert spelled[0] == spelled[1] != spelled[2]


# --- recipes ------------------------------------------------------------------------------------


def test_the_rate_warms_up_stays_and_decays() -> None:
    entry = TaskEntry(name="words", source="tests.tiny:WordTask", rows=1)
    recipe = Recipe(
        name="r", steps=100, warmup_steps=10, decay_from=0.5, final_factor=0.1, tasks=(entry,)
    )
    assert recipe.factor(0) == pytest.approx(0.1)
    assert recipe.factor(9) == recipe.factor(50) == 1.0
    assert recipe.factor(75) == pytest.approx(0.55)
    assert recipe.factor(100) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name =", "not TOML"),
        ("name = 'x'\nsteps = 0\ntasks = []", "steps"),
        ("name = 'x'\nsteps = 1\ntasks = []\nspeed = 9", "speed"),
        (
            "name = 'x'\nsteps = 1\n" + "[[tasks]]\nname = 'y'\nsource = 'a:B'\nrows = 1\n" * 2,
            "several tasks are named y",
        ),
    ],
)
def test_a_bad_recipe_is_refused_in_one_line(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "recipe.toml"
    with pytest.raises(CandorError, match="No recipe"):
        read_recipe(path)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(CandorError, match=says) as refused:
        read_recipe(path)
    assert "\n" not in str(refused.value)


def test_a_task_that_is_not_there_is_refused() -> None:
    for source in ("tests.tiny:Nothing", "tests.nowhere:Task", "tests"):
        with pytest.raises(CandorError, match="Task 'x'"):
            TaskEntry(name="x", source=source, rows=1).make(tiny.wire())


def test_an_ablation_leaves_tasks_out_and_says_so() -> None:
    whole = tiny.recipe(10)
    first, *others = (entry.name for entry in whole.tasks)
    changed = whole.changed(without=first, steps=4)
    assert [entry.name for entry in changed.tasks] == others
    assert changed.steps == 4
    assert changed.name == f"{whole.name}-without-{first}-4-steps"
    assert whole.changed() == whole
    with pytest.raises(CandorError, match="No task 'nothing' to leave out"):
        whole.changed(without="nothing")
    with pytest.raises(CandorError, match="at least one step of one task"):
        whole.changed(without=",".join([first, *others]))
    with pytest.raises(CandorError, match="at least one step"):
        whole.changed(steps=0)


def test_a_seed_takes_the_recipes_place_and_the_name_says_so() -> None:
    recipe = tiny.recipe(10)
    assert recipe.changed(seed=0).seed == 0
    seeded = recipe.changed(steps=4, seed=3)
    assert (seeded.seed, seeded.steps) == (3, 4)
    assert seeded.name == f"{recipe.name}-4-steps-seed-3"


def test_an_option_that_a_task_does_not_have_is_refused() -> None:
    entry = TaskEntry(
        name="x", source="core_model.tasks:SpeechesTask", rows=1, options={"teacher_shaer": 0.3}
    )
    with pytest.raises(CandorError, match=r"teacher_shaer.*teacher, teacher_share"):
        entry.make(tiny.wire())


def test_every_recipe_there_is_can_be_read_and_every_one_named_exists() -> None:
    root = Path(__file__).parent.parent
    recipes = sorted((root / "core_model" / "recipes").glob("*.toml"))
    assert [read_recipe(path).name for path in recipes] == [path.stem for path in recipes]
    documents = [*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("core_model/**/*.md")]
    named = {
        name
        for path in documents
        for name in re.findall(r"recipes/([\w-]+\.toml)", path.read_text(encoding="utf-8"))
    }
    assert named
    assert named <= {path.name for path in recipes}


# --- targets --------------------------------------------------------------------------------


def test_a_teacher_is_kept_for_the_same_passages_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[int] = []

    def fit(records: Sequence[Record], authors: Sequence[str]) -> NDArray[np.float32]:
        fits.append(len(records))
        return np.full((len(records), len(authors)), len(fits), np.float32)

    monkeypatch.setattr(teacher, "_fit", fit)
    records = FewSpeeches("Never.").records("train")
    other = [*records[1:], records[0]]
    cache = str(tmp_path / "teacher.npz")
    for asked, value in ((records, 1), (records, 1), (other, 2), (other, 2)):
        found = teacher.author_posteriors(asked, ("A", "B"), cache)
        assert (found == value).all()
    Path(cache).write_bytes(b"damaged")
    assert (teacher.author_posteriors(other, ("A", "B"), cache) == 3).all()


def test_no_year_is_taught_as_one_in_which_nobody_spoke() -> None:
    """The held-out years lie between those of training: without a kernel they would be holes."""
    with corpora.register(FewSpeeches("Never.")):
        task = SpeechesTask(tiny.wire())
        years = task._closed["year"].values
        for given in ({}, {"author": "Abraham Lincoln"}, {"party": "Republican"}):
            assert (task._counted("year", given) > 0).all()
        given = {"author": "Abraham Lincoln"}
        target = task._conditioned("year", 0, given)
    assert (target > 0).all()
    assert years[int(target.argmax())] == "1861"
    assert task._conditioned("party", 0, given).tolist().count(1.0) == 1


# --- what is held out ---------------------------------------------------------------------------


class FewNames(Names):
    """Three names in all years; `held_out` births stand in every held-out year."""

    def __init__(self, held_out: int) -> None:
        self._held_out = held_out

    @cached_property
    def _births(self) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        births = np.zeros((2, len(YEARS), 3), np.float32)
        for sex, year, code in np.ndindex(births.shape):
            if code == 2 or code == sex:
                held_out = (FIRST_YEAR + year) % 10 == 5
                births[sex, year, code] = self._held_out if held_out else 20 + code + year
        return ("Anna", "John", "Leslie"), births


class FewSpeeches(Speeches):
    """One passage a year of four years; `held_out` is what is said in 1862 and 1869."""

    def __init__(self, held_out: str) -> None:
        self._said = held_out

    @cached_property
    def _passages(self) -> list[Record]:
        rows = [
            ("1861", "Abraham Lincoln", "Republican"),
            ("1862", "Abraham Lincoln", "Republican"),
            ("1868", "Andrew Johnson", "National Union"),
            ("1869", "Ulysses S. Grant", "Republican"),
        ]
        return [
            Record(
                "speeches",
                {
                    "text": self._said if int(year) % 7 == 0 else f"Fellow citizens of {year}.",
                    "author": author,
                    "year": year,
                    "party": party,
                    "medium": "written",
                },
            )
            for year, author, party in rows
        ]


class Leaking:
    """A corpus that passes held-out records off as training ones."""

    def records(self, split: Split) -> Sequence[Record]:
        return [*super().records("train"), *super().records("held_out")]  # type: ignore[misc]


class LeakingNames(Leaking, FewNames):
    """Names that leak."""


class LeakingSpeeches(Leaking, FewSpeeches):
    """Speeches that leak."""


@pytest.fixture(params=["names", "speeches"])
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


MAKERS: Mapping[str, tuple[Any, Any, Any, tuple[Any, Any]]] = {
    "names": (NamesTask, FewNames, LeakingNames, (5, 5_000)),
    "speeches": (SpeechesTask, FewSpeeches, LeakingSpeeches, ("Never.", "Never ever again.")),
}


def made_rows(task: Any, corpus: Corpus) -> list[PackedRow]:
    with corpora.register(corpus):
        return task(tiny.wire()).rows(np.random.default_rng(0), 60)


def test_held_out_records_are_refused_by_name(kind: str) -> None:
    task, corpus, leaking, (some, _) = MAKERS[kind]
    held_out = corpus(some).records("held_out")
    assert held_out
    with pytest.raises(HeldOutError) as refused:
        refuse_held_out(corpus(some), [*corpus(some).records("train"), held_out[-1]])
    assert held_out[-1].values["year"] in str(refused.value)
    assert f"of '{kind}'" in str(refused.value)
    with pytest.raises(HeldOutError), corpora.register(leaking(some)):
        task(tiny.wire())


def test_dialogues_quote_no_held_out_passage() -> None:
    corpus_values.cache_clear()  # what other tests of this process have drawn from
    with corpora.register(LeakingSpeeches("Never.")), pytest.raises(HeldOutError):
        DialogueTask(tiny.wire())


def test_training_records_have_no_held_out_year(kind: str) -> None:
    _, corpus, _, (some, _) = MAKERS[kind]
    made = corpus(some)
    years = {record.values["year"] for record in made.records("train")}
    assert not any(made.is_held_out({"year": year}) for year in years)
    both = [*made.records("train"), *made.records("held_out")]
    assert len(both) == len(made.records("train")) + len(made.records("held_out"))
    assert {record.values["year"] for record in made.records("held_out")}.isdisjoint(years)


def test_what_is_held_out_changes_no_training_row(kind: str) -> None:
    """Two corpora that differ in their held-out records alone give the same rows."""
    task, corpus, _, (some, other) = MAKERS[kind]
    for one, two in zip(made_rows(task, corpus(some)), made_rows(task, corpus(other)), strict=True):
        assert np.array_equal(one.tokens, two.tokens)
        assert np.array_equal(one.target_token, two.target_token)
        assert np.array_equal(one.target_weight, two.target_weight)


def test_no_row_has_a_held_out_year_among_what_is_known(kind: str) -> None:
    task, corpus, _, (some, _) = MAKERS[kind]
    wire, made = tiny.wire(), corpus(some)
    mark, value = wire.marks["variable"], wire.marks["value"]
    begun = [mark, *wire.tokenizer.encode_value("year"), value]
    known = set()
    for row in made_rows(task, made):
        tokens = row.tokens.tolist()
        for start in range(len(tokens) - len(begun) - 3):
            if tokens[start : start + len(begun)] == begun:
                year = tokens[start + len(begun) : start + len(begun) + 4]
                known.add(wire.tokenizer.decode(year))
    assert known
    assert not any(made.is_held_out({"year": year}) for year in known)
