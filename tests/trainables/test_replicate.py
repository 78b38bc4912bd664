import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.pretended import pretended_gpu
from tests.sweeps.outcomes import record
from trainables.config import CNN, Training, Trial
from trainables.history import chosen_epoch
from trainables.marks import Marks, Right
from trainables.models import build
from trainables.replicate import Replicate, learning_rate, optimizer_tensors, replicate, restore_optimizer, update
from trainables.train import train

CPU = torch.device("cpu")
ROOT = Path(__file__).resolve().parents[2]
MODEL = CNN(conv_layers=1, channels=4, fc_layers=2, fc_widths=8, fc_dropout=0.2)


def test_a_replicate_has_its_seed_s_weights_channels_last_and_leaves_the_caller_s_random_numbers_alone(tiny):
    trial = Trial(model=MODEL)
    with pretended_gpu(own_random_numbers=True) as gpu:
        for device, state in ((CPU, torch.get_rng_state), (gpu.device, torch.cuda.get_rng_state)):
            before = state()
            member = replicate(trial, tiny, 3, device)
            assert member.seed == 3
            assert member.model.blocks[0].convs[0].weight.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(state(), before)
    torch.manual_seed(3)
    expected = build(MODEL, (3, 12, 12), 3).state_dict()
    assert torch.equal(replicate(trial, tiny, 3, CPU).model.head.weight, expected["head.weight"])


RECIPES = {
    "sgd": (torch.optim.SGD, {"momentum": 0.8, "weight_decay": 0.25, "fused": True}),
    "adam": (torch.optim.Adam, {"weight_decay": 0.25, "fused": True, "decoupled_weight_decay": False}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.25, "fused": True, "decoupled_weight_decay": True}),
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_optimizer_is_the_recipe_s_and_on_a_gpu_can_be_captured(tiny, name):
    recipe = Training(optimizer=name, lr=0.03, momentum=0.8, weight_decay=0.25)
    kind, settings = RECIPES[name]
    with pretended_gpu() as gpu:
        for device, precision in ((CPU, torch.float64), (gpu.device, torch.float32)):
            optimizer = replicate(Trial(model=MODEL, training=recipe), tiny, 0, device).optimizer
            [group] = optimizer.param_groups
            assert type(optimizer) is kind
            assert {key: group[key] for key in settings} == settings
            assert (group["lr"].dtype, group["lr"].is_cuda) == (precision, device != CPU)
            assert float(group["lr"]) == pytest.approx(0.03)
            assert group.get("capturable", device != CPU) == (device != CPU)


@pytest.mark.parametrize("momentum", [0.0, 0.8])
@pytest.mark.parametrize("name", RECIPES)
def test_an_update_is_the_optimizer_s_step_bit_by_bit_and_drops_the_gradients(tiny, name, momentum):
    trial = Trial(model=MODEL, training=Training(optimizer=name, lr=0.03, momentum=momentum, weight_decay=0.25))
    ours, usual = (replicate(trial, tiny, 0, CPU) for _ in range(2))
    for step in range(3):
        for member in (ours, usual):
            torch.manual_seed(step)
            for parameter in member.model.parameters():
                parameter.grad = torch.randn_like(parameter)
            learning_rate(member.optimizer).fill_(0.03 / (step + 1))
        update(ours.optimizer)
        usual.optimizer.step()
        assert all(parameter.grad is None for parameter in ours.model.parameters())
        for mine, theirs in zip(ours.model.parameters(), usual.model.parameters(), strict=True):
            assert torch.equal(mine, theirs)
    mine, theirs = (optimizer_tensors(member.optimizer) for member in (ours, usual))
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_held_is_of_the_epoch_that_the_curve_chooses_at_every_moment(seed):
    """The one that is chosen may be any of those before, and change back with the next epoch."""
    scores = np.random.default_rng(seed).integers(0, 5, 12) / 4  # few values, so that there are ties
    member = Replicate(0, nn.Linear(1, 1), None, None)
    for epoch, score in enumerate(scores, start=1):
        nn.init.constant_(member.model.weight, epoch)
        member.hold(record(score), Marks(epoch, Right.of(np.ones(3, bool)), Right.of(np.ones(9, bool))))
        held = member.chosen
        assert held.epoch == held.marks.epoch == int(held.weights["weight"]) == chosen_epoch(scores[:epoch])
    assert member.epoch == 12


def test_pretrained_weights_are_where_training_starts(tiny):
    learned = replicate(Trial(model=MODEL), tiny, 0, CPU)
    list(train(Trial(model=MODEL, training=Training(epochs=1)), tiny, [learned], CPU))
    weights = {
        f"old.{name}": tensor.half() for name, tensor in learned.model.state_dict().items() if "head" not in name
    }
    trial = Trial(model=MODEL, rename=(("^old[.]", ""),))
    started, scratch = replicate(trial, tiny, 3, CPU, weights).model, replicate(trial, tiny, 3, CPU).model
    assert torch.equal(started.hidden[0].linear.weight, learned.model.hidden[0].linear.weight.half().float())
    assert torch.equal(started.head.weight, scratch.head.weight)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_an_optimizer_goes_on_from_its_tensors_with_a_learning_rate_that_can_be_written(tiny, optimizer):
    trial = Trial(model=MODEL, training=Training(epochs=1, batch_size=16, optimizer=optimizer, lr=0.01))
    member, other = replicate(trial, tiny, 0, CPU), replicate(trial, tiny, 1, CPU)
    assert optimizer_tensors(member.optimizer) == {}
    list(train(trial, tiny, [member], CPU))
    restore_optimizer(other.optimizer, optimizer_tensors(member.optimizer))
    mine, theirs = optimizer_tensors(member.optimizer), optimizer_tensors(other.optimizer)
    assert mine.keys() == theirs.keys()
    assert len(mine) == len(list(member.model.parameters())) * {"sgd": 1, "adam": 3, "adamw": 3}[optimizer]
    for name, tensor in mine.items():
        assert torch.equal(tensor, theirs[name])
    lr = learning_rate(other.optimizer)
    assert (lr.shape, lr.dtype, float(lr)) == ((), torch.float64, 0.01)  # double: a schedule's bits stay


def test_training_does_not_load_torch_s_compiler():
    """It takes a second and a half, which every worker would spend before its first epoch."""
    code = """
import sys
import torch
from tests.conftest import make_dataset
from trainables.config import CNN, Training, Trial
from trainables.replicate import replicate
from trainables.train import train

trial = Trial(model=CNN(conv_layers=1, channels=4, fc_layers=1), training=Training(epochs=1, batch_size=16))
data = make_dataset()
list(train(trial, data, [replicate(trial, data, 0, torch.device("cpu"))], torch.device("cpu")))
print("torch._dynamo" in sys.modules)
"""
    variables = os.environ | {"PYTHONPATH": str(ROOT)}
    end = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False)
    assert (end.returncode, end.stdout) == (0, "False\n"), end.stderr
