"""PASCAL VOC 2007, several labels an image. How far do SimpleCNN, CaffeNet and ResNet-18 get, and what do pretrained
weights add?

Images are resized larger, randomly cropped and flipped in training; in evaluation the centre is cut out. Objects marked
difficult are ignored for their class, in training and in the average precision (AP), which follows the 11-point rule of
2007.

    python sweeps/voc.py --num-gpus 1
    python sweeps/voc.py --stages resnet --weights data/weights/my_resnet18.pth
    python sweeps/voc.py --quick

Batch 32, CaffeNet's and ResNet's learning rate, gamma, and the numbers of epochs of the first two are the reports'; the
rest is ours.
"""

from sweeps.study import Published, Stage, Study, Watch
from trainables.config import CNN, ResNet, Training, Trial

SIMPLE_CNN = Trial(
    dataset="voc2007",
    model=CNN(conv_layers=2, channels=(32, 64), kernel=5, padding=2, pooling="average", fc_layers=2, fc_widths=128),
    training=Training(epochs=5, batch_size=32, optimizer="adam", lr=0.001, resize=72, crop=64, flip=True),
)

CAFFENET = Trial(
    dataset="voc2007",
    model=CNN(
        conv_layers=5,
        channels=(96, 256, 384, 384, 256),
        kernel=(11, 5, 3, 3, 3),
        stride=(4, 1, 1, 1, 1),
        padding=(0, 2, 1, 1, 1),
        pool_size=3,
        pool_stride=2,
        pool_after=(1, 2, 5),
        fc_layers=3,
        fc_widths=(4096, 4096),
        fc_dropout=0.5,
    ),
    training=Training(epochs=50, batch_size=32, optimizer="adam", lr=1e-4, resize=256, crop=227, flip=True),
)

RESNET = Trial(
    dataset="voc2007",
    model=ResNet(depth=18),
    training=Training(
        epochs=20,
        batch_size=32,
        optimizer="adam",
        lr=1e-4,
        schedule="exponential",
        gamma=0.9,
        resize=256,
        crop=224,
        flip=True,
    ),
)

# average precision per class, percent, in VOC's order from aeroplane to tvmonitor
SIMPLE_CNN_AP = (
    *(51.3, 14.1, 17.0, 27.8, 9.6, 10.6, 41.9, 13.9, 29.9, 10.0),
    *(18.6, 16.5, 45.2, 16.0, 61.6, 15.3, 15.4, 23.3, 29.8, 10.7),
)
CAFFENET_AP = (
    *(63.8, 33.9, 27.5, 40.8, 15.9, 21.1, 63.2, 35.4, 43.3, 18.0),
    *(30.9, 28.5, 58.3, 43.1, 78.8, 19.9, 22.5, 35.8, 51.4, 30.7),
)

STUDY = Study(
    name="voc",
    question="How far do SimpleCNN, CaffeNet and ResNet-18 get on images with "
    "several labels, and what do pretrained weights add?",
    baseline=SIMPLE_CNN,
    stages=(
        Stage(
            "simple_cnn",
            question="How far does a network of two convolutions get?",
            published={(): Published(None, 23.93, 5, SIMPLE_CNN_AP)},
        ),
        Stage(
            "caffenet",
            start=CAFFENET,
            question="How far does CaffeNet get from scratch?",
            published={(): Published(None, 38.14, None, CAFFENET_AP)},
        ),
        Stage(
            "resnet",
            {"weights": (None, "resnet18-imagenet")},
            start=RESNET,
            question="How far does ResNet-18 get, and how much do ImageNet weights add?",
        ),
    ),
    watch=Watch(
        filters=tuple(epoch + part for epoch in range(5) for part in (0.3, 0.6)),  # iterations 47 and 95 of 157
        images=(0, 0.5, 1, 2, 5),
    ),
    analyses={"neighbours": {"layer": "flat"}, "tsne": {"layer": "flat"}, "compare": {}},
    # the smallest crop that leaves CaffeNet's last pooling window something to look at
    quick={"dataset": "scenes", "training.epochs": 2, "training.resize": 72, "training.crop": 67},
)

if __name__ == "__main__":
    from sweeps.main import main

    main(STUDY)
