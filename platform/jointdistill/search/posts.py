"""What trials tell. Whoever only passes it on imports nothing of what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from jointdistill.engine.subject import Subject
    from jointdistill.launch.work import Message, Outcome
    from jointdistill.search.answers import Answer


class Begun(NamedTuple):
    """A run of a trial begins, or goes on."""

    run: str
    subject: Subject


class Said(NamedTuple):
    """Something that a run has to say."""

    run: str
    message: Message


class Paused(NamedTuple):
    """A run has an answer, and makes no step for now."""

    run: str
    step: int
    answer: Answer
    outcome: Outcome | None


class Kept(NamedTuple):
    """A run was asked to stop, and has kept a snapshot."""

    run: str


Posted = Begun | Said | Paused | Kept
