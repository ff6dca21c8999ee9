"""Bodies of the Consoul API: msgspec on the hot path, pydantic for OpenAPI and for listing what is wrong."""

from typing import Annotated, Any, Literal

import msgspec
from pydantic import BaseModel, Field

SESSION_ID_PATTERN = r"^[A-Za-z0-9._:-]+$"
MODEL_PATTERN = r"^[A-Za-z0-9._:/-]+$"
MAX_SESSION_ID = 128
MAX_MESSAGE = 32_768
MAX_MODEL = 64
MAX_BATCH = 10


class ChatRequest(msgspec.Struct, frozen=True, gc=False):
    """A decoded request; the same bounds as `ChatRequestModel`."""

    # `$` also matches before a final newline, which no session id may hold: hence `\\Z`.
    session_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SESSION_ID, pattern=r"\A[A-Za-z0-9._:-]+\Z")]
    message: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_MESSAGE)]
    model: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_MODEL, pattern=r"\A[A-Za-z0-9._:/-]+\Z")] | None
    ) = None


class BatchMessage(msgspec.Struct, frozen=True, gc=False):
    """One message of a batch."""

    role: Literal["user", "system", "assistant"]
    content: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_MESSAGE)]


class BatchRequest(msgspec.Struct, frozen=True):
    """A decoded batch; the same bounds as `BatchRequestModel`."""

    messages: Annotated[list[BatchMessage], msgspec.Meta(min_length=1, max_length=MAX_BATCH)]
    session_id: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_SESSION_ID, pattern=r"\A[A-Za-z0-9._:-]+\Z")] | None
    ) = None
    model: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_MODEL, pattern=r"\A[A-Za-z0-9._:/-]+\Z")] | None
    ) = None
    sequential: bool = True


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens counted for one turn, and what they would cost in US dollars."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    estimated_cost: float


class ChatAnswer(msgspec.Struct, frozen=True, gc=False):
    """The answer to one turn; without an `error` key, by which a client knows success."""

    session_id: str
    response: str
    model: str
    usage: Usage
    timestamp: str


class ChatRequestModel(BaseModel):
    """One turn of a conversation."""

    session_id: str = Field(min_length=1, max_length=MAX_SESSION_ID, pattern=SESSION_ID_PATTERN, strict=True)
    message: str = Field(min_length=1, max_length=MAX_MESSAGE, strict=True)
    model: Annotated[str, Field(min_length=1, max_length=MAX_MODEL, pattern=MODEL_PATTERN, strict=True)] | None = (
        Field(default=None, description="Used when the session is new.")
    )


class BatchMessageModel(BaseModel):
    """One message of a batch; it is answered as a turn of its own."""

    role: Literal["user", "system", "assistant"]
    content: str = Field(min_length=1, max_length=MAX_MESSAGE, strict=True)


class BatchRequestModel(BaseModel):
    """Several turns of one conversation."""

    session_id: (
        Annotated[str, Field(min_length=1, max_length=MAX_SESSION_ID, pattern=SESSION_ID_PATTERN, strict=True)] | None
    ) = Field(default=None, description="A new session when left out.")
    messages: list[BatchMessageModel] = Field(min_length=1, max_length=MAX_BATCH)
    model: Annotated[str, Field(min_length=1, max_length=MAX_MODEL, pattern=MODEL_PATTERN, strict=True)] | None = (
        Field(default=None, description="Used when the session is new.")
    )
    sequential: bool = Field(
        default=True,
        strict=True,
        description="True: each turn sees those before it. False: all at once, none sees another.",
    )


class UsageModel(BaseModel):
    """Tokens counted for one turn."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    estimated_cost: float = Field(description="US dollars")


class ChatAnswerModel(BaseModel):
    """The answer to one turn."""

    session_id: str
    response: str
    model: str
    usage: UsageModel
    timestamp: str = Field(description="ISO 8601, UTC")


class ErrorModel(BaseModel):
    """The one shape of every error."""

    code: str
    error: str
    message: str
    recoverable: bool
    retry_after: float | None = Field(description="exact seconds, where waiting helps")
    details: Any = None
    timestamp: str = Field(description="ISO 8601, UTC")


class BatchItemModel(BaseModel):
    """What became of one message: an answer, or an error."""

    index: int = Field(description="place of the message in the request, from 0")
    response: str | None = None
    model: str | None = None
    usage: UsageModel | None = None
    timestamp: str | None = None
    error: ErrorModel | None = None


class BatchAnswerModel(BaseModel):
    """What became of each message, in their order."""

    session_id: str
    results: list[BatchItemModel]
    succeeded: int
    failed: int
    usage: UsageModel = Field(description="sum of the turns that succeeded")
    timestamp: str = Field(description="ISO 8601, UTC")


class HealthModel(BaseModel):
    """The process is alive."""

    status: str
    service: str
    version: str
    timestamp: str
    connections: int = Field(description="open WebSockets and running streams")


class ReadinessModel(BaseModel):
    """Whether requests would be served now, and which check says otherwise."""

    status: str
    checks: dict[str, str] = Field(description="redis, memory, degraded, unavailable or draining")
    message: str | None = Field(default=None, description="what is wrong, when something is")
    timestamp: str
