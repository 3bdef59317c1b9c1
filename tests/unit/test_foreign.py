"""What a record of another IOC can hold of a text, and what one shows."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beamtime_ioc.errors import BadValueError
from beamtime_ioc.foreign import CTRL_ENUM, Shape, Type, fit_text, parse

STRING = Shape(Type.STRING, 1, writable=True)
NUMBERS = (Type.SHORT, Type.LONG, Type.FLOAT, Type.DOUBLE)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=120)


def chars(count: int) -> Shape:
    return Shape(Type.CHAR, count, writable=True)


@given(texts, st.one_of(st.just(STRING), st.integers(2, 300).map(chars)))
def test_what_is_written_is_the_beginning_of_the_text_whole_characters_and_no_more_than_fits(
    text: str, shape: Shape
) -> None:
    fitted = fit_text(text, shape)

    wanted = text.replace("\0", " ")
    assert len(fitted.data) <= (40 if shape is STRING else shape.count)
    assert wanted.startswith(fitted.shown.text)
    assert fitted.is_cut == (fitted.shown.text != wanted)
    if fitted.is_cut:
        following = wanted[len(fitted.shown.text)]
        assert len((fitted.shown.text + following).encode()) > shape.room_bytes


@given(texts, st.one_of(st.just(STRING), st.integers(2, 300).map(chars)))
def test_what_comes_back_over_the_wire_is_recognised(text: str, shape: Shape) -> None:
    fitted = fit_text(text, shape)

    shown = parse(shape.type, 1 if shape is STRING else len(fitted.data), fitted.data)

    if len(fitted.data) > 1:
        assert fitted.stands(shown)
        assert shown.text == fitted.shown.text


@pytest.mark.parametrize("other", ["", "Mülle", "Müllers", "müller", " Müller", "Muller"])
def test_another_text_is_not_taken_for_what_is_wanted(other: str) -> None:
    fitted = fit_text("Müller", STRING)

    assert not fitted.stands(parse(Type.STRING, 1, other.encode().ljust(40, b"\0")))


def test_bytes_that_are_no_utf_8_are_shown_and_never_equal_to_what_they_look_like() -> None:
    shown = parse(Type.STRING, 1, b"M\xfcller".ljust(40, b"\0"))

    assert shown.text == "Müller"
    assert not fit_text("Müller", STRING).stands(shown)


@given(st.sampled_from(NUMBERS), texts)
def test_a_number_record_takes_a_number_or_refuses_in_words(kind: Type, text: str) -> None:
    shape = Shape(kind, 1, writable=True)
    try:
        fitted = fit_text(text, shape)
    except BadValueError as error:
        assert str(error).startswith(f"it holds a number ({kind.name}), and ")  # noqa: PT017
        return

    assert fitted.shown.number == pytest.approx(float(text), rel=1e-6)
    assert fitted.stands(parse(kind, 1, fitted.data))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((Type.LONG, text) for text in ("", "1.5", "1e3", "2147483648", "٣", "0x10", "1_0", "GUP-1")),
        *((Type.SHORT, text) for text in ("32768", "-32769")),
        *((Type.DOUBLE, text) for text in ("", "nan", "inf", "-inf", "1e999", "one")),
        (Type.FLOAT, "1e39"),
    ],
)
def test_what_is_no_number_or_too_large_is_refused(kind: Type, text: str) -> None:
    with pytest.raises(BadValueError, match="none that it can hold; name another record"):
        fit_text(text, Shape(kind, 1, writable=True))


@given(st.integers(-(2**31), 2**31 - 1))
def test_each_number_of_32_bit_goes_into_a_longout(number: int) -> None:
    assert fit_text(f" {number} ", Shape(Type.LONG, 1, writable=True)).data == struct.pack("=i", number)


def test_a_record_with_states_takes_no_text() -> None:
    with pytest.raises(BadValueError, match="it has states"):
        fit_text("Done", Shape(Type.ENUM, 1, writable=True))


def enum(number: int, *labels: str) -> bytes:
    states = b"".join(label.encode().ljust(26, b"\0") for label in labels).ljust(16 * 26, b"\0")
    return struct.pack("=hhh", 0, 0, len(labels)) + states + struct.pack("=H", number)


@pytest.mark.parametrize(
    ("number", "text"), [(0, "Done"), (1, "Acquire"), (2, "2"), (15, "15"), (16, "16"), (65535, "65535")]
)
def test_an_enum_shows_its_label_or_the_number_of_a_state_without_one(number: int, text: str) -> None:
    shown = parse(CTRL_ENUM, 1, enum(number, "Done", "Acquire"))

    assert (shown.text, shown.number) == (text, number)


def test_an_array_that_nobody_has_written_is_an_empty_text() -> None:
    shown = parse(Type.CHAR, 0, b"")

    assert shown.text == ""
    assert fit_text("", chars(256)).stands(shown)
