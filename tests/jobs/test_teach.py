"""Teachers of a user's own data get a name of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs import teach
from jointdistill.engine.registry import publish
from jointdistill.launch.command import Order
from jointdistill.launch.work import Outcome
from jointdistill.nets.saved import DESCRIPTION, read_description
from jointdistill.place import Launch
from jointdistill.types import Refusal
from tests.engine.tracked import saved, subject, track


@pytest.mark.parametrize(
    ("flags", "name"),
    [([], "scenes-depth"), (["--name", "mine-depth"], "mine-depth"), (["--register", "other"], "other")],
)
def test_a_teacher_is_registered_under_its_name(
    monkeypatch: pytest.MonkeyPatch, flags: list[str], name: str
) -> None:
    orders: list[Order] = []
    monkeypatch.setattr(teach, "show", orders.append)
    teach.main(["scenes-depth", *flags])
    assert orders[0].launch.register == name


def test_a_table_beside_which_students_learn_from_another_teacher_is_refused(tmp_path: Path) -> None:
    launch = Launch(tracking=f"sqlite:///{tmp_path / 'mlflow.db'}")
    files = saved()
    with track(tmp_path).open("teacher", subject()) as run:
        publish(run, "scenes-depth", files)
    mine = Outcome({}, 1, 1.0, read_description(files[DESCRIPTION], "").digest)
    teach.refuse_others({"scenes-depth": mine}, launch)
    with pytest.raises(Refusal, match="models:/scenes-depth@champion is another teacher than"):
        teach.refuse_others({"scenes-depth": Outcome({}, 1, 1.0, "another")}, launch)
