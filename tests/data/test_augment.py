from dataclasses import replace

import torch

from jointdistill.data.augment import Augment
from jointdistill.tasks.depth import Depth
from jointdistill.tasks.segmentation import Segmentation
from jointdistill.types import Batch, Position
from jointdistill.warp import Warp

TASKS = {"depth": Depth(), "segmentation": Segmentation(classes=("a", "b", "c"))}


def scene(size: int = 6, height: int = 16, width: int = 32) -> Batch:
    """A batch whose depth and labels can be read off its image: red is depth / 80 m, green the class / 4."""
    generator = torch.Generator().manual_seed(1)
    depth = torch.rand(size, 1, 1, 1, generator=generator).expand(-1, 1, height, width) * 20 + 5
    labels = torch.randint(0, 3, (size, 1, 1), generator=generator).expand(-1, height, width).clone()
    labels[:, :, width // 2 :] = 2
    image = torch.cat([depth / 80, labels[:, None] / 4, torch.zeros(size, 1, height, width)], 1)
    everything = torch.ones(size, dtype=torch.bool)
    return Batch(
        keys=tuple(f"{place}" for place in range(size)),
        index=torch.arange(size),
        slots=torch.arange(size),
        image=image,
        truth={"depth": depth.clone(), "segmentation": labels},
        present={"depth": everything, "segmentation": everything},
        count={"depth": size, "segmentation": size},
        total=size,
        labelled=size,
        position=Position(seed=3, epoch=0, step=7),
        warp=Warp.identity(size),
    )


PLAIN = Augment(flip=0, zoom=(1, 1), brightness=0, contrast=0, saturation=0, gamma=0)


def test_with_all_knobs_at_rest_a_view_is_its_image():
    batch = scene()
    view = PLAIN(batch, TASKS)
    torch.testing.assert_close(view.image, batch.image, atol=1e-5, rtol=0)
    torch.testing.assert_close(view.truth["depth"], batch.truth["depth"])
    assert torch.equal(view.truth["segmentation"], batch.truth["segmentation"])


def test_a_view_has_no_frame():
    white = replace(scene(), image=torch.ones(6, 3, 16, 32), truth={})
    view = replace(PLAIN, flip=0.5, zoom=(1.0, 1.6))(white, TASKS)
    torch.testing.assert_close(view.image, white.image)


def test_image_and_truths_move_together_and_depth_shrinks_by_the_zoom():
    batch = scene()
    view = replace(PLAIN, flip=0.5, zoom=(1.0, 2.0))(batch, TASKS)
    seen_class = (view.image[:, 1] * 4).round().long()
    agree = (seen_class == view.truth["segmentation"]).float().mean()
    assert agree > 0.95  # all but the pixels on the edge between two classes
    unzoomed = view.image[:, :1] * 80 / view.warp.zoom.view(-1, 1, 1, 1)
    torch.testing.assert_close(unzoomed, view.truth["depth"], rtol=1e-4, atol=1e-4)


def test_the_warp_says_where_a_view_lies():
    batch = scene()
    ramp = torch.linspace(0, 1, 64).expand(6, 3, 32, 64)
    coordinates = torch.stack(
        [ramp[:, 0], torch.linspace(0, 1, 32)[:, None].expand(6, 32, 64), ramp[:, 2]], 1
    )
    view = replace(PLAIN, flip=0.5, zoom=(1.3, 2.0))(replace(batch, image=coordinates, truth={}), TASKS)
    middle = view.warp.inverse().points(torch.full((6, 1, 2), 0.5))[:, 0]
    # The ramps run over pixel centres, the warp over edges: the middle of the view reads the same in both.
    seen = view.image[:, :2, 15:17, 31:33].mean((2, 3))
    pixels = torch.stack([(middle[:, 0] * 64 - 0.5) / 63, (middle[:, 1] * 32 - 0.5) / 31], 1)
    torch.testing.assert_close(seen, pixels, atol=2e-3, rtol=0)


def test_a_rank_sees_what_one_worker_would():
    batch, augment = scene(), Augment()
    whole = augment(batch, TASKS)
    for rank in range(3):
        rows = torch.arange(6)[rank::3]
        share = replace(
            batch,
            keys=tuple(batch.keys[row] for row in rows),
            index=batch.index[rows],
            slots=batch.slots[rows],
            image=batch.image[rows],
            truth={task: truth[rows] for task, truth in batch.truth.items()},
            present={task: present[rows] for task, present in batch.present.items()},
            warp=Warp.identity(len(rows)),
        )
        view = augment(share, TASKS)
        torch.testing.assert_close(view.image, whole.image[rows])
        assert torch.equal(view.truth["segmentation"], whole.truth["segmentation"][rows])


def test_views_follow_the_step_and_the_seed():
    augment = Augment()
    first = augment.draw(Position(0, 0, 1), 4)
    assert torch.equal(first, augment.draw(Position(0, 5, 1), 4))
    assert not torch.equal(first, augment.draw(Position(0, 0, 2), 4))
    assert not torch.equal(first, augment.draw(Position(1, 0, 1), 4))


def test_a_mirrored_view_is_the_mirror_image():
    batch = scene()
    view = replace(PLAIN, flip=1.0)(batch, TASKS)
    torch.testing.assert_close(view.image, batch.image.flip(-1), atol=1e-5, rtol=0)
    assert torch.equal(view.truth["segmentation"], batch.truth["segmentation"].flip(-1))
