"""Make the bundled model `cifar10-photo` from photographs of CIFAR-10's ten classes and some of CIFAR-10's images.

    python benchmarks/make_photo_model.py PHOTOGRAPHS MODEL.onnx

PHOTOGRAPHS has a subfolder for each class, and `foreign` for other things, with files called `COLLECTION-….jpg`. Each
collection is left out once: its photographs are answered by a head that has learnt from the others. The temperature,
the threshold and the scores in the file come from these answers. `foreign` is only measured.

The backbone is EfficientNet-Lite0, frozen, its weights stored as float16. The sureness is

    confidence × familiarity × the share of ImageNet's classes that belong to the ten

by ImageNet's own classifier, stored as int8. It prints the figures for some powers of the familiarity, of which POWER
is used, and those of the file.
"""

import argparse
import importlib.util
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from thumbnet.data.cifar_archives import NAMES
from thumbnet.data.load import load_data
from thumbnet.evaluation.scores import Answers, auroc, confusion, per_class, score, wilson
from thumbnet.files import write_atomically
from thumbnet.model.info import with_info
from thumbnet.transfer import familiarity as familiarity_module
from thumbnet.transfer.backbone import BUILT_IN, Backbone, check_backbone, open_backbone
from thumbnet.transfer.efficientnet import HEAD
from thumbnet.transfer.familiarity import Familiarity
from thumbnet.transfer.features import extract, frame
from thumbnet.transfer.head import Head
from thumbnet.transfer.learn import Learned, learn
from thumbnet.transfer.make import Part, Samples, put_together
from thumbnet.transfer.shipped import in_half
from thumbnet.transfer.torch_weights import read_weights

SIZE = 224  # pixels a side
IMAGES = 4000  # of CIFAR-10's training images
TIMES = 5  # as much as one of them counts a photograph
BANK = 26  # photographs of each class that others are compared with
USUAL = 0.25  # the quantile of the photographs' cosines from which on one is entirely familiar
POWER = 1.0  # of the familiarity
POWERS = (0.0, 1.0, 2.0, 4.0)  # that are compared
LENGTH = 18.0  # that the last map's averages are brought to before ImageNet's classifier; 11 to 17 is usual
THUMBNAILS = "cifar10-best"  # answers for pictures too small for this model
SAMPLES = 8  # photographs on which the model file is compared with what it was made of
# They show another of the ten classes as well, a wild ass, and a statue.
AMBIGUOUS = (
    "popular_animals-cat-0018.jpg", "popular_animals-cat-0043.jpg", "popular_animals-horse-0019.jpg",
    "caltech101-bird-0046.jpg",
)  # fmt: skip
# ImageNet's classes that belong to the ten, by their places among the 1,000.
SYNSETS = [
    *(404, 895),  # airplane
    *(407, 436, 468, 511, 609, 627, 656, 661, 751, 817),  # automobile
    *(*range(7, 25), *range(80, 101), *range(127, 147)),  # bird
    *range(281, 286),  # cat
    *(351, 352, 353),  # antelopes, for the deer, of which ImageNet has none
    *range(151, 269),  # dog
    *(30, 31, 32),  # frog
    339,  # horse
    *(403, 484, 510, 554, 576, 625, 628, 724, 780, 814, 871, 914),  # ship
    *(555, 569, 675, 717, 734, 864, 867),  # truck
]


class Photographs(NamedTuple):
    """Photographs of the ten classes and of other things, as the backbone sees them."""

    files: list[Path]  # N
    features: NDArray[np.float32]  # (N, D)
    labels: NDArray[np.int64]  # (N,), -1 for other things
    collections: NDArray[np.int64]  # (N,), from 0 on

    def of(self, rows: NDArray[Any]) -> "Photographs":
        """Some of them."""
        files = [self.files[row] for row in np.arange(len(self.files))[rows]]
        return Photographs(files, self.features[rows], self.labels[rows], self.collections[rows])


