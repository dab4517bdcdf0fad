"""The same paths on a CUDA device. Run with `pytest -m gpu` where there is one."""

import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from jointdistill.distill.attention_map import AttentionMap
from jointdistill.distill.channel_wise import ChannelWise
from jointdistill.distill.log_depth_l1 import LogDepthL1
from jointdistill.distill.tempered_kl import TemperedKL
from jointdistill.engine.ranks import Ranks
from jointdistill.engine.step import train_step
from jointdistill.experiment import Optimise
from jointdistill.launch.work import Work
from jointdistill.launch.worker import build, live
from jointdistill.recipe import methods_in
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.trajectory.own_past import OwnPast
from jointdistill.trajectory.teacher_way import TeacherWay
from jointdistill.types import StepReport, Stopped
from jointdistill.weighting.base import WeightingRecipe
from jointdistill.weighting.none import LabelsOnly
from tests.engine import small

# torch and Triton warn of their own switches there, such as TF32's.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]


def losses(work: Work, device: str, **launch: object) -> dict[tuple[int, str], float]:
    said = {}

    def note(message: object) -> None:
        if isinstance(message, StepReport):
            found = {name: value for name, value in message.metrics.items() if name.startswith("loss/")}
            said.update({(message.step, name): value for name, value in found.items()})

    named = f"{device}-{'-'.join(map(str, launch))}"
    live(replace(work, run=named, launch=replace(work.launch, device=device, **launch)), note)
    return said


def everything(folder: Path, **changes: object) -> Work:
    """A run with all losses, class weights, an average, anchors, and both sources of memory."""
    small.experiment(folder)
    small.give_way(folder, (5, 10, 20))
    return small.work(
        folder,
        tasks={"depth": Depth(), "segmentation": Segmentation(class_weights=(1.0, 2.0, 1.0))},
        distil=(
            LogDepthL1(),
            TemperedKL(),
            AttentionMap("segmentation", "decoder"),
            ChannelWise(),
            ChannelWise("depth", "encoder"),
        ),
        trajectory=(OwnPast(), TeacherWay(grid=(5, 13), points=8)),
        optimise=Optimise(steps=20, learning_rate=5e-3, ema=0.9),
        anchors=2,
        **changes,
    )


@pytest.fixture
def whole_float32():
    """No rounding to TF32, which the CPU does not know."""
    switches = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = False
    yield
    for switch, allowed in zip(switches, before, strict=True):
        switch.allow_tf32 = allowed


def silent(message: object) -> None:
    """Nobody watches."""


@pytest.mark.parametrize("launch", [{}, {"micro_batch": 2}, {"deterministic": True}], ids=str)
def test_cuda_reports_the_losses_of_the_cpu(tmp_path, monkeypatch, whole_float32, launch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what determinism needs of cuBLAS
    work = small.work(tmp_path)
    on_cpu, on_cuda = losses(work, "cpu"), losses(work, "cuda", **launch)
    torch.use_deterministic_algorithms(False)
    for point, value in on_cpu.items():
        assert on_cuda[point] == pytest.approx(value, rel=1e-3, abs=1e-4), point


@pytest.mark.parametrize("compiled", [False, True])
def test_a_trajectory_trains_in_half_precision(tmp_path, compiled):
    work = small.work(
        tmp_path,
        optimise=Optimise(steps=60, learning_rate=5e-3, precision="bfloat16"),
        trajectory=(OwnPast(),),
    )
    said = losses(work, "cuda", compile=compiled)
    for name in ("loss/labels/depth/supervised", "loss/labels/segmentation/supervised"):
        assert said[60, name] < said[10, name]


def test_an_interrupted_run_ends_with_the_bits_of_a_straight_one(tmp_path):
    work = everything(tmp_path)
    work = replace(work, launch=replace(work.launch, device="cuda", deterministic=True))
    straight = live(replace(work, run="straight"), silent)
    with pytest.raises(Stopped):
        live(replace(work, run="halves", until=10), silent)
    halves = live(replace(work, run="halves"), silent)
    torch.use_deterministic_algorithms(False)
    assert halves.digest == straight.digest


@pytest.mark.parametrize("devices", [("cuda", "cpu"), ("cpu", "cuda")], ids="-".join)
def test_a_run_goes_on_on_another_device(tmp_path, whole_float32, devices):
    work = small.work(tmp_path, trajectory=(OwnPast(),))
    straight = live(replace(work, run="straight", launch=replace(work.launch, device="cpu")), silent)
    first, second = (replace(work.launch, device=device) for device in devices)
    with pytest.raises(Stopped):
        live(replace(work, run="moved", until=10, launch=first), silent)
    moved = live(replace(work, run="moved", launch=second), silent)
    assert moved.scores == pytest.approx(straight.scores, rel=2e-2, abs=2e-2)


WEIGHTINGS = methods_in("jointdistill.weighting", WeightingRecipe).values()


@pytest.mark.parametrize("weighting", [kind for kind in WEIGHTINGS if kind is not LabelsOnly])
def test_a_step_does_not_wait_for_the_device(tmp_path, weighting):
    work = everything(tmp_path, weighting=weighting())
    work = replace(work, launch=replace(work.launch, device="cuda"))
    device = torch.device("cuda")
    loop = build(work, Ranks(device), silent)
    batches = [loop.loader.batch(step).pinned().to(device) for step in range(6)]
    for batch in batches[:3]:  # what is made once
        train_step(batch, loop.parts)
    torch.cuda.synchronize()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that it does not see all there is
        torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches[3:]:
            train_step(batch, loop.parts)
    finally:
        torch.cuda.set_sync_debug_mode("default")
