"""A server on loopback that speaks the completions protocol over the tiny decoder.

Like a core that was exported, its model gives marks that never stand in a text no probability.
`fault` makes it misbehave; `hung` is set once it leaves a request without a reply.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import numpy as np
import torch

from tests import tiny

Fault = Literal[
    "busy",
    "refuses",
    "rubbish",
    "half",
    "hangs",
    "no logprobs",
    "words",
    "other tokens",
    "empty",
    "dies",
]


class FakeServer(ThreadingHTTPServer):
    """The server; `requests` are the bodies it was sent, `busy` how often it will be busy."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fault: Fault | None = None
        self.busy = 0
        self.requests: list[dict[str, Any]] = []
        self.over = threading.Event()
        self.hung = threading.Event()
        self.model = tiny.trained_decoder()
        self.silent = list(tiny.wire().silent)
        self._known: dict[tuple[int, ...], torch.Tensor] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def log_p(self, tokens: list[int]) -> torch.Tensor:
        """(T, V) log p of the next token behind each."""
        with torch.no_grad():
            row = torch.tensor([tokens])
            hidden = self.model(row, torch.arange(len(tokens))[None], None)
            logits = self.model.logits(hidden)[0]
        logits[:, self.silent] = -torch.inf
        return torch.log_softmax(logits, dim=-1)

    def following(self, tokens: list[int]) -> torch.Tensor:
        """(V,) log p of the next token; most texts have a beginning that another one had."""
        key = tuple(tokens)
        if key not in self._known:
            self._known[key] = self.log_p(tokens)[-1]
        return self._known[key]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is none."""


@contextlib.contextmanager
def serving() -> Iterator[FakeServer]:
    """A running server."""
    server = FakeServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        models = [] if self.server.fault == "empty" else [{"id": "tiny", "object": "model"}]
        self._send({"object": "list", "data": models})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(body)
        if self.server.busy:
            self.server.busy -= 1
            self._send({"error": {"message": "busy"}}, 503)
        elif self.server.fault == "refuses":
            self._send({"error": {"message": "too long\nby far"}}, 400)
        elif self.server.fault == "rubbish":
            self._send({"choices": "yes"})
        elif self.server.fault == "hangs":
            self.server.hung.set()
            self.server.over.wait()
        elif body.get("stream"):
            self._stream(body)
        else:
            self._send({"choices": [self._echo(i, row) for i, row in enumerate(body["prompt"])]})

    def _send(self, content: object, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        length = len(data)
        if self.server.fault == "half":
            data = data[: length // 2]
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(data)

    def _echo(self, index: int, row: list[int]) -> dict[str, Any]:
        log_p = self.server.log_p(row)
        told = [None, *(float(log_p[i, token]) for i, token in enumerate(row[1:]))]
        following = int(log_p[-1].argmax())
        if self.server.fault == "other tokens":
            row = [*row[:-1], 0]
        return self._choice(
            index, [*row, following], [*told, float(log_p[-1, following])], "length"
        )

    def _choice(
        self, index: int, tokens: list[int], log_p: list[float | None], finish: str | None
    ) -> dict[str, Any]:
        names = [f"token_id:{t}" if self.server.fault != "words" else "word" for t in tokens]
        logprobs = {"tokens": names, "token_logprobs": log_p}
        if self.server.fault == "no logprobs":
            logprobs = None
        return {"index": index, "text": "…", "logprobs": logprobs, "finish_reason": finish}

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if self.server.fault == "dies":
            self._event({"error": {"message": "the engine died\nfor good"}})
            return
        rng = np.random.default_rng(body["seed"])
        rows = [list(body["prompt"]) for _ in range(body["n"])]
        going = list(range(body["n"]))
        for step in range(body["max_tokens"]):
            for i in list(going):
                log_p = self.server.following(rows[i])
                token = _drawn(log_p, body, rng)
                rows[i].append(token)
                ends = token in body["stop_token_ids"]
                finish = "stop" if ends else "length" if step + 1 == body["max_tokens"] else None
                if finish is not None:
                    going.remove(i)
                self._event({"choices": [self._choice(i, [token], [float(log_p[token])], finish)]})
                if self.server.fault == "half":
                    return
            if not going:
                break
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, content: object) -> None:
        self.wfile.write(f"data: {json.dumps(content)}\n\n".encode())


def _drawn(log_p: torch.Tensor, body: dict[str, Any], rng: np.random.Generator) -> int:
    """One token under the biases and the temperature of a request."""
    scores = log_p.double().numpy().copy()
    for token, bias in body.get("logit_bias", {}).items():
        scores[int(token)] += bias
    if "allowed_token_ids" in body:
        banned = np.ones(len(scores), bool)
        banned[body["allowed_token_ids"]] = False
        scores[banned] = -np.inf
    if body["temperature"] == 0:
        return int(scores.argmax())
    p = np.exp((scores - scores.max()) / body["temperature"])
    return int(rng.choice(len(p), p=p / p.sum()))
