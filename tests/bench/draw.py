"""How fast frames are drawn and written: `python tests/bench/draw.py --frames 600 --height 128 --width 256`.

It is the real job: pictures, depth and labels as PNG, in Parquet shards with a card, on two processes, whose
start counts as well. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: two processes are to use two cores

from jointdistill.data.drawn import DrawnScenes
from jointdistill.launch.prepare import draw_scenes
from jointdistill.store.objects import open_store


def main() -> None:
    """Print frames a second."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    scenes = DrawnScenes(splits={"train": asked.frames}, height=asked.height, width=asked.width)
    with TemporaryDirectory(prefix="jd-bench-") as folder:
        began = time.perf_counter()
        draw_scenes(open_store(folder), scenes, asked.processes)
        seconds = time.perf_counter() - began
        written = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    said = {
        "frames_per_s": round(asked.frames / seconds, 1),
        "kb_a_frame": round(written / asked.frames / 1000, 1),
        "frames": asked.frames,
        "processes": asked.processes,
        "seconds": round(seconds, 1),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
