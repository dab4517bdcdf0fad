from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from jointdistill.tasks.segmentation import Segmentation
from jointdistill.types import UNKNOWN_LABEL, Card, Refusal
from jointdistill.warp import Warp

CLASSES = ("sky", "road", "house", "tree", "car", "sign", "cow")
COLOURS = tuple((10 * place + 5, place, 200 - place) for place in range(7))
CARD = Card("streets", classes=CLASSES, colours=COLOURS)
TASK = Segmentation().described_by(CARD)
CENTRE = torch.tensor([[[0.5, 0.5]]])


def some_logits(seed: int) -> Tensor:
    return 2 * torch.randn(4, 7, 9, 11, generator=torch.Generator().manual_seed(seed))


def some_labels(seed: int, classes: int = 7) -> Tensor:
    """About a tenth unknown."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (4, 9, 11), generator=generator)
    return torch.where(torch.rand(4, 9, 11, generator=generator) < 0.1, UNKNOWN_LABEL, labels)


def one_point(*probabilities: float) -> Tensor:
    """Logits [1, 7, 1, 1] of a distribution."""
    return torch.tensor(probabilities).clamp_min(1e-9).log().view(1, 7, 1, 1)


# -- what the data set knows -------------------------------------------------------------------------


def test_the_card_fills_in_classes_and_colours() -> None:
    assert Segmentation(classes=CLASSES, colours=COLOURS) == TASK
    assert TASK.channels == 7


def test_a_card_without_colours_gets_distinct_ones() -> None:
    colours = Segmentation().described_by(Card("streets", classes=CLASSES)).colours
    assert len(set(colours)) == 7
    assert (0, 0, 0) not in colours


def test_a_card_without_classes_is_refused() -> None:
    with pytest.raises(Refusal, match="'rooms' names no classes"):
        Segmentation().described_by(Card("rooms"))


def test_other_classes_are_refused() -> None:
    with pytest.raises(Refusal, match="other classes"):
        Segmentation(classes=("a", "b")).described_by(CARD)


def test_impossible_knobs_are_refused() -> None:
    with pytest.raises(Refusal, match="7 classes but 2 class_weights"):
        Segmentation(class_weights=(1.0, 2.0)).described_by(CARD)
    with pytest.raises(Refusal, match="at most 254"):
        Segmentation(classes=tuple(str(place) for place in range(255)))
    with pytest.raises(Refusal, match="label_smoothing"):
        Segmentation(label_smoothing=1.0)
    with pytest.raises(Refusal, match="temperature"):
        Segmentation(temperature=0.0)


# -- data --------------------------------------------------------------------------------------------


def test_labels_are_decoded() -> None:
    decoded = TASK.decode(np.array([[0, 6], [255, 3]], np.uint8), CARD)
    assert decoded.dtype == np.int64
    np.testing.assert_array_equal(decoded, [[0, 6], [255, 3]])


@pytest.mark.parametrize("label", [7, 254, 256, -1])
def test_a_label_beyond_the_classes_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match=f"label {label} is not among 7 classes"):
        TASK.decode(np.array([[0, label]], np.int16), CARD)


def test_labels_that_are_no_integers_are_refused() -> None:
    with pytest.raises(ValueError, match="labels are integers"):
        TASK.decode(np.zeros((2, 2), np.float32), CARD)


def test_a_mirror_keeps_the_labels() -> None:
    labels = some_labels(0)
    mirror = torch.tensor([[-1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).repeat(4, 1, 1)
    assert torch.equal(TASK.warp(labels, Warp(mirror), (9, 11)), labels.flip(-1))


# -- learning ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [(), (0.5, 1.0, 2.0, 1.0, 3.0, 0.1, 1.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_torchs_mean_of_each_image(weights: tuple[float, ...], smoothing: float) -> None:
    task = Segmentation(CLASSES, class_weights=weights, label_smoothing=smoothing)
    logits, labels = some_logits(0), some_labels(1)
    weight = torch.tensor(weights) if weights else None
    each = [
        F.cross_entropy(
            logits[i : i + 1],
            labels[i : i + 1],
            weight=weight,
            ignore_index=UNKNOWN_LABEL,
            label_smoothing=smoothing,
        )
        for i in range(4)
    ]
    torch.testing.assert_close(task.loss(logits, labels), torch.stack(each))


# -- metrics -----------------------------------------------------------------------------------------


def test_metrics_equal_the_references() -> None:
    logits, labels = some_logits(0), some_labels(1)
    miou = MulticlassJaccardIndex(7, ignore_index=UNKNOWN_LABEL)
    accuracy = MulticlassAccuracy(7, average="micro", ignore_index=UNKNOWN_LABEL)
    for rows in (slice(0, 1), slice(1, 4)):
        for each in (miou, accuracy):
            each.update(logits[rows], labels[rows])
    values = TASK.score(TASK.tally(logits, labels))
    assert float(values["miou"]) == pytest.approx(float(miou.compute()), rel=1e-6)
    assert float(values["pixel_accuracy"]) == pytest.approx(float(accuracy.compute()), rel=1e-6)
    assert int(values["classes_scored"]) == 7


def test_a_class_that_nobody_names_is_left_out() -> None:
    labels = torch.tensor([[[0, 0, 1, 255]]])
    answer = F.one_hot(torch.tensor([[[0, 2, 1, 3]]]), 7).float().permute(0, 3, 1, 2)
    values = TASK.score(TASK.tally(answer, labels))
    # 0: 1 of 2; 1: 1 of 1; 2: said once and wrong, 0 of 1; 3 was said where nothing is known
    assert float(values["miou"]) == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert int(values["classes_scored"]) == 3
    assert float(values["pixel_accuracy"]) == pytest.approx(2 / 3)


def test_metrics_without_a_known_pixel_are_nan() -> None:
    values = TASK.score(TASK.tally(some_logits(0), torch.full((4, 9, 11), UNKNOWN_LABEL)))
    assert values["miou"].isnan()
    assert values["pixel_accuracy"].isnan()
    assert int(values["classes_scored"]) == 0


# -- looking and remembering -------------------------------------------------------------------------


def test_classes_are_drawn_in_the_cards_colours() -> None:
    picture = TASK.draw(torch.tensor([[[0, 3, 255]]]))
    assert picture[0, :, 0].T.tolist() == [list(COLOURS[0]), list(COLOURS[3]), [0, 0, 0]]


def test_an_answer_of_nan_is_no_opinion() -> None:
    logits = some_logits(0)
    logits[0, :, 2, 3] = torch.nan
    opinion = TASK.as_truth(logits)
    assert int(opinion[0, 2, 3]) == UNKNOWN_LABEL
    assert int((opinion == UNKNOWN_LABEL).sum()) == 1


def test_a_record_keeps_the_likeliest_three() -> None:
    record = TASK.compact(one_point(0.02, 0.51, 0.02, 0.29, 0.12, 0.02, 0.02), CENTRE)
    assert record["top_class"].tolist() == [[[1, 3, 4]]]
    assert record["top_probability"].tolist() == [[[130, 74, 31]]]


def test_an_error_is_minus_log_p_of_the_truth() -> None:
    record = TASK.compact(one_point(0.02, 0.51, 0.02, 0.29, 0.12, 0.02, 0.02), CENTRE)

    def error(label: int) -> float:
        return float(TASK.error(record, torch.tensor([[label]])))

    assert error(3) == pytest.approx(-math.log(0.29), abs=0.02)
    # Four classes were not kept and share what is left: 0.08, of which the stored bytes leave 20/255.
    assert error(0) == error(6) == pytest.approx(-math.log(20 / 255 / 4), abs=0.02)
    assert math.isnan(error(UNKNOWN_LABEL))


def test_an_error_has_a_ceiling() -> None:
    sure = TASK.compact(one_point(0, 1, 0, 0, 0, 0, 0), CENTRE)
    assert float(TASK.error(sure, torch.tensor([[6]]))) < 15


def test_recall_is_the_kl_of_softened_distributions() -> None:
    then = (0.02, 0.5, 0.02, 0.34, 0.08, 0.02, 0.02)
    now = (0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1)
    recall = float(TASK.recall(TASK.compact(one_point(*then), CENTRE), one_point(*now), CENTRE))
    p, q = (np.sqrt(side) / np.sqrt(side).sum() for side in (then, now))  # the power 1/T with T = 2
    assert recall == pytest.approx(4 * float((p * np.log(p / q)).sum()), rel=0.03)


def test_two_classes_make_a_record() -> None:
    task = Segmentation(classes=("cat", "dog"))
    past = task.compact(torch.tensor([1.0, -1.0]).view(1, 2, 1, 1), CENTRE)
    assert past["top_class"].shape == (1, 1, 2)
    assert float(task.recall(past, torch.tensor([1.0, -1.0]).view(1, 2, 1, 1), CENTRE)) < 1e-3
    assert float(task.error(past, torch.ones(1, 1, dtype=torch.long))) == pytest.approx(
        math.log(1 + math.exp(2)), abs=0.02
    )
