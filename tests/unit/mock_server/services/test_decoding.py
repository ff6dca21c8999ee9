import pytest

from mock_server.errors import InvalidContentError, InvalidJsonError
from mock_server.services.consoul.decoding import decode_batch, decode_chat
from mock_server.services.consoul.socket_messages import parse_content

BATCH = b'"messages":[{"role":"user","content":"b"}]'


@pytest.mark.parametrize(
    "body",
    [
        b'{"session_id":"a","message":"b","session_id":"a"}',
        b'{"session_id":"a","message":"b","message":"c"}',
        b'{"session_id":"a","message":"b","model":null,"model":null}',
        b'{"session_id":"a","message":"b","model":null,"model":"gpt-4"}',
        b'{"session_id":"a","message":"b","model":"gpt-4","model":null}',
        b'{"session_id":"a","message":"b","model":"c","model":"d"}',
        b'{"session_id":"a","message":"b","x":1,"x":2}',
        b'{"session_id":"a","message":"b","x":1e400}',
        b'{"session_id":"a","message":"b","x":"\\ud800"}',
        b'{"session_id":"a","message":"b\\\\","session_id":"\\\\"}',
    ],
)
def test_e09_what_is_decodable_and_not_strict_is_refused(body: bytes) -> None:
    with pytest.raises((InvalidJsonError, InvalidContentError)):
        decode_chat(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"session_id":"a","message":"b"}',
        b'{"session_id":"a","message":"\\"b\\":\\"b\\""}',
        b'{"session_id":"a","message":"b","model":null}',
        b'{"session_id":"a","message":"b","model":"c"}',
        b'{"session_id":"a","message":"b","max_tokens":5,"stream":false}',
    ],
)
def test_plain_and_unknown_fields_pass(body: bytes) -> None:
    assert decode_chat(body).session_id == "a"


def test_e09_a_batch_is_held_to_the_same() -> None:
    assert len(decode_batch(b"{" + BATCH + b"}").messages) == 1
    with pytest.raises(InvalidJsonError, match="a key occurs twice"):
        decode_batch(b"{" + BATCH + b"," + BATCH + b"}")
    with pytest.raises(InvalidJsonError, match="a key occurs twice"):
        decode_batch(b'{"messages":[{"role":"user","content":"b","role":"user"}]}')


def test_e09_a_message_on_a_websocket_is_held_to_the_same() -> None:
    assert parse_content('{"type":"message","content":"a \\"b\\""}') == 'a "b"'
    with pytest.raises(InvalidJsonError, match="a key occurs twice"):
        parse_content('{"type":"message","content":"a","content":"b"}')
