"""Grad-CAM against captum, and against maps worked out by hand."""

import numpy as np
import pytest
import torch
import torchvision
from captum.attr import LayerGradCam
from torch import nn

from analysis import figures
from analysis.finding import Finding
from analysis.jobs.grad_cam import GradCam, cam, default_layer, stretched
from analysis.subject import Subject
from tests.trainables.test_models import add_excite
from trainables.config import CNN, Model, ResNet
from trainables.errors import UserError
from trainables.models import Network, build
from trainables.plan import plan

SMALL = CNN(conv_layers=2, channels=(4, 6), batch_norm=True, fc_layers=2, fc_widths=8)
SHAPE = (3, 20, 20)


def network(config: Model = SMALL, shape: tuple[int, int, int] = SHAPE, classes: int = 3) -> Network:
    """Return a random network whose batch norms have seen something: each shifts and scales."""
    torch.manual_seed(0)
    model = build(config, shape, classes, (0.4,) * shape[0], (0.2,) * shape[0])
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def pictures(count: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape[1:], shape[0]), dtype=np.uint8)


def subject(
    labels: np.ndarray, config: Model = SMALL, shape: tuple[int, int, int] = SHAPE, masks: np.ndarray | None = None
) -> Subject:
    """Return a random network on random images: some it labels rightly, most not."""
    return Subject(
        name="net",
        model=network(config, shape),
        layers=plan(config, shape, 3),
        class_names=("cat", "dog", "bird"),
        dataset="noise",
        images=pictures(len(labels), shape),
        labels=labels,
        training_images=(9, 9, 9),
        masks=masks,
    )


def find(job: GradCam, of: Subject) -> Finding:
    return job.finding([of], [job.compute(of, part) for part in range(job.parts(of))])


def oracle(model: Network, module: nn.Module, images: np.ndarray, targets: torch.Tensor) -> np.ndarray:
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return LayerGradCam(model, module).attribute(pixels, targets, relu_attributions=True)[:, 0].detach().numpy()


TARGETS = torch.tensor([0, 1, 2, 0, 1])


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
@pytest.mark.parametrize("pooling", ["max", "average", "none"])
def test_the_default_is_captum_s_after_the_last_convolution_s_activation(activation: str, pooling: str):
    model = network(
        CNN(conv_layers=2, channels=(4, 6), activation=activation, pooling=pooling, pool_size=3, fc_widths=8)
    )
    images = pictures(5)
    got = cam(model, torch.from_numpy(images), TARGETS, None).numpy()
    model.blocks[-1].pool_first = False  # the same function, but in captum's reach: activation first
    np.testing.assert_allclose(got, oracle(model, model.blocks[-1].activation, images, TARGETS), rtol=1e-5, atol=1e-7)
    assert got.max() > 0
    assert default_layer(model) == "conv2 after its activation" + ("" if pooling == "none" else ", before pooling")


def test_a_named_layer_is_captum_s():
    model, images = network(), pictures(5)
    modules = {
        "conv1": model.blocks[0].convs[0],
        "block1": model.blocks[0].dropout,
        "conv2": model.blocks[1].convs[0],
        "block2": model.blocks[1].dropout,
    }
    for name, module in modules.items():
        got = cam(model, torch.from_numpy(images), TARGETS, name).numpy()
        np.testing.assert_allclose(got, oracle(model, module, images, TARGETS), rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("behind", ["conv2", "activation2"])
def test_a_step_added_to_a_block_is_captum_s_too(monkeypatch: pytest.MonkeyPatch, behind: str):
    model, images = network(), pictures(5)
    without = cam(model, torch.from_numpy(images), TARGETS, None).numpy()
    add_excite(monkeypatch, behind, 6)
    block = model.blocks[1]
    block.pool_first = False
    modules = {None: block.activation, "conv2": block.convs[0], "block2": block.dropout}
    for name, module in modules.items():
        got = cam(model, torch.from_numpy(images), TARGETS, name).numpy()
        np.testing.assert_allclose(got, oracle(model, module, images, TARGETS), rtol=1e-5, atol=1e-7, err_msg=name)
    assert not np.allclose(cam(model, torch.from_numpy(images), TARGETS, None).numpy(), without)
    assert default_layer(model).startswith("conv2 after its activation")


@pytest.mark.parametrize("option", [{"dilation": 2}, {"groups": (1, 2)}])
def test_a_dilated_or_grouped_network_s_is_captum_s(option: dict):
    model, images = network(CNN(conv_layers=2, channels=(4, 6), fc_layers=1, **option)), pictures(5)
    got = cam(model, torch.from_numpy(images), TARGETS, None).numpy()
    model.blocks[1].pool_first = False
    expected = oracle(model, model.blocks[1].activation, images, TARGETS)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)
    assert got.max() > 0


