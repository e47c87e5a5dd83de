"""One build per function at a time, whatever happens to the builders and to the network between them and S3."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path

import pytest

from builder.errors import AwsUnavailable, FunctionBusy
from builder.progress import BackgroundListener, Moment, Progress
from builder.records.lease import Lease, held
from builder.store.s3 import S3Store
from builder.workspace.directory import Deadline
from localaws.testing import Server
from tests.store.storing import bad_line, new_bucket, read_json, store_in

ROOT = Path(__file__).resolve().parents[2]
NAME = "leases/thumbs.json"


@pytest.fixture(scope="module")
def bucket(localaws: Server) -> str:
    return new_bucket(localaws)


@pytest.fixture
def store(localaws: Server, bucket: str) -> Iterator[S3Store]:
    store = store_in(localaws, bucket)
    yield store
    assert read_json(store, NAME) is None, "a lease is left behind"


def hold(
    store: S3Store,
    owner: str,
    *,
    said: list[str] | None = None,
    ttl_s: float = 15,
    wait_s: float | None = None,
    deadline_s: float = 60,
) -> AbstractContextManager[Lease]:
    def listen(moment: Moment) -> None:
        if said is not None:
            said.append(moment.message)

    return held(
        store,
        "thumbs",
        owner=owner,
        by="zoe",
        deadline=Deadline(at=time.monotonic() + deadline_s),
        progress=Progress(listen),
        ttl_s=ttl_s,
        wait_s=wait_s,
    )


def test_the_holder_is_told_and_the_lease_given_back_however_the_block_ends(store: S3Store) -> None:
    with hold(store, "b1") as lease:
        assert not lease.waited
        lease.confirm("updating the code of thumbs")
        value = read_json(store, NAME)
        assert value is not None
        assert (value["owner"], value["by"], value["function"]) == ("b1", "zoe", "thumbs")
    assert read_json(store, NAME) is None
    with pytest.raises(ZeroDivisionError), hold(store, "b1"):
        raise ZeroDivisionError
    assert read_json(store, NAME) is None


def test_the_second_waits_and_says_for_whom(store: S3Store) -> None:
    said: list[str] = []
    order: list[str] = []

    def second() -> None:
        with hold(store, "b2", said=said) as lease:
            order.append("second")
            assert lease.waited

    with ThreadPoolExecutor() as pool:
        with hold(store, "b1"):
            waiting = pool.submit(second)
            time.sleep(2.2)
            order.append("first")
        waiting.result()
    assert order == ["first", "second"]
    assert said[0] == "waiting for build b1 of zoe, which has had thumbs for 0 s: starting"
    assert f"{said[0].replace(' 0 s ', ' 2 s ')}" in said[1:], "and again, as the time goes by"


def test_who_waited_has_it_since_it_got_it_and_a_renewal_does_not_begin_anew(store: S3Store) -> None:
    with ThreadPoolExecutor() as pool:

        def second() -> list[float]:
            with hold(store, "b2", ttl_s=1.5) as lease:
                lease.confirm("updating")
                time.sleep(2)
                return [(read_json(store, NAME) or {})["held_s"]]

        with hold(store, "b1"):
            waiting = pool.submit(second)
            time.sleep(1)
        assert 0.9 < waiting.result()[0] < 2.3, "not the second before it"


def test_who_waits_gives_up_in_time_and_says_what_to_do(store: S3Store) -> None:
    with hold(store, "b1"):
        for wait_s, deadline_s in ((0.2, 60.0), (None, 1.2), (0.0, 60.0)):
            started = time.monotonic()
            with pytest.raises(FunctionBusy) as caught, hold(store, "b2", wait_s=wait_s, deadline_s=deadline_s):
                pass
            assert time.monotonic() - started < 3
            assert "thumbs is being changed by build b1 of zoe, which has had thumbs for " in caught.value.message
            assert "when build b1 has ended" in caught.value.hint


def test_a_call_that_takes_longer_than_the_lease_does_not_lose_it(store: S3Store) -> None:
    with hold(store, "b1", ttl_s=1) as lease:
        with pytest.raises(FunctionBusy), hold(store, "b2", wait_s=2.5):
            pass
        lease.confirm("going on")


def test_confirming_is_free_shortly_after_a_renewal_and_a_renewal_otherwise(store: S3Store) -> None:
    with hold(store, "b1", ttl_s=30) as lease:
        before = store.read_version(NAME)
        for _ in range(100):
            lease.confirm("writing")
        assert store.read_version(NAME) == before
        lease._own._asked_at -= 11
        lease.confirm("writing more")
        after = read_json(store, NAME)
        assert after is not None
        assert after["doing"] == "writing more"


def test_a_lease_that_somebody_else_has_is_noticed_before_the_next_write(store: S3Store) -> None:
    lease = Lease(store, "thumbs", owner="b1", by="zoe", ttl_s=0.3)
    lease.take(1, Progress())
    time.sleep(0.35)
    with hold(store, "b2", ttl_s=0.3) as other:
        assert other.waited
        with pytest.raises(FunctionBusy, match=r"updating x: thumbs was taken over by build b2 of zoe"):
            lease.confirm("updating x")
        lease.give_back()
        other.confirm("still there")
        assert read_json(store, NAME)


def test_a_lease_that_is_gone_is_lost(store: S3Store) -> None:
    lease = Lease(store, "thumbs", owner="b1", by="", ttl_s=0.1)
    lease.take(1, Progress())
    store._clients.s3.delete_object(Bucket=store.bucket, Key=store.key(NAME))
    time.sleep(0.1)
    with pytest.raises(FunctionBusy, match="taken over by another build"):
        lease.confirm("updating x")


HOLDER = """
import sys, time
from builder.records.lease import held
from builder.progress import Progress
from builder.workspace.directory import Deadline
from builder.aws import connect
from builder.store.s3 import S3Store
store = S3Store(connect(), sys.argv[1], "t/")
with held(store, "thumbs", owner="child", by="", deadline=Deadline(at=time.monotonic() + 60), progress=Progress(),
          ttl_s=1) as lease:
    print("holding", flush=True)
    sys.stdin.readline()
    try:
        lease.confirm("updating")
    except Exception as error:
        print(type(error).__name__, error, flush=True)
