import pytest
import torch

from clusterpost.training.step import Step


class Line(torch.nn.Module):
    """One weight, whose gradient is what a batch says."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))


def make_step(spike):
    line = Line()
    step = Step(line, line, [torch.optim.SGD(line.parameters(), lr=1.0)],
                lambda flow, mocks, *_: (flow.weight * mocks).sum(), None, max_norm=1e9, spike=spike)
    return line, lambda gradient: step(torch.tensor(gradient), None, rate=0.5, share=1.0, generator=None,
                                       progress=0.0), step


def test_update_is_the_optimizers_times_the_rate():
    line, take, _ = make_step(5.0)
    take(3.0)
    assert line.weight.item() == -1.5
    take(1.0)
    assert line.weight.item() == -2.0


@pytest.mark.parametrize("bad", [100.0, float("nan"), float("inf")])
def test_gradient_out_of_the_usual_changes_nothing(bad):
    line, take, step = make_step(5.0)
    for _ in range(3):
        take(1.0)
    before = line.weight.item()
    take(bad)
    assert line.weight.item() == before
    assert step.passed_over.item() == 1
    take(1.0)
    assert line.weight.item() == before - 0.5


def test_gradients_that_stay_long_become_the_usual():
    line, take, step = make_step(5.0)
    take(1.0)
    for _ in range(200):
        take(100.0)
    assert 10 < step.passed_over.item() < 150
    before = line.weight.item()
    take(100.0)
    assert line.weight.item() == before - 50.0


def test_running_loss_is_that_of_the_batches():
    _, take, step = make_step(5.0)
    assert torch.isnan(step.recent)
    take(2.0)
    assert step.recent.item() == 0.0
    take(2.0)
    assert step.recent.item() == pytest.approx(0.01 * 2.0 * -1.0)
