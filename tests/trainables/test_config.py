import json
from dataclasses import dataclass, replace

import pytest

from trainables.config import CNN, RESNET_STAGES, ResNet, Training, Trial
from trainables.errors import UserError
from trainables.fields import PerLayer, number, one_of, per_layer, whole

LIMITS: dict[str, tuple[type, float, float, float]] = {  # by field: the class, lowest, highest, a step out of it
    "conv_layers": (CNN, 0, 64, 1),
    "convs_per_block": (CNN, 1, 16, 1),
    "pool_size": (CNN, 1, 64, 1),
    "pool_stride": (CNN, 1, 64, 1),
    "conv_dropout": (CNN, 0.0, 0.99, 0.001),
    "fc_layers": (CNN, 1, 32, 1),
    "fc_dropout": (CNN, 0.0, 0.99, 0.001),
    "epochs": (Training, 1, 100_000, 1),
    "batch_size": (Training, 1, 1_000_000, 1),
    "lr": (Training, 1e-12, 1e3, 1e-13),
    "momentum": (Training, 0.0, 0.9999, 1e-5),
    "weight_decay": (Training, 0.0, 1e3, 1e-5),
    "gamma": (Training, 1e-6, 1.0, 1e-7),
    "resize": (Training, 1, 4096, 1),
    "crop": (Training, 1, 4096, 1),
    "crop_padding": (Training, 0, 64, 1),
}


@pytest.mark.parametrize("name", LIMITS)
def test_the_ends_of_a_fields_range_are_allowed_and_a_step_beyond_is_not(name):
    kind, low, high, step = LIMITS[name]
    for value in (low, high):
        rest = {"conv_layers": 16} if name == "convs_per_block" else {}
        assert getattr(kind(**{name: value} | rest), name) == value
    for value in (low - step, high + step):
        with pytest.raises(UserError, match=f"^{name} is .* but must be "):
            kind(**{name: value})


def test_a_resnets_depth_is_two_layers_a_block_with_the_stem_and_the_last():
    """And of the two the deeper has its blocks where He et al. (table 1) put them."""
    assert {depth: 2 * sum(blocks) + 2 for depth, blocks in RESNET_STAGES.items()} == {18: 18, 34: 34}
    assert RESNET_STAGES[34] == (3, 4, 6, 3)


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
        (lambda: CNN(groups=0), "groups is 0, but must be a whole number of at least 1"),
        (lambda: CNN(pool_after=2), "pool_after is 2, but must be a tuple of whole numbers"),
        (lambda: CNN(pool_after=(1, 0)), "pool_after is 0, but must be 1..64"),
        (lambda: Training(crop=0), "crop is 0, but must be 1..4096"),
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
        (
            lambda: Trial.from_dict(Trial().to_dict() | {"model": {}}),
            "family is None, but must be one of cnn, resnet",
        ),
        (
            lambda: Training(crop=20).input_shape((3, 32, 16)),
            "crop is 20, but must be at most 16, the side of the images it is cut from",
        ),
        (lambda: Trial(model=ResNet(depth=50)), "depth is 50, but must be one of 18, 34"),
        (
            lambda: Trial(rename=(("(", ""),)),
            "rename holds '(', which is not a regular expression: missing ), unterminated subpattern at position 0",
        ),
    ],
)
def test_a_value_that_breaks_a_rule_is_named_with_the_rule(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == message


def test_a_field_is_read_by_its_name_as_in_a_stage():
    trial = Trial("shapes", CNN(conv_layers=2), Training(lr=0.5), "a.pth")
    assert [trial.get(path) for path in ("dataset", "model.conv_layers", "training.lr", "weights")] == [
        "shapes", 2, 0.5, "a.pth",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "relu", "tanh", "none", "leaky_relu", "elu", "selu", "gelu", "silu", "mish", "sigmoid", "softplus", "hardswish",
    ],
)  # fmt: skip
def test_names_that_stored_trials_hold_are_known_for_ever(name):
    assert CNN(activation=name).activation == name


def test_a_short_tuple_repeats_its_last_entry_and_a_long_one_is_cut():
    assert CNN(conv_layers=4, channels=(16, 32, 64)).spread("channels") == (16, 32, 64, 64)
    assert CNN(conv_layers=2, channels=(16, 32, 64)).spread("channels") == (16, 32)
    assert CNN(conv_layers=4, convs_per_block=2, channels=8).spread("channels") == (8, 8)
    assert CNN(fc_layers=3, fc_widths=(256, 128, 64)).hidden_widths == (256, 128)


