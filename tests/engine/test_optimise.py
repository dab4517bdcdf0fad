import pytest
import torch
from torch import nn

from jointdistill.engine.optimise import Average, build_optimiser, build_schedule, descend
from jointdistill.experiment import Optimise
from jointdistill.types import Refusal


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4))


def rates(recipe: Optimise) -> list[float]:
    optimiser = build_optimiser(recipe, network().parameters())
    schedule = build_schedule(recipe, optimiser)
    said = []
    for _ in range(recipe.steps):
        said.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    return said


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_the_learning_rate_rises_to_its_peak_and_then_follows_its_schedule(schedule):
    said = rates(Optimise(steps=100, learning_rate=1.0, warmup=0.1, schedule=schedule))
    peak = said.index(max(said))
    assert max(said) == pytest.approx(1.0, rel=0.02)
    assert said[:peak] == sorted(said[:peak])
    assert peak == 10
    assert said[-1] == (1.0 if schedule == "constant" else pytest.approx(0.0, abs=0.01))


def test_a_word_that_there_is_not_is_refused():
    with pytest.raises(Refusal, match=r"--optimise\.schedule 'one-cycle' is none: choose cosine or constant"):
        Optimise(schedule="one-cycle")


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_norms_and_biases_do_not_decay(kind):
    model = network()
    optimiser = build_optimiser(Optimise(optimiser=kind, weight_decay=0.3), model.parameters())
    decays = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert decays[id(parameter)] == (0.3 if name == "0.weight" else 0.0)


def test_a_gradient_is_clipped_to_its_largest_norm_and_reported_before():
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    (100 * model(torch.ones(1, 3, 8, 8)).square().sum()).backward()
    expected = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    norm, finite = descend(optimiser, clip=0.5)
    moved = torch.cat([(p - b).flatten() for p, b in zip(model.parameters(), before, strict=True)]).norm()
    assert bool(finite)
    torch.testing.assert_close(norm, expected)
    torch.testing.assert_close(moved, torch.tensor(0.5), rtol=1e-4, atol=0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_gradient_that_is_not_finite_moves_nothing(bad):
    model = network()
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    model(torch.full((1, 3, 8, 8), bad)).sum().backward()
    _, finite = descend(optimiser, clip=1.0)
    assert not bool(finite)
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))


def test_the_average_follows_slowly_and_swaps_both_ways():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = Average(model, decay=0.9)
    model.weight.data.fill_(1.0)
    average.update(step=1000)
    average.swap()
    assert model.weight.item() == pytest.approx(0.1)
    average.swap()
    assert model.weight.item() == 1.0


def test_the_average_soon_forgets_the_weights_that_it_began_with():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    average = Average(model, decay=0.9999)
    model.weight.data.fill_(0.0)
    for step in range(100):
        average.update(step)
    average.swap()
    assert model.weight.item() < 1e-6