def test_a_residual_network_s_is_captum_s_of_torchvision_s():
    shape = (1, 64, 64)
    model, images = network(ResNet(), shape), pictures(2, shape)
    theirs = torchvision.models.resnet18(num_classes=3)
    theirs.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    theirs.load_state_dict({n: tensor for n, tensor in model.state_dict().items() if not n.startswith("normalize.")})
    whole = nn.Sequential(model.normalize, theirs).eval()
    for name in (None, "layer3", "layer4.0"):
        got = cam(model, torch.from_numpy(images), TARGETS[:2], name).numpy()
        expected = oracle(whole, theirs.get_submodule(name or "layer4"), images, TARGETS[:2])
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6 * expected.max(), err_msg=name)
    assert default_layer(model) == "layer4"


def test_a_map_worked_out_by_hand():
    """Two 1×1 convolutions without pooling on a 2×2 image, and one FC layer: α is the mean of the class's weights."""
    model = network(
        CNN(conv_layers=1, channels=2, kernel=1, pooling="none", fc_layers=1, normalize_input=False), (1, 2, 2), 2
    )
    conv = model.blocks[0].convs[0]
    with torch.no_grad():
        conv.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        conv.bias.copy_(torch.tensor([0.0, 0.5]))
        model.head.weight.copy_(torch.tensor([[1.0, 2.0, 3.0, 2.0, -1.0, -1.0, -1.0, -1.0], [-1.0] * 8]))
    image = torch.tensor([[0, 51], [102, 255]], dtype=torch.uint8).view(1, 2, 2, 1)  # 0, 0.2, 0.4, 1
    # A = x and ReLU(0.5 - x); α = 2 and -1 for class 0, -1 and -1 for class 1
    expected = [[[0.0, 0.4 - 0.3], [0.8 - 0.1, 2.0]], [[0.0, 0.0], [0.0, 0.0]]]
    np.testing.assert_allclose(cam(model, image.expand(2, -1, -1, -1), torch.tensor([0, 1]), None), expected, atol=1e-6)


def test_nothing_is_left_behind():
    model, images = network(), torch.from_numpy(pictures(5))
    model.head.weight.requires_grad_(False)
    before = [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    with torch.no_grad():
        assert not cam(model, images, TARGETS, None).requires_grad
        assert not torch.is_grad_enabled()
    assert [(parameter.requires_grad, parameter.grad) for parameter in model.parameters()] == before
    hooks = [getattr(module, name) for module in model.modules() for name in vars(module) if name.endswith("_hooks")]
    assert hooks
    assert not any(hooks)


def test_a_frozen_network_has_the_same_maps():
    model, images = network(), torch.from_numpy(pictures(5))
    expected = cam(model, images, TARGETS, None)
    assert torch.equal(cam(model.requires_grad_(False), images, TARGETS, None), expected)


def test_each_image_s_map_is_its_own():
    model, images = network(), torch.from_numpy(pictures(5))
    alone = torch.cat([cam(model, images[at : at + 1], TARGETS[at : at + 1], None) for at in range(5)])
    torch.testing.assert_close(cam(model, images, TARGETS, None), alone, rtol=1e-5, atol=1e-7)


def test_right_predictions_come_by_class_and_wrong_ones_by_confidence_with_both_classes():
    of = subject(np.arange(60) % 3)
    arrays = GradCam(per_class=2, wrong=4).compute(of, 0)
    right = arrays["kinds"] == "right"
    found = [np.flatnonzero((of.labels == label) & (of.predicted == label))[:2] for label in range(3)]
    assert arrays["images"][right].tolist() == np.concatenate(found).tolist()
    assert (arrays["targets"][right] == of.labels[arrays["images"][right]]).all()
    confidence = np.where(of.right, 0, of.probabilities.max(1))
    wrong = np.argsort(-confidence, kind="stable")[:4]
    assert arrays["images"][~right].tolist() == np.repeat(wrong, 2).tolist()
    assert arrays["kinds"][~right].tolist() == ["wrong, true class", "wrong, predicted class"] * 4
    assert arrays["targets"][~right].tolist() == np.stack([of.labels[wrong], of.predicted[wrong]], 1).ravel().tolist()
    expected = cam(of.model, of.pixels(arrays["images"]), torch.from_numpy(arrays["targets"]), None)
    np.testing.assert_allclose(arrays["maps"], expected, rtol=1e-5, atol=1e-7)


def test_multi_label_targets_are_found_false_and_missed_classes():
    of = subject(np.zeros((30, 3), np.int8))
    high = of.probabilities >= 0.5
    assert high.any()
    assert not high.all()
    of.labels[::2] = np.where(high[::2], 1, 0)  # all found
    of.labels[1::4] = np.where(high[1::4], 0, 1)  # all wrong
    of.labels[3::4] = -1
    arrays = GradCam(per_class=2, wrong=3).compute(of, 0)
    right, false, lost = (arrays["kinds"] == kind for kind in ("right", "false positive", "missed"))
    chance, label = (values[arrays["images"], arrays["targets"]] for values in (of.probabilities, of.labels))
    assert (false.sum(), lost.sum()) == (2, 1)
    assert (label[right] == 1).all()
    assert (chance[right] >= 0.5).all()
    assert (label[false] == 0).all()
    assert (chance[false] >= 0.5).all()
    assert (label[lost] == 1).all()
    assert (chance[lost] < 0.5).all()
    assert chance[false].max() == of.probabilities[(of.labels == 0) & high].max()
    assert set(find(GradCam(), of).figures) == {"right", "wrong"}


def test_maps_that_are_zero_everywhere_are_counted_and_marked(monkeypatch: pytest.MonkeyPatch):
    drawn = []
    monkeypatch.setattr(figures, "panels", lambda rows, **words: drawn.append((rows, words)) or b"")
    of = subject(np.zeros(6, np.int64))
    with torch.no_grad():
        of.model.head.weight.zero_()  # no class has evidence
        of.model.head.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))  # all are taken for dogs
    found = find(GradCam(wrong=2), of)
    assert found.text[1].startswith("4 of 4 maps are zero everywhere")
    assert found.text[2:] == ("3 right predictions were asked for, but there are only 0.",)
    [(rows, words)] = drawn
    assert [panel.title.splitlines()[-1] for panel in rows[0]] == [
        "image 0",
        "all zero",
        "all zero",
        "image 1",
        "all zero",
        "all zero",
    ]
    assert words["limits"] == (0.0, 1.0)
    assert found.tables["by_kind"].rows == (("wrong, true class", 2, 2, 1.0), ("wrong, predicted class", 2, 2, 1.0))


