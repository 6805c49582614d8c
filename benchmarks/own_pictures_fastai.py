"""fastai on own pictures, from EfficientNet-Lite0's weights. `own_pictures.py` runs it, by a Python that has fastai.

    PYTHON benchmarks/own_pictures_fastai.py TRAIN_FOLDER TEST_FOLDER --weights FILE.pth [--seed 0] [--no-mirror]

PYTHON is that of an environment in which `pip install fastai efficientnet-lite-pytorch` was done.

The training is that of fastai's quick start: pictures brought to 460 pixels, then augmented and cut to 224 by
`aug_transforms(size=224, min_scale=0.75)`; `vision_learner`; `fine_tune`. Five epochs, of 32 pictures a batch. All the
training pictures are learnt from; none is held out for validation, which here would decide nothing. Mean and deviation
of the pixels are those that the weights were made with. The statistics of batch norms follow as fast as in timm, whose
networks fastai takes, and not ten times slower, as the network's package has it: of so few steps they would learn
nothing.

Prints a line of JSON, `{"accuracy", "seconds", "images", "fastai", "torch"}`: accuracy on the test pictures, of which
there are `images`; seconds from the look for pictures to the trained network, without the imports before that and the
test after it. Pictures that cannot be read are left out of both folders.
"""

import argparse
import importlib.metadata
import json
import time
from pathlib import Path
from typing import Any

import torch
from efficientnet_lite_pytorch import EfficientNet  # type: ignore[import-not-found]
from fastai.vision import all as fastai  # type: ignore[import-not-found]

SIZE = 224  # pixels a side
FEATURES = 1280
BATCH = 32
EPOCHS = 5  # of all layers, after one of the head alone
MEAN, DEVIATION = 127 / 255, 128 / 255  # of each channel


def readable(folder: Path) -> list[Path]:
    """The pictures of all classes that can be opened."""
    return [path for path in sorted(fastai.get_image_files(folder)) if fastai.verify_image(path)]


def in_a_row(lite0: Any) -> Any:
    """EfficientNet as layers in a row, which fastai cuts before the average."""
    stem, head = (lite0._conv_stem, lite0._bn0), (lite0._conv_head, lite0._bn1)
    relu6 = torch.nn.ReLU6()
    return torch.nn.Sequential(*stem, relu6, *lite0._blocks, *head, relu6, lite0._avg_pooling, lite0._fc)


def learn(folder: Path, weights: Path, *, mirror: bool) -> Any:
    """A trained learner."""

    def network(**_: Any) -> Any:
        lite0 = EfficientNet.from_name("efficientnet-lite0", batch_norm_momentum=0.9)  # 0.1 as PyTorch counts it
        lite0.load_state_dict(torch.load(weights, weights_only=True))
        return in_a_row(lite0)

    augment = fastai.aug_transforms(size=SIZE, min_scale=0.75, do_flip=mirror)
    block = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock),
        get_items=readable,
        get_y=fastai.parent_label,
        splitter=fastai.IndexSplitter([]),
        item_tfms=fastai.Resize(460),
        batch_tfms=[*augment, fastai.Normalize.from_stats([MEAN] * 3, [DEVIATION] * 3)],
    )
    loaders = block.dataloaders(folder, bs=BATCH)
    # The head that fastai would make. It does not find out the features, as it takes padded convolutions apart.
    head = fastai.create_head(FEATURES, len(loaders.vocab))
    learner = fastai.vision_learner(loaders, network, custom_head=head)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(EPOCHS)
    return learner


def accuracy(learner: Any, paths: list[Path]) -> float:
    """The share of `paths` whose class is that of their folder."""
    with learner.no_bar():
        probabilities, _ = learner.get_preds(dl=learner.dls.test_dl(paths))  # (N, C)
    answers = [str(learner.dls.vocab[index]) for index in probabilities.argmax(dim=1)]
    return sum(answer == path.parent.name for answer, path in zip(answers, paths, strict=True)) / len(paths)


def main() -> None:
    """Train once, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, metavar="TRAIN_FOLDER", help="a subfolder of pictures for each class")
    parser.add_argument("test", type=Path, metavar="TEST_FOLDER", help="likewise")
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE.pth", help="of EfficientNet-Lite0")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    parser.add_argument("--no-mirror", dest="mirror", action="store_false", help="mirror no pictures")
    arguments = parser.parse_args()
    fastai.set_seed(arguments.seed)
    start = time.monotonic()
    learner = learn(arguments.train, arguments.weights, mirror=arguments.mirror)
    seconds = time.monotonic() - start
    paths = readable(arguments.test)
    result = {"accuracy": accuracy(learner, paths), "seconds": seconds, "images": len(paths)}
    print(json.dumps(result | {name: importlib.metadata.version(name) for name in ("fastai", "torch")}))


if __name__ == "__main__":
    main()
