"""The command line of a job: a named experiment, any knob by flag, and one way to end.

    python jobs/distill.py scenes --student.width 16 --weighting static --workers 2

An experiment is a Python function that returns an `Experiment`; its flags are the experiment's own fields.
A method is swapped by its word, the name of its file; its knobs are then flags too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from inspect import cleandoc
from typing import Annotated, Any, NoReturn, TypeVar

import tyro

from jointdistill.experiment import Experiment
from jointdistill.place import Launch
from jointdistill.recipe import Recipe, methods_in
from jointdistill.trajectory.base import TrajectoryRecipe
from jointdistill.types import Refusal, Stopped
from jointdistill.weighting.base import WeightingRecipe

Experiments = Mapping[str, Callable[[], Experiment]]
Filled = TypeVar("Filled")


@dataclass(frozen=True)
class Order:
    """What a user asked for."""

    experiment: Annotated[Experiment, tyro.conf.arg(name="")]
    launch: Annotated[Launch, tyro.conf.arg(name="")] = field(default_factory=Launch)
    dry_run: bool = False
    """Print the parts, parameters, memory and a time estimate, and stop."""


@dataclass(frozen=True)
class _Flags(Experiment):
    """An experiment as its flags show it; not said there, since workers would import a command line."""

    data: tyro.conf.Suppress[str] = "scenes"  # --data is the launch's
    origin: Annotated[str, tyro.conf.arg(name="from")] = ""
    """RUN@STEP of a snapshot to go on from; empty: from first weights."""


def parse(experiments: Experiments, about: str, launch: Launch, arguments: Sequence[str]) -> Order:
    """The order of a command line. Raises `Refusal` for an unknown experiment or method."""
    name, flags = choose(experiments, "experiment", about, arguments)
    experiment, flags = _swap(experiments[name](), flags)
    about = f"{cleandoc(experiments[name].__doc__ or about)}\n\n{_METHODS}\n{_words()}"
    order = fill(Order(_Flags(**_fields(experiment)), launch), about, flags, name)
    return replace(order, experiment=Experiment(**_fields(order.experiment)))


def _fields(experiment: Experiment) -> dict[str, Any]:
    return {each.name: getattr(experiment, each.name) for each in fields(experiment)}


def choose(
    named: Mapping[str, Callable[[], object]], kind: str, about: str, arguments: Sequence[str]
) -> tuple[str, list[str]]:
    """The name that a command line begins with, and its flags.

    Without a name it prints what there is and ends the process. Raises `Refusal` for an unknown name;
    `kind` says what is named.
    """
    if not arguments or arguments[0].startswith("-"):
        helped = list(arguments) in (["-h"], ["--help"])
        print(_overview(named, kind, about), file=sys.stdout if helped else sys.stderr)
        raise SystemExit(0 if helped else 2)
    name, *flags = arguments
    if name not in named:
        raise Refusal(f"There is no {kind} '{name}': choose {_either(named)}.")
    return name, flags


def fill(default: Filled, about: str, flags: Sequence[str], name: str = "") -> Filled:
    """A dataclass with the flags of a command line put in, a flag a field. Ends the process, with 2, where
    a flag is unknown or its value is of another type."""
    prog = f"python {sys.argv[0]} {name}".rstrip()
    flags = _range_of_workers(flags)
    return tyro.cli(type(default), prog=prog, description=cleandoc(about), default=default, args=flags)


def _range_of_workers(flags: Sequence[str]) -> list[str]:
    """`--workers 1:4` as the two fields that it fills."""
    words, rest = take_words(flags, "--workers")
    if "--workers" not in words:
        return rest
    fewest, colon, most = words["--workers"].rpartition(":")
    return [*rest, "--workers", most, *(["--fewest", fewest] if colon else [])]


def carry_out(job: Callable[[Sequence[str]], None]) -> NoReturn:
    """Run a job's main function and end the process: 0 done, 2 refused, 130 interrupted, 143 stopped."""
    try:
        job(sys.argv[1:])
    except Refusal as refused:
        print(f"error: {refused}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stopped:
        print(f"Stopped {stopped}: the same command, without --fresh, goes on from there.", file=sys.stderr)
        sys.exit(143)
    except BrokenPipeError:
        if not {"-h", "--help"} & {*sys.argv}:
            raise
        # Who read the manual through `head` has seen enough; what is left must not be flushed at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print(
            "Interrupted: the same command, without --fresh, goes on from what is already there.",
            file=sys.stderr,
        )
        sys.exit(130)
    sys.exit(0)


_METHODS = "Methods are chosen by a word, and their knobs are then flags:"


def _swap(experiment: Experiment, flags: Sequence[str]) -> tuple[Experiment, list[str]]:
    """Take `--weighting WORD` and `--trajectory WORD[,WORD]` out of the flags and put the methods in."""
    words, rest = take_words(flags, "--weighting", "--trajectory")
    if "--weighting" in words:
        weighting: Any = method(_weightings(), words["--weighting"], "--weighting")()
        experiment = replace(experiment, weighting=weighting)
    if "--trajectory" in words:
        asked = [word for word in words["--trajectory"].split(",") if word and word != "none"]
        sources: Any = tuple(method(_trajectories(), word, "--trajectory")() for word in asked)
        experiment = replace(experiment, trajectory=sources)
    return experiment, rest


def take_words(flags: Sequence[str], *names: str) -> tuple[dict[str, str], list[str]]:
    """The words that some flags are given, as `--flag WORD` or `--flag=WORD`, and the other flags."""
    words: dict[str, str] = {}
    rest: list[str] = []
    coming = iter(flags)
    for flag in coming:
        name, joined, word = flag.partition("=")
        if name in names:
            words[name] = word if joined else next(coming, "")
        else:
            rest.append(flag)
    return words, rest


def method(methods: Mapping[str, type[Recipe]], word: str, flag: str) -> Any:
    """The recipe that goes by a word. Raises `Refusal` for an unknown one."""
    if word not in methods:
        raise Refusal(f"{flag} knows no '{word}': choose {_either(methods)}.")
    return methods[word]


def _weightings() -> dict[str, type[Recipe]]:
    return methods_in("jointdistill.weighting", WeightingRecipe)


def _trajectories() -> dict[str, type[Recipe]]:
    return methods_in("jointdistill.trajectory", TrajectoryRecipe)


def _words() -> str:
    return (
        f"--weighting {' | '.join(_weightings())}\n"
        f"--trajectory none | {' | '.join(_trajectories())}, or several with commas"
    )


def _overview(named: Mapping[str, Callable[[], object]], kind: str, about: str) -> str:
    width = max(map(len, named))
    lines = [f"  {name:<{width}}  {_first_line(make)}" for name, make in named.items()]
    job, placeholder = f"python {sys.argv[0]}", kind.upper().replace(" ", "-")
    return (
        f"{cleandoc(about)}\n\n{kind}s:\n" + "\n".join(lines) + "\n\n"
        f"usage: {job} {placeholder} [flags]\n       {job} {placeholder} --help lists every knob"
    )


def _first_line(make: Callable[[], object]) -> str:
    return cleandoc(make.__doc__ or "").split("\n", 1)[0]


def _either(names: Mapping[str, Any]) -> str:
    return " or ".join([", ".join([*names][:-1]), [*names][-1]] if len(names) > 1 else list(names))
