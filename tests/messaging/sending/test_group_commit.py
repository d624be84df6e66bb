"""Threads' pieces of work done together: each once, in batches, and one that spoils is alone."""

import threading
import time

import pytest

from messaging.sending.group_commit import GroupCommit


def run_threads(combiner: GroupCommit[int], items: range) -> dict[int, Exception]:
    errors: dict[int, Exception] = {}

    def one(item: int) -> None:
        try:
            combiner.do(item)
        except ValueError as error:
            errors[item] = error

    threads = [threading.Thread(target=one, args=[item]) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_each_item_is_done_once_and_many_share_a_batch() -> None:
    batches: list[list[int]] = []

    def work(items: object) -> None:
        time.sleep(0.01)
        batches.append(list(items))  # type: ignore[call-overload]

    errors = run_threads(GroupCommit(work, at_most=8, alone_on=ValueError), range(40))

    assert not errors
    assert sorted(item for batch in batches for item in batch) == list(range(40))
    assert len(batches) < 40
    assert max(map(len, batches)) <= 8


def test_one_that_spoils_the_batch_fails_alone() -> None:
    done: list[int] = []

    def work(items: object) -> None:
        time.sleep(0.005)
        batch = list(items)  # type: ignore[call-overload]
        if 7 in batch:
            raise ValueError("spoilt")
        done.extend(batch)

    errors = run_threads(GroupCommit(work, at_most=64, alone_on=ValueError), range(20))

    assert list(errors) == [7]
    assert sorted(done) == [item for item in range(20) if item != 7]


def test_what_is_nobodys_fault_fails_the_whole_batch() -> None:
    def work(items: object) -> None:
        raise ConnectionError("the database is away")

    combiner: GroupCommit[int] = GroupCommit(work, at_most=4, alone_on=ValueError)
    with pytest.raises(ConnectionError):
        combiner.do(1)
