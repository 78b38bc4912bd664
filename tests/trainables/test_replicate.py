import pytest
import torch

from trainables.config import CNN, Training, Trial
from trainables.replicate import learning_rate, optimizer_tensors, replicate, restore_optimizer
from trainables.train import train

CPU = torch.device("cpu")
MODEL = CNN(conv_layers=1, channels=4, fc_layers=2, fc_widths=8, fc_dropout=0.2)


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