def test_values_are_raw_and_one_scale_serves_the_figure(monkeypatch: pytest.MonkeyPatch):
    drawn = []
    monkeypatch.setattr(figures, "panels", lambda rows, **words: drawn.append((rows, words)) or b"")
    of = subject(np.arange(60) % 3)
    found = find(GradCam(), of)
    [rows, words], _ = drawn
    overlays = [panel.overlay for row in rows for panel in row if panel.overlay is not None]
    maps = found.arrays["maps"][found.arrays["kinds"] == "right"]
    assert words["limits"] == (0.0, maps.max())
    np.testing.assert_array_equal(overlays, stretched(maps, 20, 20))
    assert [row[6] for row in found.tables["grad_cam"].rows] == found.arrays["maps"].max((1, 2)).tolist()
    for part in ("net on noise", "conv2 after its activation"):
        assert part in words["caption"]


def test_known_masks_are_measured_in_the_tables():
    masks = np.zeros((60, 20, 20), bool)
    masks[:, :10] = True
    found = find(GradCam(), subject(np.arange(60) % 3, masks=masks))
    table, by_kind = found.tables["grad_cam"], found.tables["by_kind"]
    assert [column.name for column in table.columns][-3:] == [
        "object's share of the image",
        "mass on the object",
        "peak on the object",
    ]
    zero = found.arrays["maps"].max((1, 2)) == 0
    assert 0 < zero.sum() < len(zero)
    for row, values, nothing in zip(
        table.rows, stretched(found.arrays["maps"], 20, 20).astype(float), zero, strict=True
    ):
        share, peak = (
            (None, None)
            if nothing
            else (values[:10].sum() / values.sum(), "yes" if values[:10].max() == values.max() else "no")
        )
        assert row[-3:] == (0.5, pytest.approx(share), peak)
    right = [row for row in table.rows if row[1] == "right" and row[-2] is not None]
    assert by_kind.rows[0][4:] == (
        0.5,
        pytest.approx(np.mean([row[-2] for row in right])),
        pytest.approx(np.mean([row[-1] == "yes" for row in right])),
    )


def test_without_anything_to_look_at_tables_are_empty_and_it_is_said():
    of = subject(np.zeros(4, np.int64), masks=np.ones((4, 20, 20), bool))
    of.labels[:] = (of.predicted + 1) % 3  # all wrong
    found = find(GradCam(wrong=0), of)
    assert found.text[2] == "3 right predictions were asked for, but there are only 0."
    assert not found.figures
    assert [table.rows for table in found.tables.values()] == [(), ()]


def test_a_gray_image_and_the_same_subject_give_the_same_bytes():
    of = subject(np.arange(12) % 3, CNN(conv_layers=1, channels=4), (1, 12, 14))
    assert find(GradCam(), of).files() == find(GradCam(), of).files()


@pytest.mark.parametrize("options", [{"per_class": 0}, {"wrong": -1}])
def test_options_are_checked(options: dict):
    with pytest.raises(UserError, match="but must be at least"):
        GradCam(**options)


@pytest.mark.parametrize("layer", ["blok1", "flat", "fc1"])
def test_a_layer_without_maps_is_refused(layer: str):
    with pytest.raises(UserError, match=f"net has no maps '{layer}'; (did you mean|known)"):
        GradCam(layer=layer).parts(subject(np.zeros(2, np.int64)))


def test_a_network_without_convolutions_is_refused():
    with pytest.raises(UserError, match="net has no convolutions"):
        GradCam().parts(subject(np.zeros(2, np.int64), CNN(conv_layers=0, fc_widths=4)))
