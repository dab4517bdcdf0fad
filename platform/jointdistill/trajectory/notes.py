"""Notes of an epoch: records written but not yet read, in an order that does not depend on the ranks."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from jointdistill.trajectory.record import Layout, Records
from jointdistill.types import Batch


@final
class Notes:
    """What was written since the last merge. It stays on the device until somebody asks."""

    def __init__(self, layout: Layout, device: torch.device) -> None:
        self._layout, self._device = layout, device
        self._written: list[dict[str, Tensor]] = []
        nothing = Records.empty(layout, 0, device).tensors
        self._nothing = {f"note.{name}": values for name, values in nothing.items()}
        for name, dtype in (("image", torch.int64), ("order", torch.int64), ("fresh", torch.bool)):
            self._nothing[f"note.{name}"] = torch.empty(0, dtype=dtype, device=device)

    def add(self, batch: Batch, records: Records, fresh: Tensor) -> None:
        """Note a row for every image of a batch; only where `fresh` [B] holds will it be read."""
        note = {f"note.{name}": values for name, values in records.tensors.items()}
        note["note.image"] = batch.rows_on(self._device)
        note["note.order"] = (batch.position.step * batch.total + batch.slots).to(
            self._device, non_blocking=True
        )
        note["note.fresh"] = fresh
        self._written.append(note)

    def tensors(self) -> dict[str, Tensor]:
        """The newest fresh note of each image, on the host, images rising; names begin with `note.`."""
        notes = {
            name: torch.cat([values, *(one[name] for one in self._written)]).cpu()
            for name, values in self._nothing.items()
        }
        newest = _newest(notes["note.image"], notes["note.order"], notes["note.fresh"])
        return {name: values[newest] for name, values in notes.items()}

    def replace(self, parts: list[dict[str, Tensor]]) -> None:
        """Forget what was held and hold these notes, of all ranks, say; a note may come twice."""
        self._written = [{name: part[name].to(self._device) for name in self._nothing} for part in parts]

    def flush_into(self, table: Records) -> None:
        """Write the notes into the table and start anew."""
        notes = self.tensors()
        rows = Records(self._layout, {name: notes[f"note.{name}"] for name in self._layout.columns})
        table.put(notes["note.image"].to(self._device), rows)
        self._written = []


def _newest(image: Tensor, order: Tensor, fresh: Tensor) -> Tensor:
    """Places of each image's newest fresh note, images rising: some images come twice an epoch."""
    places = torch.nonzero(fresh)[:, 0]
    places = places[order[places].argsort(stable=True)]
    places = places[image[places].argsort(stable=True)]
    last = image[places] != image[places].roll(-1)
    last[-1:] = True
    return places[last]
