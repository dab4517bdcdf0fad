"""The same paths on a CUDA device. Run with `pytest -m gpu` where there is one."""

from dataclasses import replace

import pytest
import torch

from jointdistill.experiment import Optimise
from jointdistill.launch.work import Work
from jointdistill.launch.worker import live
from jointdistill.trajectory.own_past import OwnPast
from jointdistill.types import StepReport
from tests.engine import small

pytestmark = pytest.mark.gpu


def losses(work: Work, device: str, **launch: object) -> dict[tuple[int, str], float]:
    said = {}

    def note(message: object) -> None:
        if isinstance(message, StepReport):
            found = {name: value for name, value in message.metrics.items() if name.startswith("loss/")}
            said.update({(message.step, name): value for name, value in found.items()})

    named = f"{device}-{'-'.join(map(str, launch))}"
    live(replace(work, run=named, launch=replace(work.launch, device=device, **launch)), note)
    return said


@pytest.mark.parametrize("launch", [{}, {"micro_batch": 2}, {"deterministic": True}], ids=str)
def test_cuda_reports_the_losses_of_the_cpu(tmp_path, monkeypatch, launch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what determinism needs of cuBLAS
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    work = small.work(tmp_path)
    on_cpu, on_cuda = losses(work, "cpu"), losses(work, "cuda", **launch)
    torch.use_deterministic_algorithms(False)
    for point, value in on_cpu.items():
        assert on_cuda[point] == pytest.approx(value, rel=1e-3, abs=1e-4), point


def test_autocast_compilation_and_a_trajectory_train_on_cuda(tmp_path):
    work = small.work(
        tmp_path,
        optimise=Optimise(steps=60, learning_rate=5e-3, precision="bfloat16"),
        trajectory=(OwnPast(),),
    )
    said = losses(work, "cuda", compile=True)
    for name in ("loss/labels/depth/supervised", "loss/labels/segmentation/supervised"):
        assert said[60, name] < said[10, name]


def test_a_step_does_not_wait_for_the_device(tmp_path):
    from jointdistill.engine.ranks import Ranks
    from jointdistill.engine.step import train_step
    from jointdistill.launch.worker import build

    device = torch.device("cuda")
    work = small.work(tmp_path)
    loop = build(
        replace(work, launch=replace(work.launch, device="cuda")), Ranks(device), lambda message: None
    )
    batches = [loop.loader.batch(step).to(device) for step in range(4)]
    train_step(batches[0], loop.parts)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[1:]:
            train_step(batch, loop.parts)
    finally:
        torch.cuda.set_sync_debug_mode("default")
