"""What Ray starts for a run, and what it need not."""

from __future__ import annotations

from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer

from jointdistill.launch.trainer import Trainer


def names(kind: type[TorchTrainer]) -> list[str]:
    trainer = kind(print, scaling_config=ScalingConfig(num_workers=2))
    return [type(callback).__name__ for callback in trainer._create_default_callbacks()]


def test_nothing_is_started_for_data_sets_and_all_else_is():
    assert "DatasetsCallback" in names(TorchTrainer)  # else Ray has changed its mind, and ours can go
    assert names(Trainer) == [name for name in names(TorchTrainer) if name != "DatasetsCallback"]
