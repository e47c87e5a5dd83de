"""Calls of AWS are counted, and Lambda's control plane is held to its rate."""

from __future__ import annotations

from builder.aws import Calls


def test_the_thirteenth_call_within_a_second_waits_until_the_second_is_over() -> None:
    now, slept = [100.0], []

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))
        now[0] += seconds

    calls = Calls(clock=lambda: now[0], sleep=sleep)
    for _ in range(12):
        calls.note("lambda", "UpdateFunctionCode")
        now[0] += 0.05
    assert slept == []
    calls.note("lambda", "PublishVersion")
    assert slept == [0.4]
    assert calls.counts["lambda", "UpdateFunctionCode"] == 12


def test_what_has_a_rate_of_its_own_never_waits() -> None:
    calls = Calls(clock=lambda: 5.0, sleep=lambda _: None)
    for _ in range(50):
        calls.note("lambda", "GetFunction")
        calls.note("s3", "GetObject")
    calls.note("lambda", "PublishVersion")
    assert sum(calls.counts.values()) == 101
