from hypothesis import given
from hypothesis import strategies as st

from tidings.cli.run.reader.screen import EscapeReader, Token, TokenKind

SHARP = st.text(st.sampled_from("\x1b[]();0123456789?ABKmhP\\\x07\x18\n\r\b ab é"), max_size=60)


def tokens(*pieces: str) -> list[Token]:
    """Return the tokens of text fed in pieces, with neighbouring runs of text joined."""
    reader = EscapeReader()
    joined: list[Token] = []
    for piece in pieces:
        for token in reader.feed(piece):
            if joined and joined[-1].kind is token.kind is TokenKind.TEXT:
                joined[-1] = Token(TokenKind.TEXT, joined[-1].value + token.value)
            else:
                joined.append(token)
    return joined


@given(SHARP, st.data())
def test_tokens_do_not_depend_on_chunk_boundaries(text: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    assert tokens(text[:cut], text[cut:]) == tokens(text) == tokens(*text)


def test_colours_are_separate_tokens() -> None:
    assert tokens("\x1b[1;32mok\x1b[0m\r") == [
        Token(TokenKind.CSI, "1;32m"),
        Token(TokenKind.TEXT, "ok"),
        Token(TokenKind.CSI, "0m"),
        Token(TokenKind.CONTROL, "\r"),
    ]


def test_osc_ends_with_bel_or_st() -> None:
    assert tokens("\x1b]0;title\x07a\x1b]9;4;1;42\x1b\\b") == [
        Token(TokenKind.OSC, "0;title"),
        Token(TokenKind.TEXT, "a"),
        Token(TokenKind.OSC, "9;4;1;42"),
        Token(TokenKind.TEXT, "b"),
    ]


def test_other_strings_are_swallowed() -> None:
    assert tokens("\x1bPq#0;1\x1b\\a") == [Token(TokenKind.TEXT, "a")]


def test_character_sets_are_swallowed_and_short_escapes_kept() -> None:
    assert tokens("\x1b(Ba\x1b7\x1bM") == [
        Token(TokenKind.TEXT, "a"),
        Token(TokenKind.ESCAPE, "7"),
        Token(TokenKind.ESCAPE, "M"),
    ]


def test_unterminated_string_swallows_one_line() -> None:
    assert tokens("\x1b]junk\nnext") == [Token(TokenKind.CONTROL, "\n"), Token(TokenKind.TEXT, "next")]


def test_broken_sequence_is_dropped_and_the_control_takes_effect() -> None:
    assert tokens("\x1b[12\rx") == [Token(TokenKind.CONTROL, "\r"), Token(TokenKind.TEXT, "x")]
    assert tokens("\x1b\x1b[Kx") == [Token(TokenKind.CSI, "K"), Token(TokenKind.TEXT, "x")]


def test_endless_parameters_are_bounded() -> None:
    (token,) = tokens("\x1b[" + "1;" * 10_000 + "m")
    assert len(token.value) <= 65
