"""Teachers of a user's own data get a name of their own."""

from __future__ import annotations

import pytest

from jobs import teach
from jointdistill.launch.command import Order


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
