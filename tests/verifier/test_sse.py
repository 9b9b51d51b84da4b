"""Server-sent events and text of any form: nothing is lost, nothing is made up, nothing raises."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from verifier.endpoint.sse import Event, EventReader
from verifier.endpoint.wires.reading import whole_characters


def body_events(body: str | bytes) -> list[Event]:
    reader = EventReader()
    return [*reader.feed(body.encode() if isinstance(body, str) else body), *reader.finish()]


@given(st.text(max_size=30))
def test_text_that_can_be_encoded_is_kept_as_it_came(text: str) -> None:
    assert whole_characters(text) == text


lines = st.text(st.sampled_from("ab :\u00e9\ufeff"), max_size=12)


@given(st.lists(st.lists(lines, min_size=1, max_size=3), max_size=5), st.sampled_from(["\n", "\r", "\r\n"]), st.booleans(), st.data())
def test_events_survive_any_line_end_comment_and_cut(wanted: list[list[str]], end: str, last_blank: bool, data: st.DataObject) -> None:
    body = "".join(": OPENROUTER PROCESSING" + end + end + "".join(f"data: {line}{end}" for line in event) + end for event in wanted)
    if not last_blank:
        body = body.removesuffix(end)
    raw = body.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    reader = EventReader()
    got = [event for start, stop in zip([0, *cuts], [*cuts, len(raw)], strict=True) for event in reader.feed(raw[start:stop])]
    got += reader.finish()
    assert [event.data for event in got] == ["\n".join(event) for event in wanted]


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_the_event_reader_never_raises_and_gives_no_more_than_it_was_fed(pieces: list[bytes]) -> None:
    reader = EventReader()
    got = [event for piece in pieces for event in reader.feed(piece)]
    got += reader.finish()
    assert sum(len(event.data) for event in got) <= sum(map(len, pieces))


def test_event_names_byte_order_marks_and_spaces_follow_the_standard() -> None:
    body = b"\xef\xbb\xbfevent: error\ndata:x\ndata:  y\nid: 1\nretry: 5\nunknown\n\ndata\n\nevent: lost\n\ndata: \xff\n\n"
    assert body_events(body) == [Event("error", "x\n y"), Event("message", ""), Event("message", "\ufffd")]
