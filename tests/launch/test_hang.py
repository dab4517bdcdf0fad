from __future__ import annotations

import threading
import time

from jointdistill.launch.hang import HangWatch


def test_who_is_busy_between_steps_does_not_hang_and_who_falls_silent_does() -> None:
    ended, said = threading.Event(), list[str]()
    with HangWatch(3, 1.0, said.append, ended.set) as watch:
        watch.busy()  # before the first step nobody is watched
        assert not ended.wait(1.5)
        watch.alive(7, last=20)
        for _ in range(20):  # an evaluation of 2 s
            watch.busy()
            assert not ended.wait(0.1)
        assert ended.wait(10)
    (sentence,) = said
    assert sentence.startswith("Rank 3 hangs: no step since step 7, 1 s ago. It stands at\n")


def test_after_the_last_step_nobody_is_watched() -> None:
    ended = threading.Event()
    with HangWatch(0, 0.2, lambda sentence: None, ended.set) as watch:
        watch.alive(20, last=20)
        watch.busy()
        time.sleep(0.6)
    assert not ended.is_set()
