"""The HTTP API of a deployed model: OpenAI's, with what `vastgenx serve` has beyond it."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vacc_gen.generator.answers import Answer
from vacc_gen.generator.backends.onnxruntime.runtime import TextModel
from vacc_gen.generator.calibration.tokenizer import TOKENIZER_FILE, Tokenizer
from vacc_gen.generator.chats import ChatFormat, default_sampling, sampling_of
from vacc_gen.generator.serve.requests import (
    ApiError,
    Asked,
    ChatRequest,
    CompletionRequest,
    api_error,
    parse,
)
from vacc_gen.schema.errors import VaccGenError
from vacc_gen.schema.json_files import MANIFEST_FILE, read_json

LOOK_SECONDS = 0.1
"""How often those who wait are looked at."""

CLIENT_GONE = 499
"""As nginx logs it; nobody hears it."""

SAMPLING = {"temperature", "top_p", "top_k", "repetition_penalty", "seed"}


class Line:
    """One answer at a time: first come, first served, and only so many may wait."""

    def __init__(self, max_waiting: int) -> None:
        self.is_stopping = False
        self._max_waiting = max_waiting
        self._turns: list[asyncio.Event] = []

    async def pieces(
        self, answer: Answer, is_gone: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[str]:
        """Yield the pieces of an answer when its turn has come.

        Raises:
            ApiError: too many wait, the client is gone, or the server stops.
        """
        if len(self._turns) > self._max_waiting:
            raise ApiError(429, f"the line is full, with {self._max_waiting} waiting; try again")
        turn, pieces = asyncio.Event(), iter(answer)
        self._turns.append(turn)
        try:
            self._turns[0].set()
            while True:
                if self.is_stopping:
                    raise ApiError(503, "the server is stopping")
                if await is_gone():
                    raise ApiError(CLIENT_GONE, "the client is gone")
                if not turn.is_set():
                    with suppress(asyncio.TimeoutError):
                        await asyncio.wait_for(turn.wait(), LOOK_SECONDS)
                elif (piece := await asyncio.to_thread(next, pieces, None)) is not None:
                    yield piece
                else:
                    return
        finally:
            self._turns.remove(turn)
            if self._turns:
                self._turns[0].set()


class Api:
    """The routes below /v1 for one deployed folder."""

    def __init__(self, folder: Path, model: TextModel, line: Line, key: str | None) -> None:
        """`key` None: whatever key clients send is taken."""
        self.name, self.format = folder.resolve().name, ChatFormat(folder)
        self._model, self._tokenizer = model, Tokenizer(folder / TOKENIZER_FILE)
        self._defaults, self._line, self._key = default_sampling(folder), line, key
        recipe = (read_json(folder / MANIFEST_FILE) or {}).get("recipe", {})
        self._tp = recipe.get("target", {}).get("tp", 1)
        self._created = int(folder.stat().st_mtime)

    def check_key(self, request: Request) -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._key is not None and not hmac.compare_digest(given.encode(), self._key.encode()):
            raise ApiError(401, "Incorrect API key provided", "invalid_api_key")

    async def models(self) -> Response:
        """List the model; `tp` is beyond OpenAI's, and `chat` beyond the cards'."""
        model: dict[str, Any] = {"id": self.name, "object": "model", "owned_by": "vacc-gen"}
        model |= {"created": self._created, "tp": self._tp, "chat": self.format.description}
        return JSONResponse({"object": "list", "data": [model]})

    async def chat(self, request: Request) -> Response:
        asked = parse(ChatRequest, await request.body())
        asked.max_tokens = asked.max_completion_tokens or asked.max_tokens
        asked.stop += self.format.stop
        prompt = self.format.prompt([message.model_dump() for message in asked.messages])
        return await self._reply(request, asked, prompt)

    async def completions(self, request: Request) -> Response:
        asked = parse(CompletionRequest, await request.body())
        return await self._reply(request, asked, asked.prompt)

    async def _reply(self, request: Request, asked: Asked, prompt: str) -> Response:
        if asked.model != self.name:
            message = f"The model `{asked.model}` does not exist; `{self.name}` does"
            raise ApiError(404, message, "model_not_found")
        sampling = sampling_of(self._defaults, asked.model_dump(include=SAMPLING))
        is_endless = asked.ignore_eos or asked.min_tokens > 0
        options = (sampling, asked.max_tokens, asked.stop, is_endless)
        answer = Answer(self._model, self._tokenizer, prompt, *options)
        reply = Reply(answer, self._line.pieces(answer, request.is_disconnected), asked)
        return await (reply.streamed() if asked.stream else reply.whole())


class Reply:
    """An answer on its way: whole, or in chunks."""

    def __init__(self, answer: Answer, pieces: AsyncIterator[str], asked: Asked) -> None:
        self._answer, self._pieces = answer, pieces
        self._is_chat = isinstance(asked, ChatRequest)
        self._with_usage = asked.stream_options.include_usage
        kind = "chat.completion" if self._is_chat else "text_completion"
        self._frame: dict[str, Any] = {"id": f"cmpl-{uuid.uuid4().hex}", "object": kind}
        self._frame |= {"created": int(time.time()), "model": asked.model}

    async def whole(self) -> Response:
        text = "".join([piece async for piece in self._pieces])
        choice = self._choice("message", text, self._answer.finish_reason, role="assistant")
        return JSONResponse({**self._frame, "choices": [choice], "usage": self._usage()})

    async def streamed(self) -> Response:
        """Stream from the first token on: an error before it still has its status."""
        if self._is_chat:
            self._frame["object"] = "chat.completion.chunk"
        if self._with_usage:
            self._frame["usage"] = None
        chunks = self._chunks(await anext(self._pieces))
        return StreamingResponse(chunks, media_type="text/event-stream")

    async def _chunks(self, first: str) -> AsyncIterator[str]:
        times = self._answer.times
        prefill = [round(seconds * 1e6) for seconds in (times[0], times[min(1, len(times) - 1)])]
        # It is not published in which of the two places the cards have it.
        stamps = {"token_timestamps": [prefill]}
        choice = self._choice("delta", first, role="assistant")
        yield self._event(choices=[{**choice, **stamps}], **stamps)
        try:
            async for piece in self._pieces:
                if piece:
                    yield self._event(choices=[self._choice("delta", piece)])
        except Exception as error:  # of a library too; the status was sent long ago
            yield f"data: {json.dumps(api_error(error).body)}\n\n"
            return
        yield self._event(choices=[self._choice("delta", "", self._answer.finish_reason)])
        if self._with_usage:
            yield self._event(choices=[], usage=self._usage())
        yield "data: [DONE]\n\n"

    def _event(self, **content: Any) -> str:
        return f"data: {json.dumps({**self._frame, **content}, ensure_ascii=False)}\n\n"

    def _choice(
        self, chat_key: str, text: str, reason: str | None = None, **more: str
    ) -> dict[str, Any]:
        content = {chat_key: {**more, "content": text}} if self._is_chat else {"text": text}
        return {"index": 0, **content, "logprobs": None, "finish_reason": reason}

    def _usage(self) -> dict[str, int]:
        prompt, answer = len(self._answer.token_ids), self._answer.tokens
        total = prompt + answer
        return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": total}


def make_app(api: Api) -> FastAPI:
    """Return the web application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    checked = [Depends(api.check_key)]
    app.get("/v1/models", dependencies=checked)(api.models)
    app.post("/v1/chat/completions", dependencies=checked)(api.chat)
    app.post("/v1/completions", dependencies=checked)(api.completions)
    app.get("/health")(lambda: {"status": "ok"})

    async def refuse(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            error = ApiError(error.status_code, f"{request.url.path}: {error.detail}")
        answer = api_error(error)
        headers = {"Retry-After": "1"} if answer.status == 429 else {}
        return JSONResponse(answer.body, answer.status, headers)

    for kind in (HTTPException, ClientDisconnect, ApiError, VaccGenError, Exception):
        app.add_exception_handler(kind, refuse)
    return app
