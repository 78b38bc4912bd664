import pytest
import torch

from tests.pretended import pretended_gpu
from tests.sweeps.outcomes import record
from trainables.config import CNN, Training, Trial
from trainables.models import build
from trainables.replicate import Replicate, learning_rate, optimizer_tensors, replicate, restore_optimizer
from trainables.train import train

CPU = torch.device("cpu")
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


def test_chosen_is_the_first_of_the_best_on_validation():
    member = Replicate(0, None, None, None, [record(0.5), record(0.7), record(0.7), record(0.6)])
    assert (member.epoch, member.chosen is member.records[1]) == (4, True)


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
