"""The core behind a server that speaks OpenAI's completions protocol, as vLLM does.

Prompts go as token ids, so no text is ever parsed for marks there. Scores are the log-probabilities
of an echoed prompt; texts are streamed. The server's softmax is over its whole vocabulary: the
marks are ruled out by a bias when drawing, and an exported core (`core_model.export`) gives them
no probability. Two fields are vLLM's own: `return_tokens_as_token_ids`, `allowed_token_ids`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import httpx2
import numpy as np
import openai
import pydantic
from numpy.typing import NDArray

from core_model.errors import EngineError
from core_model.listing import Listing
from core_model.numerals import NumberGuard
from core_model.prefix_tree import PrefixTree
from core_model.sampler import ANSWER_LIMIT, lots
from core_model.search import LISTED, Found
from core_model.stopping import apart
from core_model.wire import Wire
from core_model.wire_core import WireCore

CONNECT_SECONDS, READ_SECONDS = 5.0, 60.0
RETRIES = 3
"""Of a request that met a busy server or none, with growing pauses."""
REQUEST_TOKENS = 2048
"""Of the rows that one request has scored: a processor reads them well within READ_SECONDS."""
SEARCH_DRAWS = 256
_TOKEN = re.compile(r"token_id:(\d+)")
_BANNED = -100.0


class _Logprobs(pydantic.BaseModel):
    tokens: list[str]
    token_logprobs: list[float | None]


class _Choice(pydantic.BaseModel):
    index: int
    text: str = ""
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _Completion(pydantic.BaseModel):
    choices: list[_Choice]


class _Client(openai.DefaultHttpxClient):
    """A time-out is final: asked again, a server that hangs would be waited for again."""

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        try:
            return super().send(request, **options)
        except httpx2.ConnectTimeout as error:
            raise openai.APIConnectionError(request=request) from error
        except httpx2.TimeoutException as error:
            raise openai.APITimeoutError(request=request) from error


class RemoteCore(WireCore):
    """Core on a server; deterministic for a seed as far as the server is."""

    def __init__(
        self, client: openai.OpenAI, model: str, wire: Wire, learnt: Sequence[str] | None = None
    ) -> None:
        super().__init__(wire, model, learnt)
        self._client = client
        self._model = model
        self._url = str(client.base_url).rstrip("/")
        self._silent = frozenset(wire.never_in_text(wire.tokenizer.size))

    @classmethod
    def connect(
        cls, url: str, key: str | None, wire: Wire, learnt: Sequence[str] | None = None
    ) -> RemoteCore:
        """The core that a server offers; raises EngineError where there is none.

        learnt: what the adapter behind it was trained on, which the server can't say.
        """
        client = openai.OpenAI(
            base_url=url, api_key=key or "none", max_retries=RETRIES, http_client=_Client(),
            timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        )  # fmt: skip
        with _faults(url):
            models = [model.id for model in client.models.list()]
        if not models:
            raise EngineError(f"The server {url} offers no model. Start it with one.")
        return cls(client, models[0], wire, learnt)

    def score(
        self, prompt: Sequence[int], tree: PrefixTree, pieces: bool = False,
        negligible: float = 0.0, listing: Listing | None = None,
    ) -> NDArray[np.float64]:  # fmt: skip
        rows = [[*prompt, *answer] for answer in tree.sequences()]
        scores = np.zeros(len(rows))
        at_once = max(1, REQUEST_TOKENS // max(map(len, rows)))
        for start in range(0, len(rows), at_once):
            asked = rows[start : start + at_once]
            with contextlib.closing(apart(self._echoed(asked))) as replies:
                (choices,) = replies
            for choice in self._each_once(choices, len(asked)):
                row = asked[choice.index]
                tokens, log_p = self._read(choice)
                if tokens[: len(row)] != row:
                    raise EngineError(
                        f"The server {self._url} reads other tokens than it was sent. "
                        "Give it a core that was exported by this version of Candor."
                    )
                scores[start + choice.index] = np.sum(log_p[len(prompt) : len(row)])
        return scores

    def _echoed(self, rows: Sequence[Sequence[int]]) -> Generator[list[_Choice]]:
        """The one reply to a request for the log-probabilities of rows."""
        with _faults(self._url):
            reply = self._client.completions.create(
                model=self._model, prompt=[list(row) for row in rows], echo=True, max_tokens=1,
                logprobs=1, extra_body={"return_tokens_as_token_ids": True},
            )  # fmt: skip
            yield _Completion.model_validate(reply.model_dump(warnings=False)).choices

    def draw(
        self, prompt: Sequence[int], n: int, rng: np.random.Generator,
        limit: int = ANSWER_LIMIT,
    ) -> list[list[int]]:  # fmt: skip
        rows = []
        for lot in lots(n):
            drawn: list[list[int]] = [[] for _ in range(lot)]
            chunks = self._chunks(prompt, rng, lot, 1.0, limit, self._silent)
            with contextlib.closing(chunks):
                for index, tokens in chunks:
                    drawn[index] += tokens
            rows += drawn
        return rows

    def search(
        self, prompt: Sequence[int], top: int | None, rng: np.random.Generator,
        listing: Listing | None = None,
    ) -> Found:  # fmt: skip
        """The most probable of SEARCH_DRAWS texts; the entropy is the mean of their -log p."""
        wire = self._wire
        rows = [(*row, wire.end) for row in self.draw(prompt, SEARCH_DRAWS, rng)]
        distinct = list(dict.fromkeys(rows))
        scores = self.score(prompt, PrefixTree.build(distinct)).tolist()
        log_p = dict(zip(distinct, scores, strict=True))
        texts = {row: wire.tokenizer.decode_value(row[:-1]) for row in distinct}
        # An answer counts under its own spelling in tokens, as when its probability is asked.
        spelled = {texts[row]: p for row, p in log_p.items() if wire.answer(texts[row]) == [*row]}
        order = sorted(spelled.items(), key=lambda item: (-item[1], item[0]))
        surprise = -np.array([log_p[row] for row in rows])
        error = float(surprise.std(ddof=1) / np.sqrt(len(rows)))
        return Found(dict(order[: top or LISTED]), float(surprise.mean()), error, len(rows))

    def stream(
        self, prompt: Sequence[int], rng: np.random.Generator, temperature: float,
        guard: NumberGuard | None,
    ) -> Generator[int]:  # fmt: skip
        """One request as long as the guard rules out the same tokens, which is most of a text."""
        read = list(prompt)
        while True:
            banned = self._banned(guard)
            chunks = self._chunks(read, rng, 1, temperature, ANSWER_LIMIT, banned)
            with contextlib.closing(chunks):
                for token in (token for _, tokens in chunks for token in tokens):
                    read.append(token)
                    yield token
                    if guard is not None and self._banned(guard) != banned:
                        break
                else:
                    return

    def _banned(self, guard: NumberGuard | None) -> frozenset[int]:
        """Tokens that may not come next."""
        if guard is None:
            return self._silent
        return self._silent.union(np.flatnonzero(~guard.allowed()).tolist())

    def _chunks(
        self, prompt: Sequence[int], rng: np.random.Generator, n: int, temperature: float,
        limit: int, banned: frozenset[int],
    ) -> Generator[tuple[int, list[int]]]:  # fmt: skip
        """(number of a text, its next tokens without the end) as the server draws them."""
        return apart(self._streamed(prompt, rng, n, temperature, limit, banned))

    def _streamed(
        self, prompt: Sequence[int], rng: np.random.Generator, n: int, temperature: float,
        limit: int, banned: frozenset[int],
    ) -> Generator[tuple[int, list[int]]]:  # fmt: skip
        unfinished = set(range(n))
        with _faults(self._url):
            stream = self._client.completions.create(
                model=self._model, prompt=list(prompt), n=n, stream=True, max_tokens=limit,
                logprobs=1, temperature=temperature, top_p=1.0, seed=int(rng.integers(2**31)),
                extra_body={
                    "return_tokens_as_token_ids": True, "top_k": 0, "min_p": 0.0,
                    "repetition_penalty": 1.0, "stop_token_ids": [self._wire.end],
                    **self._ruling_out(banned),
                },
            )  # fmt: skip
            with stream:
                for chunk in stream:
                    for choice in _Completion.model_validate(
                        chunk.model_dump(warnings=False)
                    ).choices:
                        if choice.index not in unfinished:
                            raise _rubbish(self._url)
                        tokens = self._read(choice)[0] if choice.text or choice.logprobs else []
                        yield choice.index, [t for t in tokens if t != self._wire.end]
                        if choice.finish_reason is not None:
                            unfinished.remove(choice.index)
        if unfinished:
            raise EngineError(f"The server {self._url} broke off in mid-reply. Ask again.")

    def _ruling_out(self, banned: frozenset[int]) -> dict[str, Any]:
        size = self._wire.tokenizer.size
        if len(banned) <= size - len(banned):
            return {"logit_bias": {str(token): _BANNED for token in sorted(banned)}}
        return {"allowed_token_ids": sorted(set(range(size)) - banned)}

    def _read(self, choice: _Choice) -> tuple[list[int], list[float]]:
        """Tokens and their log-probabilities; the first of a row has none and counts as 0."""
        if choice.logprobs is None:
            raise EngineError(
                f"The server {self._url} sends no log-probabilities, which every query needs. "
                "Use one that does, such as vLLM."
            )
        found = [_TOKEN.fullmatch(token) for token in choice.logprobs.tokens]
        tokens = [int(match[1]) for match in found if match is not None]
        if len(tokens) < len(found):
            raise EngineError(
                f"The server {self._url} names no token ids, which every query needs. "
                "Use one that does, such as vLLM."
            )
        return tokens, [p or 0.0 for p in choice.logprobs.token_logprobs]

    def _each_once(self, choices: Sequence[_Choice], n: int) -> Sequence[_Choice]:
        if sorted(choice.index for choice in choices) != list(range(n)):
            raise _rubbish(self._url)
        return choices


def _rubbish(url: str) -> EngineError:
    return EngineError(
        f"The server {url} sent something that is no completion. Is it an OpenAI-compatible server?"
    )


@contextlib.contextmanager
def _faults(url: str) -> Iterator[None]:
    """What can go wrong with a server, as one line."""
    try:
        yield
    except openai.APITimeoutError as error:
        raise EngineError(
            f"The server {url} did not answer within {READ_SECONDS:g} seconds. Ask again, or "
            "look whether it hangs."
        ) from error
    except openai.APIStatusError as error:
        said = (error.message.strip().splitlines() or [""])[0][:200]
        raise EngineError(f"The server {url} refused: {said}") from error
    except (openai.APIConnectionError, httpx2.ConnectError) as error:
        raise EngineError(
            f"The server {url} can't be reached. Start it, or start Candor without CANDOR_ENGINE."
        ) from error
    except openai.APIResponseValidationError as error:
        raise _rubbish(url) from error
    except openai.APIError as error:  # what a server says in the middle of a stream
        said = (error.message.strip().splitlines() or [""])[0][:200]
        raise EngineError(f"The server {url} failed: {said}") from error
    except httpx2.TimeoutException as error:
        raise EngineError(f"The server {url} fell silent in mid-reply. Ask again.") from error
    except httpx2.HTTPError as error:
        raise EngineError(f"The server {url} broke off in mid-reply. Ask again.") from error
    except (openai.OpenAIError, ValueError) as error:  # pydantic's and json's are ValueErrors
        raise _rubbish(url) from error