class ImageNet(NamedTuple):
    """ImageNet's classifier on the features of the last map."""

    weights: NDArray[np.int8]  # (1000, 1280)
    scales: NDArray[np.float32]  # (1000,), of each row
    bias: NDArray[np.float32]  # (1000,)

    def share(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(N, D)` → `(N,)`: the probability that it is one of the classes that belong to the ten."""
        logits = features[:, :HEAD] @ self.weights.T.astype(np.float32) * self.scales + self.bias  # (N, 1000)
        return np.asarray(softmax(logits, axis=1)[:, SYNSETS].sum(axis=1), np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class PhotoFamiliarity(Familiarity):
    """Familiarity by the last map alone, times ImageNet's share of the ten."""

    imagenet: ImageNet

    def sureness(self, features: NDArray[np.float32], probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features `(N, D)` and probabilities `(N, C)` → `(N,)`, 0 to 1."""
        return super().sureness(features[:, :HEAD], probabilities) * self.imagenet.share(features)

    def add_to_graph(self, graph: Any, features: str, probabilities: str, sureness: str) -> None:
        """Append the same computation to a graph, as `Familiarity` does."""
        prefix = "thumbnet/imagenet/"

        def constant(name: str, values: Any) -> str:
            graph.initializer.append(numpy_helper.from_array(np.asarray(values), prefix + name))
            return prefix + name

        def node(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
            graph.node.append(helper.make_node(kind, inputs, [prefix + name], prefix + name, **attributes))
            return prefix + name

        mine = np.zeros((1, 1000, 1, 1), np.float32)
        mine[0, SYNSETS] = 1
        first, axis = constant("first", np.array([0])), constant("axis", np.array([1]))
        last_map = node("Slice", [features, first, constant("end", np.array([HEAD])), axis], "last_map")  # (N, 1280)
        column = node("Unsqueeze", [last_map, constant("places", np.array([2, 3]))], "column")  # (N, 1280, 1, 1)
        weights = node(
            "Cast", [constant("weights", self.imagenet.weights[..., None, None])], "weights_32", to=TensorProto.FLOAT
        )
        scaled = node(
            "Mul",
            [node("Conv", [column, weights], "products"), constant("scales", self.imagenet.scales[:, None, None])],
            "scaled",
        )
        logits = node("Add", [scaled, constant("bias", self.imagenet.bias[:, None, None])], "logits")  # (N, 1000, 1, 1)
        shares = node("Softmax", [logits], "shares", axis=1)
        share = node("Flatten", [node("Conv", [shares, constant("mine", mine)], "sum")], "share")  # (N, 1)
        super().add_to_graph(graph, last_map, probabilities, prefix + "familiar")  # (N,)
        graph.node.append(
            helper.make_node("Mul", [prefix + "familiar", node("Squeeze", [share, axis], "flat_share")], [sureness])
        )


class HeldOut(NamedTuple):
    """Answers to photographs by a head that has not learnt from their collection."""

    probabilities: NDArray[np.float32]  # (N, C)
    sureness: dict[float, NDArray[np.float32]]  # (N,), by the power of the familiarity
    temperature: float  # that the probabilities were divided by, in place of a head's own


def open_parts() -> tuple[Backbone, ImageNet]:
    """The backbone in float16, and ImageNet's classifier in int8."""
    network = check_backbone(in_half(open_backbone("lite0", SIZE).content), "lite0 in float16")
    built_in = BUILT_IN["lite0"]
    found = importlib.util.find_spec(built_in.package)
    assert found is not None
    assert found.submodule_search_locations is not None
    weights = read_weights((Path(found.submodule_search_locations[0]) / built_in.file).read_bytes())
    rows = weights["_fc.weight"]  # (1000, 1280)
    steps = np.abs(rows).max(axis=1) / 127  # (1000,)
    integers = np.round(rows / steps[:, None]).astype(np.int8)
    return network, ImageNet(integers, (steps * LENGTH).astype(np.float32), weights["_fc.bias"])


def read_photographs(folder: Path, network: Backbone) -> Photographs:
    """The photographs in `folder`, without the ambiguous ones."""
    labels = {**{name: label for label, name in enumerate(NAMES)}, "foreign": -1}
    files = sorted(path for name in labels for path in (folder / name).iterdir() if path.name not in AMBIGUOUS)
    features = extract([path.read_bytes for path in files], network, names=[path.name for path in files])
    _, collections = np.unique([path.name.partition("-")[0] for path in files], return_inverse=True)
    return Photographs(files, features.values, np.array([labels[path.parent.name] for path in files]), collections)


def read_images(network: Backbone) -> Part:
    """Some of CIFAR-10's training images."""
    train = load_data("cifar10").train
    rows = np.random.default_rng(0).permutation(len(train))[:IMAGES]
    features = extract([partial(train.images.__getitem__, row) for row in rows], network, label="CIFAR-10")
    return Part(features.values, train.labels[rows])


def learn_head(photographs: Photographs, images: Part, network: Backbone) -> Learned:
    """Learn from photographs of the ten classes and from CIFAR-10's images.

    The head takes all classes to be equally frequent: there are few trucks among the photographs, not in the world.
    """
    features = np.concatenate([np.tile(photographs.features, (TIMES, 1)), images.features])
    labels = np.concatenate([np.tile(photographs.labels, TIMES), images.labels])
    learned = learn(features, labels, len(NAMES), parts=network.parts)
    shares = np.bincount(labels, minlength=len(NAMES)) / len(labels)  # (C,)
    bias = learned.head.bias - learned.chosen["balance"] * np.log(shares)
    head = Head(learned.head.weights, bias.astype(np.float32))
    return replace(learned, head=head, chosen={**learned.chosen, "balance": 0.0})


def familiar(photographs: Photographs, imagenet: ImageNet) -> PhotoFamiliarity:
    """Learn from photographs of the ten classes what is familiar, by how alike those of different collections are."""
    rows = photographs.features[:, :HEAD]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)  # (N, 1280)
    order = np.random.default_rng(0).permutation(len(rows))
    chosen = np.concatenate([order[photographs.labels[order] == label][:BANK] for label in range(len(NAMES))])  # (B,)
    apart = photographs.collections[:, None] != photographs.collections[chosen]  # (N, B)
    cosines = (unit @ unit[chosen].T * apart).max(axis=1)  # (N,)
    usual = float(np.quantile(cosines, USUAL))
    return PhotoFamiliarity(bank=unit[chosen].astype(np.float16), usual=usual, power=POWER, imagenet=imagenet)


def hold_out(photographs: Photographs, images: Part, network: Backbone, imagenet: ImageNet) -> HeldOut:
    """Answer to each photograph without its collection, those of other things included."""
    logits = np.empty((len(photographs.files), len(NAMES)))
    certain = np.ones((len(photographs.files), 1), np.float32)  # the sureness without the confidence
    trust = {power: np.empty(len(photographs.files), np.float32) for power in POWERS}
    ours = photographs.labels >= 0
    for collection in np.unique(photographs.collections):
        held = photographs.collections == collection
        others = photographs.of(ours & ~held)
        logits[held] = learn_head(others, images, network).head.log_probabilities(photographs.features[held])
        known = familiar(others, imagenet)
        for power in POWERS:
            trust[power][held] = replace(known, power=power).sureness(photographs.features[held], certain[held])
    truth = photographs.labels[ours]

    def cross_entropy(temperature: float) -> float:
        return float(-log_softmax(logits[ours] / temperature, axis=1)[np.arange(len(truth)), truth].mean())

    temperature = float(minimize_scalar(cross_entropy, bounds=(0.2, 5), method="bounded").x)
    probabilities = softmax(logits / temperature, axis=1).astype(np.float32)
    confidence = probabilities.max(axis=1)
    return HeldOut(probabilities, {power: confidence * trust[power] for power in POWERS}, temperature)


def main() -> None:
    """Learn, write the file, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    network, imagenet = open_parts()
    photographs, images = read_photographs(arguments.photographs, network), read_images(network)
    ours = photographs.labels >= 0  # (N,)
    of_ten = photographs.of(ours)
    held = hold_out(photographs, images, network, imagenet)
    print("| power | AUROC | foreign ones unsure |\n|---|---|---|")
    for power, sureness in held.sureness.items():
        limit = familiarity_module.threshold(sureness[ours], held.probabilities[ours].argmax(axis=1) == of_ten.labels)
        print(f"| {power:g} | {auroc(sureness[ours], sureness[~ours]):.3f} | {(sureness[~ours] < limit).mean():.1%} |")
    sureness, probabilities = held.sureness[POWER], held.probabilities[ours]
    threshold = familiarity_module.threshold(sureness[ours], probabilities.argmax(axis=1) == of_ten.labels)
    learned = learn_head(of_ten, images, network)
    head = Head(learned.head.weights / held.temperature, learned.head.bias / held.temperature)
    learned = replace(
        learned, head=head, familiarity=familiar(of_ten, imagenet), threshold=threshold,
        temperature=learned.temperature * held.temperature, probabilities=probabilities, sureness=sureness[ours],
        unknown_class=None,
    )  # fmt: skip
    spread = range(0, len(of_ten.files), len(of_ten.files) // SAMPLES)
    samples = Samples(
        np.stack([frame(of_ten.files[row].read_bytes(), network) for row in spread]), of_ten.features[spread]
    )
    collections = len(np.unique(of_ten.collections))
    made = put_together(
        network, NAMES, learned, Part(of_ten.features, of_ten.labels), None, samples, thumbnails=THUMBNAILS,
        recipe={"name": "photo", **learned.chosen, "times": TIMES, "held_out": "collections"},
        data={
            "source": None,
            "pictures": "CIFAR-10's training images, and photographs of its classes from public collections",
            "photographs": len(of_ten.files), "collections": collections,
            "cifar10_images": IMAGES, "train_images": len(of_ten.files) + IMAGES,
        },
    )  # fmt: skip
    assert made.answers is not None
    foreign = sureness[~ours]
    figures = {
        **made.info.scores, "foreign_images": len(foreign), "foreign_rejected": float((foreign < threshold).mean()),
        "foreign_auroc": auroc(sureness[ours], foreign),
    }  # fmt: skip
    with write_atomically(arguments.output) as file:
        file.write(with_info(made.content, replace(made.info, scores=figures)))
    print_answers(made.answers, foreign)
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes")


def print_answers(answers: Answers, foreign: NDArray[np.float32]) -> None:
    """Print how good some answers are, and the sureness of foreign pictures, `(M,)`."""
    scores = score(answers)
    classes = {each.name: each.recall for each in per_class(confusion(answers), answers.names) if each.images}
    print(
        f"right: {scores.accuracy:.2%} of {scores.images:,} ({scores.accuracy_low:.1%} to {scores.accuracy_high:.1%})"
    )
    print(f"mean of the classes: {np.mean(list(classes.values())):.2%}")
    print(", ".join(f"{name} {recall:.1%}" for name, recall in classes.items()))
    print(f"calibration error {scores.calibration_error:.4f}, known {scores.known:.1%}")
    unsure = int((foreign < answers.info.threshold).sum())
    low, high = wilson(unsure, len(foreign))
    area = auroc(answers.sureness, foreign)
    print(f"foreign: {unsure / len(foreign):.1%} of {len(foreign)} unsure ({low:.1%} to {high:.1%}), AUROC {area:.3f}")


if __name__ == "__main__":
    main()
