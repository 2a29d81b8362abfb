"""What clients may ask, typed, and errors in OpenAI's form.

As at OpenAI, unknown fields are refused, so that a typing error shows.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from vacc_gen.schema.errors import UsageError, VaccGenError

MAX_BODY_BYTES = 1 << 20
"""No model here has room for so long a prompt, and others wait while it becomes tokens."""


class ApiError(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        kind = "server_error" if status >= 500 else "invalid_request_error"
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": None, "code": code}}


def api_error(error: Exception) -> ApiError:
    """Return what a client hears of an error."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, VaccGenError):
        return ApiError(400 if isinstance(error, UsageError) else 500, error.message)
    return ApiError(500, f"{type(error).__name__}: {error}")


def _text(content: Any) -> Any:
    """Return the text of a message, whose content is a string or a list of parts."""
    if not isinstance(content, list):
        return content
    if any(not isinstance(part, dict) or part.get("type") != "text" for part in content):
        raise ValueError("only parts of type text are read here")
    if any(not isinstance(part.get("text"), str) for part in content):
        raise ValueError("a part of type text has its text in `text`")
    return "".join(part["text"] for part in content)


class Message(BaseModel):
    role: Literal["system", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text)]


class StreamOptions(BaseModel):
    include_usage: bool = False


class Asked(BaseModel, extra="forbid"):
    """What both kinds of request have."""

    model: str
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    stop: Annotated[
        list[Annotated[str, Field(min_length=1)]],
        BeforeValidator(lambda stop: [stop] if isinstance(stop, str) else stop),
    ] = []
    max_tokens: int | None = Field(None, ge=1)
    min_tokens: int = Field(0, ge=0)
    """At least so many: an answer then has all of `max_tokens`."""
    ignore_eos: bool = False
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    repetition_penalty: float | None = Field(None, gt=0)
    seed: int | None = Field(None, ge=0, lt=1 << 31)
    # Taken, and without an effect on an answer.
    user: Any = None
    metadata: Any = None
    prompt_template_name: Any = None
    # Not done here: taken where they ask for nothing.
    n: Literal[1] = 1
    logprobs: Literal[False] = False
    echo: Literal[False] = False
    frequency_penalty: Literal[0] = 0
    presence_penalty: Literal[0] = 0

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if value is not None}


class ChatRequest(Asked):
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)


class CompletionRequest(Asked):
    prompt: str
    max_tokens: int | None = Field(16, ge=1)  # OpenAI's


AnyRequest = TypeVar("AnyRequest", bound=Asked)


def parse(kind: type[AnyRequest], body: bytes) -> AnyRequest:
    """Read the body of a request.

    Raises:
        ApiError: it is not one.
    """
    if len(body) > MAX_BODY_BYTES:
        raise ApiError(413, f"a request may have {MAX_BODY_BYTES} bytes; this has {len(body)}")
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ApiError(400, f"{place}: {first['msg']}".lstrip(": ")) from error