def test_a_block_has_its_own_values():
    model = CNN(conv_layers=4, convs_per_block=2, channels=(4, 8), kernel=5, stride=(2, 1), padding=1, groups=(1, 4))
    names = ("channels", "kernel", "stride", "padding", "dilation", "groups")
    assert model.block(1) == dict(zip(names, (4, 5, 2, 1, 1, 1), strict=True))
    assert model.block(2) == dict(zip(names, (8, 5, 1, 1, 1, 4), strict=True))


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


# Keys as they were when the first results were stored: without and with the digests of data and weights.
CONTENTS = {"cifar10": "0" * 64, "voc2007": "1" * 64, "resnet18-imagenet": "2" * 64}
GOLDEN = [
    pytest.param(
        Trial(),
        "01599232ecb299ac3a11c5fc81c45b585c61af6ed86bd73762d1b56ae6dd786f",
        "059955515679da02810c022716ec23519ee435981f0730b187a39c634b5df5d2",
        id="defaults",
    ),
    pytest.param(
        Trial(training=Training(schedule="exponential")),
        "e74bdfe88392ef0df7cb8f4668f41c3713a0094a0c3630c7c7047527679f1051",
        "190e535547a951bb80a40d279854665c7d60dbd4e0175175bf8d4662c03a2181",
        id="exponential",
    ),
    pytest.param(
        Trial(
            model=CNN(
                conv_layers=6,
                convs_per_block=2,
                channels=(16, 32, 64),
                padding=1,
                batch_norm=True,
                fc_batch_norm=True,
                fc_dropout=0.5,
            ),
            training=Training(optimizer="adam", lr=0.001, weight_decay=1e-5, flip=True, crop_padding=4),
        ),
        "3b0def00d1e0f4d8ecc5ca730a4742b8de65cfdc958b36861ad208b949153e1d",
        "37d35a8218b69bcbb5ff01bb26dc5c2f78af5cc9419e7fe007f9fb1a4a874002",
        id="blocks",
    ),
    pytest.param(
        Trial(model=CNN(conv_layers=0, fc_layers=2, fc_widths=64, activation="tanh")),
        "0e7341bad9df9751fc184edf82d0e572ea3e83e4df0efd0dcf79cbecf737c477",
        "342256d435bdd2fbda3e4354e9f468b6a8e94248d86ddea115a6624762b54723",
        id="no convolutions",
    ),
    pytest.param(
        Trial(model=CNN(conv_layers=0, fc_layers=1, normalize_input=False)),
        "cb4922ab2a95f2d5dda26432636087e2bd1e45420a4cf33d86ecdee06bf8ec07",
        "0c0634ebb2413da95f44d8fa134bf918576c4c54bd8146e27368e639fcf0d5a1",
        id="linear",
    ),
    pytest.param(
        Trial(
            "voc2007",
            CNN(
                conv_layers=5,
                channels=(96, 256, 384, 384, 256),
                kernel=(11, 5, 3, 3, 3),
                stride=(4, 1, 1, 1, 1),
                padding=(0, 2, 1, 1, 1),
                pool_size=3,
                pool_after=(1, 2, 5),
                fc_widths=4096,
                fc_dropout=0.5,
            ),
            Training(resize=256, crop=227),
        ),
        "a845d47ba0c491508fca749e56d76fcae062eb21851fe913e8a29d8da032619e",
        "93d92181beb60507756919096285212aafda4f6f5488ea255cd58e0508d4cac6",
        id="caffenet",
    ),
    pytest.param(
        Trial("shapes", CNN(conv_layers=2, pooling="none", stride=2, conv_dropout=0.25)),
        "9d67a4aa520f7724e9e0c972a57ba5f7f0aa2c11ba28c45c9de2a15592ad5339",
        "9d67a4aa520f7724e9e0c972a57ba5f7f0aa2c11ba28c45c9de2a15592ad5339",
        id="no pooling",
    ),
    pytest.param(
        Trial(model=CNN(pooling="average", activation="gelu", fc_layers=1)),
        "61ac34aa0c442279ba2c14e9f2331ce7e4e5df04f49e321da495cbf97f3f7fa5",
        "a62648c45208d8c86757c99715f2540c99fed9fc36674133586eef2377be0849",
        id="average pooling",
    ),
    pytest.param(
        Trial("voc2007", ResNet(34), Training(schedule="exponential", gamma=0.5, ap_rule="all-point")),
        "027ab86db6f921ac002cc227180f2f88dd3093eef5ce58682f853b23855f8f0b",
        "6e88baebd3d9344dfeec21d5959ade3b08369e217a48b23b0ae3c51c4f2a3f91",
        id="resnet",
    ),
    pytest.param(
        Trial("voc2007", ResNet(), Training(resize=256, crop=224), "resnet18-imagenet", (("^module.", ""), ("x", "y"))),
        "850a79c1135e154c3e11dd94738d4ca428732a23fb6c2b09255f3d1e460e87d4",
        "e79ef0d61ec0ad2163da44c1b8d41c4d5041f3968ca5c57f1a9fbdf724e42e62",
        id="pretrained",
    ),
    pytest.param(
        Trial("voc2007", ResNet(normalize_input=False), weights="mine.pth"),
        "4c606b5d6852174b7666cc38a69397b7af7022afb6904d5b1befc1a5d86b43f6",
        "4827c33c49583141adf2959f37f5347d680d79432b6e2accc194dd0528cd53e6",
        id="own weights",
    ),
    pytest.param(
        Trial(training=Training(epochs=100, schedule="cosine", momentum=0.0)),
        "eb6fe1f6fee1b0e9767d0edad7119993ca46bbcec8d23057f9882a6619eb590d",
        "a656ddba32c4ad06c6f0a12cc054357f9da0c8db7bcec49c8bbbe510bea86573",
        id="cosine",
    ),
    pytest.param(
        Trial(training=Training(epochs=7, batch_size=32, schedule="linear", lr=1)),
        "50964344b23243800e68d17e1ceb227cda4e94ffa16eb06cc3443f20d2b08218",
        "30f245c53b93c107fcc92e86507cab680d0ad46ad2335911cca321f58ba19b48",
        id="linear schedule",
    ),
    pytest.param(
        Trial(training=Training(optimizer="adamw", weight_decay=0.01)),
        "b0fbd655f33ae2eb0f754065a9c9866ac025a668662eb2f41713cf7be672aed3",
        "5697508275077f2cc2b2d4419d8842d876ba6db30ca6ce1359c4ed0f111b805f",
        id="adamw",
    ),
]