"""


def holder(aws: Server, bucket: str) -> subprocess.Popen[str]:
    environment = {**os.environ, **aws.env, "AWS_ENDPOINT_URL": aws.endpoint_url, "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, bucket],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout
    assert child.stdout.readline() == "holding\n"
    return child


def test_a_builder_that_was_killed_leaves_its_lease_to_expire(store: S3Store, localaws: Server, bucket: str) -> None:
    with holder(localaws, bucket) as child:
        with pytest.raises(FunctionBusy, match="child"), hold(store, "b2", wait_s=1.5):
            pass
        child.kill()
        child.wait()
        started = time.monotonic()
        with hold(store, "b2") as lease:
            assert lease.waited
        assert time.monotonic() - started < 10


def test_a_builder_that_slept_through_its_lease_writes_no_more(store: S3Store, localaws: Server, bucket: str) -> None:
    with holder(localaws, bucket) as child:
        child.send_signal(signal.SIGSTOP)
        with hold(store, "b2") as lease:
            child.send_signal(signal.SIGCONT)
            told, _ = child.communicate("go on\n", timeout=20)
            assert told.startswith("FunctionBusy updating: thumbs was taken over by build b2 of zoe")
            lease.confirm("still there")


@pytest.mark.parametrize("times", [1, 1000], ids=["once", "always"])
def test_answers_that_get_lost_do_not_lose_the_lease(localaws: Server, store: S3Store, times: int) -> None:
    with bad_line(localaws) as line:
        behind = store_in(localaws, store.bucket, endpoint_url=line.url)
        losses: dict[str, int] = {}

        def loses(method: str, key: str) -> bool:
            losses[method] = losses.get(method, 0) + 1
            return method != "GET" and losses[method] <= times

        line.loses = loses
        with hold(behind, "b1", ttl_s=60) as lease:
            assert not lease.waited
            lease._own._asked_at -= 25
            losses.clear()
            lease.confirm("updating x")
            with pytest.raises(FunctionBusy), hold(store, "b2", wait_s=0):
                pass
            losses.clear()
    assert any(lost.startswith("PUT") for lost in line.lost)
    assert any(lost.startswith("DELETE") for lost in line.lost)


def test_a_write_nobody_can_tell_the_outcome_of_is_an_error_and_is_cleaned_up(localaws: Server, store: S3Store) -> None:
    with bad_line(localaws) as line:
        behind = store_in(localaws, store.bucket, endpoint_url=line.url)
        gets: list[str] = []

        def loses(method: str, key: str) -> bool:
            if method == "GET":
                gets.append(key)
            return method == "PUT" or (method == "GET" and len(gets) <= 5)

        line.loses = loses
        with pytest.raises(AwsUnavailable), hold(behind, "b1"):
            pass


def test_twenty_contenders_never_hold_it_together_and_all_get_it(store: S3Store) -> None:
    intervals: list[tuple[float, float]] = []
    store.write_json("counter.json", {"value": 0})

    def contend(number: int) -> None:
        begin.wait(timeout=60)
        with hold(store, f"b{number}", ttl_s=5, deadline_s=50) as lease:
            started = time.monotonic()
            lease.confirm("counting")
            counter = read_json(store, "counter.json")
            time.sleep(random.uniform(0, 0.02))
            assert counter is not None
            store.write_json("counter.json", {"value": int(str(counter["value"])) + 1})
            intervals.append((started, time.monotonic()))

    begin = threading.Barrier(20)
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(contend, range(20)))
    intervals.sort()
    assert len(intervals) == 20
    assert all(one[1] <= other[0] for one, other in pairwise(intervals))
    assert read_json(store, "counter.json") == {"value": 20}


def test_of_many_who_find_it_expired_one_takes_it(store: S3Store) -> None:
    for _ in range(5):
        left = Lease(store, "thumbs", owner="killed", by="", ttl_s=0.01)
        left.take(1, Progress())
        present = store.read_version(NAME)
        assert present is not None
        leases = [Lease(store, "thumbs", owner=f"b{n}", by="", ttl_s=9) for n in range(12)]
        begin = threading.Barrier(len(leases))

        def seize(lease: Lease) -> bool:
            begin.wait(timeout=60)  # noqa: B023
            return lease._own.seize(lease._hold.as_json(), present)  # noqa: B023

        with ThreadPoolExecutor(len(leases)) as pool:
            won = list(pool.map(seize, leases))
        assert won.count(True) == 1
        leases[won.index(True)].give_back()


def test_what_is_waited_for_is_written_down_at_once() -> None:
    """Other sentences of a build can wait for a while: most builds end before that."""
    written: list[str] = []
    listener = BackgroundListener(lambda moment: written.append(moment.message), delay_s=30)
    progress = Progress(listener)
    try:
        progress.say("looking")
        time.sleep(0.2)
        assert not written
        progress.say("waiting for somebody", urgent=True)
        until = time.monotonic() + 5
        while not written and time.monotonic() < until:
            time.sleep(0.01)
    finally:
        listener.close()
    assert written == ["waiting for somebody"]
