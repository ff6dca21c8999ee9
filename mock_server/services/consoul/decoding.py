"""From a body's bytes to a request: its fields, and strict JSON. What is wrong is named, the input never repeated."""

import msgspec
from pydantic import BaseModel, ValidationError

from mock_server.core.strict_json import find_flaw
from mock_server.errors import InvalidContentError, InvalidJsonError, RequestError
from mock_server.services.consoul.models import BatchRequest, BatchRequestModel, ChatRequest, ChatRequestModel

_decode_chat = msgspec.json.Decoder(ChatRequest).decode
_decode_batch = msgspec.json.Decoder(BatchRequest).decode


def decode_chat(body: bytes) -> ChatRequest:
    """Returns the request of a body; raises InvalidJsonError, InvalidContentError."""
    try:
        request = _decode_chat(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _build_refusal(ChatRequestModel, body, error) from None
    # Two names and two texts, or three: with no more quotation marks there is no room for a doubled name, nor for a
    # field nobody asked for, and looking closer would cost more than all the rest of the decoding.
    refuse_flaws(body, 8 if request.model is None else 12)
    return request


def decode_batch(body: bytes) -> BatchRequest:
    """Returns the batch of a body; raises InvalidJsonError, InvalidContentError."""
    try:
        request = _decode_batch(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _build_refusal(BatchRequestModel, body, error) from None
    refuse_flaws(body)
    return request


def refuse_flaws(body: bytes, quotes: int | None = None) -> None:
    """Raises InvalidJsonError for a body that msgspec takes and strict JSON is not, such as one with a doubled name.

    `quotes` is how many quotation marks the fields found in it need: a body with just as many is not looked at.
    """
    if body.count(b'"') != quotes:
        flaw = find_flaw(body)
        if flaw is not None:
            raise InvalidJsonError(f"The body is not strict JSON: {flaw}.")


def _build_refusal(model: type[BaseModel], body: bytes, error: Exception) -> RequestError:
    if isinstance(error, msgspec.ValidationError):
        return InvalidContentError(details=_list_problems(model, body, error))
    return InvalidJsonError()


def _list_problems(model: type[BaseModel], body: bytes, found: msgspec.ValidationError) -> list[dict[str, str]]:
    """Returns field and reason of everything wrong with a body's fields."""
    try:
        model.model_validate_json(body)
    except ValidationError as error:
        return [
            {"field": ".".join(map(str, detail["loc"])) or "body", "reason": detail["msg"]}
            for detail in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    return [{"field": "body", "reason": str(found)}]
