"""Where things lie and networks compute (`Place`), and how an experiment runs there (`Launch`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from jointdistill.types import Refusal, refuse_odd_name


@dataclass(frozen=True)
class Place:
    """Where things lie and networks compute."""

    storage: str = ""
    """Folder or URI (s3://…) of all that is kept; empty: JOINTDISTILL_STORAGE, or else ./storage."""
    tracking: str = ""
    """MLflow's tracking URI; empty: MLFLOW_TRACKING_URI, or else a SQLite file in the storage folder."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks compute; auto: on CUDA where there is one."""

    @property
    def chosen_device(self) -> Literal["cpu", "cuda"]:
        """What `device` comes to on this machine."""
        if self.device != "auto":
            return self.device
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def device_here(self) -> torch.device:
        """The device of this process. Raises `Refusal` where it has none of what is asked for."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise Refusal("--device cuda: this process sees no CUDA device, so use --device cpu.")
        return torch.device(self.chosen_device)


@dataclass(frozen=True)
class Launch(Place):
    """How an experiment runs. Nothing here changes what is computed, beyond the order of sums."""

    data: str = ""
    """Folder or URI of the data set; empty: the experiment's own, such as data/scenes in the storage."""
    cache: str = ""
    """Folder of this machine for decoded images; empty: JOINTDISTILL_CACHE, or else ~/.cache/jointdistill."""
    run: str = ""
    """Name of the run, by which it resumes; empty: made of the experiment's name and identity."""
    workers: int = 1
    """Ray Train workers; 0 runs in this process, without Ray. 1:4 goes on with what there is, up to 4."""
    fewest: int = 0
    """With how many of the workers to go on while there are no more; 0: only with all. `--workers 1:4`
    says both."""
    sharding: Literal["replicate", "shard", "hybrid"] = "replicate"
    """replicate: DDP. shard: FSDP2. hybrid: FSDP2 within a node, replicas across nodes."""
    threads: int = 0
    """torch threads a worker; 0 divides the machine's cores among the workers."""
    micro_batch: int = 0
    """Images a rank takes at once; its share of the global batch is worked off in pieces. 0: all at once."""
    compile: bool = False
    """torch.compile the student; on CUDA only."""
    deterministic: bool = False
    """Only deterministic algorithms: slower on CUDA, equal bits on every run."""
    report_every: int = 20
    """Steps between two reports, each at the next multiple of ten."""
    evaluate_every: int = 0
    """Steps between two evaluations on the validation split; 0: only at the end."""
    snapshot_every: int = 200
    """Steps between two snapshots to resume from."""
    restarts: int = 3
    """How often in a row, without a new step, workers are started again after one of them was lost."""
    hang_s: float = 900.0
    """Seconds without a step after which a Ray worker is taken for hung, and ended; 0: never."""
    tracking_wait_s: float = 90.0
    """Seconds that an MLflow server is waited for before a run begins."""
    register: str = ""
    """Name under which the trained model is registered in MLflow; empty: none, or a teacher's own name."""
    fresh: bool = False
    """Start again even if a run of this identity exists."""

    @property
    def least(self) -> int:
        """With how many workers it can train."""
        return self.fewest or self.workers

    @property
    def device_here(self) -> torch.device:
        """See `Place`."""
        device = super().device_here
        if self.compile and device.type == "cpu":
            # Memory is corrupted, in float32 and in bfloat16 (torch 2.13).
            raise Refusal(
                "--compile is for CUDA: on a CPU the compiled student crashes its process. Leave it out."
            )
        return device

    def __post_init__(self) -> None:
        for flag, name in (("--run", self.run), ("--register", self.register)):
            if name:
                refuse_odd_name(flag, name)
        if self.workers < 0:
            raise Refusal(f"--workers {self.workers} is no number of workers: give 0 (this process) or more.")
        if not 0 <= self.fewest <= self.workers:
            raise Refusal(
                f"--workers {self.fewest}:{self.workers} is no range: give the fewest first, as in 1:4."
            )
        if self.sharding != "replicate" and self.least < 2:
            raise Refusal(f"--sharding {self.sharding} needs at least 2 workers: raise --workers.")
        if min(self.report_every, self.snapshot_every) < 1:
            raise Refusal("--report-every and --snapshot-every count steps: give at least 1.")
        for knob in ("evaluate_every", "micro_batch", "threads", "restarts", "hang_s", "tracking_wait_s"):
            if getattr(self, knob) < 0:
                raise Refusal(f"--{knob.replace('_', '-')} {getattr(self, knob)}: give at least 0.")
