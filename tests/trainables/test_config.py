import json
from dataclasses import replace

import pytest

from trainables.config import CNN, ResNet, Training, Trial
from trainables.errors import UserError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CNN(conv_layers=-1), "conv_layers is -1, but must be 0..64"),
        (
            lambda: CNN(conv_layers=3, convs_per_block=2),
            "conv_layers is 3, but must be a multiple of convs_per_block (2)",
        ),
        (lambda: CNN(channels=()), "channels is empty, but must be a number or a tuple of at least one"),
        (lambda: CNN(channels=(16, 0)), "channels is 0, but must be a whole number of at least 1"),
        (lambda: CNN(kernel="3"), "kernel is '3', but must be a whole number of at least 1"),
        (lambda: CNN(pooling="maxx"), "pooling is 'maxx', but must be one of max, average, none"),
        (lambda: CNN(batch_norm=1), "batch_norm is 1, but must be True or False"),
        (lambda: CNN(fc_dropout=1.0), "fc_dropout is 1.0, but must be 0..0.99"),
        (lambda: Training(lr=float("nan")), "lr is nan, but must be 1e-12..1000"),
        (lambda: Training(epochs=True), "epochs is True, but must be 1..100000"),
        (lambda: Training(optimizer="lamb"), "optimizer is 'lamb', but must be one of sgd, adam, adamw"),
        (
            lambda: Trial().get("model.conv_layer"),
            "a trial has no field 'model.conv_layer'; did you mean 'model.conv_layers'?",
        ),
        (
            lambda: Trial().with_values({"trainin.lr": 1}),
            "a trial has no field 'trainin.lr'; did you mean 'training.lr'?",
        ),
        (
            lambda: Trial.from_dict(Trial().to_dict() | {"seed": 1}),
            "a trial has no field 'seed'; known: dataset, model, training, weights, rename",
        ),
        (lambda: Trial(model=ResNet(depth=50)), "depth is 50, but must be one of 18, 34"),
        (
            lambda: Trial(rename=(("(", ""),)),
            "rename holds '(', which is no regular expression: missing ), unterminated subpattern at position 0",
        ),
    ],
)
def test_a_value_that_breaks_a_rule_is_named_with_the_rule(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == message


def test_a_short_tuple_repeats_its_last_entry_and_a_long_one_is_cut():
    assert CNN(conv_layers=4, channels=(16, 32, 64)).per_block("channels") == (16, 32, 64, 64)
    assert CNN(conv_layers=2, channels=(16, 32, 64)).per_block("channels") == (16, 32)
    assert CNN(conv_layers=4, convs_per_block=2, channels=8).per_block("channels") == (8, 8)
    assert CNN(fc_layers=3, fc_widths=(256, 128, 64)).hidden_widths == (256, 128)


def test_a_trial_survives_json():
    for trial in (
        Trial("shapes", CNN(channels=(4, 8), pool_after=(1,)), Training(lr=0.1)),
        Trial("voc2007", ResNet(depth=34), Training(resize=256, crop=224), "weights.pth", (("^module.", ""),)),
    ):
        assert Trial.from_dict(json.loads(json.dumps(trial.to_dict()))) == trial


BASE = Trial(model=CNN(conv_layers=2, channels=(4, 8)))


@pytest.mark.parametrize(
    "same",
    [
        {"model.channels": (4, 8, 99)},
        {"model.kernel": (3, 3)},
        {"model.pool_after": (1, 2, 3)},
        {"training.epochs": 99},
        {"training.gamma": 0.5},
        {"dataset": "the same under another name"},
    ],
)
def test_the_key_ignores_what_computes_the_same(same):
    contents = {BASE.dataset: "d", "the same under another name": "d"}
    assert BASE.with_values(same).key(contents) == BASE.key(contents)


@pytest.mark.parametrize(
    "other",
    [
        {"model.channels": (4, 9)},
        {"model.pooling": "average"},
        {"model.pool_after": (1,)},
        {"training.lr": 1.0},
        {"training.flip": True},
    ],
)
def test_the_key_names_what_computes_something_else(other):
    assert BASE.with_values(other).key({}) != BASE.key({})


def test_the_key_depends_on_the_data_and_on_epochs_where_the_schedule_ends_with_them():
    assert BASE.key({}) != BASE.key({BASE.dataset: "e"})
    cosine = BASE.with_values({"training.schedule": "cosine"})
    assert cosine.key({}) != cosine.with_values({"training.epochs": 99}).key({})


def test_fields_without_effect_do_not_tell_trials_apart():
    flat = replace(BASE, model=CNN(conv_layers=0, fc_layers=1))
    idle = {
        "model.batch_norm": True,
        "model.activation": "tanh",
        "model.fc_dropout": 0.5,
        "model.pooling": "none",
        "model.channels": 7,
    }
    assert flat.with_values(idle).key({}) == flat.key({})


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("constant", [1, 1, 1]), ("linear", [1, 0.5, 0]), ("cosine", [1, 0.5, 0]), ("exponential", [1, 0.81, 0.6561])],
)
def test_schedules_by_hand(schedule, expected):
    recipe = Training(epochs=4, schedule=schedule, gamma=0.9)
    assert [recipe.lr_factor(at) for at in (0, 2, 4)] == pytest.approx(expected)


def test_exponential_decay_steps_once_an_epoch():
    recipe = Training(schedule="exponential", gamma=0.5)
    assert [recipe.lr_factor(at) for at in (0.0, 0.99, 1.0, 2.5)] == [1, 1, 0.5, 0.25]