@pytest.mark.parametrize(("trial", "named", "digested"), GOLDEN)
def test_keys_stay_what_they_were(trial, named, digested):
    assert (trial.key({}), trial.key(CONTENTS)) == (named, digested)


def test_trials_whose_seeds_split_the_data_themselves_are_others():
    varied = Trial(training=Training(vary_split=True))
    assert varied.key({}) != Trial().key({})
    assert varied.training.canonical() == Trial().training.canonical() | {"vary_split": True}
    assert Trial.from_dict(varied.to_dict()) == varied


@dataclass(frozen=True)
class GrownCNN(CNN):
    conv_kind: str = one_of("plain", ("plain", "separable"))
    squeeze: PerLayer = per_layer(1, low=1, layers="blocks")


@dataclass(frozen=True)
class GrownResNet(ResNet):
    width: int = whole(64, 1)


@dataclass(frozen=True)
class GrownTraining(Training):
    label_smoothing: float = number(0.0, 0.0, 1.0)
    warmup: int | None = whole(None, 1)


@dataclass(frozen=True)
class GrownTrial(Trial):
    teacher: str | None = None


@pytest.mark.parametrize(
    ("path", "kind", "same", "other"),
    [
        ("model", GrownCNN, {}, {"conv_kind": "separable"}),
        ("model", GrownCNN, {"squeeze": (1, 1)}, {"squeeze": (1, 2)}),
        ("model", GrownResNet, {"width": 64}, {"width": 32}),
        ("training", GrownTraining, {}, {"label_smoothing": 0.1}),
        ("training", GrownTraining, {"warmup": None}, {"warmup": 3}),
    ],
)
def test_a_field_added_later_leaves_the_keys_of_trials_that_do_not_use_it(path, kind, same, other):
    before = Trial(model=ResNet() if kind is GrownResNet else CNN())
    assert replace(before, **{path: kind(**same)}).key({}) == before.key({})
    assert replace(before, **{path: kind(**other)}).key({}) != before.key({})
    assert kind(**other).canonical().keys() - kind(**same).canonical().keys() == other.keys()


def test_so_does_a_field_added_to_the_trial():
    assert GrownTrial().key({}) == Trial().key({})
    assert GrownTrial(teacher="a").key({}) not in {Trial().key({}), GrownTrial(teacher="b").key({})}


def test_an_added_field_beyond_the_last_block_is_at_its_default():
    assert GrownCNN(squeeze=(1, 1, 1, 7)).canonical() == CNN().canonical()
    assert GrownCNN(conv_layers=0, squeeze=7).canonical() == CNN(conv_layers=0).canonical()


@pytest.mark.parametrize("name", ["dilation", "groups"])
def test_dilation_and_groups_count_in_the_key_where_they_are_used(name):
    base = CNN(conv_layers=2)
    assert replace(base, **{name: (1, 1, 2)}).canonical() == base.canonical()
    assert replace(base, **{name: (1, 2)}).canonical() == base.canonical() | {name: (1, 2)}


def test_a_checkpoint_of_before_a_field_was_added_has_it_at_its_default():
    form = Trial().to_dict()
    del form["model"]["dilation"], form["model"]["groups"]
    assert Trial.from_dict(form) == Trial()
