"""How fast frames are drawn: `python tests/bench/draw.py --frames 200 --height 128 --width 256`.

Each frame is drawn and its picture encoded as PNG, on two processes. The last line is JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: two processes are to use two cores

from PIL import Image

from jointdistill.data.scenes.drawing import draw


def encoded(index: int, height: int, width: int) -> int:
    """Draw one frame and encode its picture; the bytes it takes."""
    frame = draw(0, index, height, width)
    file = io.BytesIO()
    Image.fromarray(frame.image).save(file, "png")
    return file.tell()


def main() -> None:
    """Print frames a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--processes", type=int, default=2)
    asked = parser.parse_args()
    work = partial(encoded, height=asked.height, width=asked.width)
    with ProcessPoolExecutor(asked.processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(work, range(2 * asked.processes)))  # imports and draws the textures
        start = time.perf_counter()
        sizes = list(pool.map(work, range(asked.frames), chunksize=4))
        seconds = time.perf_counter() - start
    rate = asked.frames / seconds
    cost_ms, size_kb = 1000 * asked.processes / rate, sum(sizes) / len(sizes) / 1000
    print(
        f"{asked.frames} frames of {asked.height}x{asked.width}, {asked.processes} processes: {seconds:.1f} s"
    )
    print(f"{cost_ms:.0f} ms a frame and process; {size_kb:.0f} kB a picture")
    print(json.dumps({"frames_per_s": round(rate, 1)}))


if __name__ == "__main__":
    main()
