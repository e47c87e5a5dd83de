"""What leaves the builder: readable, and small enough for Lambda."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder import handler
from builder.characters import hides, visible, visible_line
from builder.flow.bounds import MAX_LINE, MAX_REPLY_BYTES, bounded, short_line
from builder.flow.report import explained, texts
from builder.jsontext import json_or_text
from builder.progress import Moment
from builder.secrets.masking import Masker
from builder.terminal import Terminal

LAMBDAS_LIMIT = 6 << 20
TREE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def written(reply: Mapping[str, Any]) -> int:
    """The bytes that Lambda counts, however its runtime writes them."""
    return max(len(json.dumps(reply)), len(json.dumps(reply, ensure_ascii=False).encode("utf-8", "surrogatepass")))


def test_a_reply_that_is_small_stays_as_it_is() -> None:
    reply: Any = {"statusCode": 200, "warnings": ["one"], "layers": [{"name": "x", "description": "a\u202eb"}]}
    assert bounded(reply) == reply


def test_a_message_of_seven_megabytes_is_cut_and_says_so() -> None:
    error: Any = {
        "code": "import_failed",
        "message": "x" * 7_000_000,
        "log_tail": ["y" * 8_000_000],
        "problems": ["z" * 9000],
    }
    told: Any = bounded({"statusCode": 400, "error": error})
    assert written(told) < 100_000
    assert told["error"]["message"].endswith("(6,980,000 characters more)")
    assert len(told["error"]["log_tail"][0]) < MAX_LINE + 50
    assert told["error"]["code"] == "import_failed"


def test_the_last_lines_of_a_log_are_kept_and_the_first_of_many_problems() -> None:
    lines = [f"{number} {'x' * 1500}" for number in range(500)]
    told: Any = bounded({"statusCode": 400, "error": {"code": "", "message": "", "log_tail": lines, "problems": lines}})
    assert told["error"]["log_tail"][-1].startswith("499 ")
    assert told["error"]["problems"][0].startswith("0 ")
    assert told["error"]["problems"][-1].endswith(" more")
    assert written(told) < 1_000_000


def test_lists_are_cut_where_the_whole_is_too_much_for_lambda() -> None:
    rows = [{"name": f"distribution-{number}", "contents": ["ä" * 50] * 40} for number in range(3000)]
    reply: Any = {"statusCode": 200, "artifacts": rows, "warnings": [], "function": {"arn": "arn:aws:lambda:x"}}
    assert written(reply) > LAMBDAS_LIMIT
    told: Any = bounded(reply)
    assert written(told) <= MAX_REPLY_BYTES < LAMBDAS_LIMIT
    assert told["artifacts"][0] == rows[0]
    assert told["function"] == reply["function"]
    assert "more than Lambda allows" in told["warnings"][-1]


@given(st.dictionaries(st.text(), TREE), st.integers(1, 400_000))
def test_no_reply_is_too_large(reply: Any, times: int) -> None:
    reply = {
        **reply,
        "much": {str(number): {"a": ["\u00e9" * 10]} for number in range(times % 3)},
        "text": "\0" * times * 5,
    }
    assert written(bounded(reply)) <= MAX_REPLY_BYTES + 2_000


def test_colours_go_and_what_deceives_is_written_out() -> None:
    assert visible("\x1b[31mred\x1b[0m\r\nnext\tone") == "red\nnext\tone"
    assert visible("\x1b]0;title\x07x\x1b]8;;http://e\x1b\\link") == "xlink"
    assert visible("a\x1bb\x9bc\u202ed\u2066e\u200bf") == "a\\x1bb\\x9bc\\u202ed\\u2066e\\u200bf".replace("\\x1bb", "")
    assert visible_line("one\ntwo\x00") == "one\\x0atwo\\x00"
    assert visible("päckchen 包 🎁\ufe0f") == "päckchen 包 🎁\ufe0f"


@given(st.text(st.characters(codec=None)))
def test_nothing_that_is_shown_hides(text: str) -> None:
    line = visible_line(text)
    assert not hides(line)
    assert not {unicodedata.category(one) for one in line} & {"Cc", "Cs", "Zl", "Zp"}
    assert not {
        one
        for one in line
        if unicodedata.bidirectional(one) in ("RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI")
    }
    assert "\n" not in short_line(text)


@given(st.text(st.characters(codec=None)), st.booleans())
def test_a_terminal_gets_no_control_characters_of_others(text: str, live: bool) -> None:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return live

    stream = Stream()
    terminal = Terminal(stream, {"TERM": "xterm"})
    terminal(Moment(phase="a", message=text, seconds=1.0, phases=()))
    terminal.line(text)
    error = {"phase": text, "message": text, "hint": text, "log_tail": [text], "code": text}
    terminal.failed(explained(error))
    terminal.warn(text)
    ours = stream.getvalue()
    for own in ("\r\x1b[K", "\x1b[36m", "\x1b[2m", "\x1b[1;31m", "\x1b[33m", "\x1b[0m"):
        ours = ours.replace(own, "")
    assert not {one for one in ours if unicodedata.category(one) == "Cc"} - {"\n", "\t"}


@pytest.mark.parametrize("depth", [100, 101, 480, 600, 900])
def test_what_a_function_answers_is_told_however_deep_it_is_nested(depth: int) -> None:
    payload = json_or_text("[" * depth + "]" * depth, deepest=100)
    assert isinstance(payload, list) == (depth <= 100)
    reply: Any = {"statusCode": 200, "changed": [], "invoke": {"status": 200, "version": "1", "payload": payload}}
    masker = Masker()
    masker.add("a-secret-of-this-test")
    assert "[[[[" in texts(bounded(masker.mask_json(reply)))["plain"]


class _Untellable:
    def __str__(self) -> str:
        raise LookupError("no words for it")


def test_a_reply_that_cannot_be_told_is_still_a_reply(caplog: pytest.LogCaptureFixture) -> None:
    reply: Any = {"statusCode": 200, "changed": [_Untellable()]}
    told = handler._text(reply, {"function": "web"}, Masker())
    assert told == {"plain": handler._NO_TEXT, "colour": handler._NO_TEXT, "times": ""}
    assert "LookupError: no words for it" in caplog.text
