"""How model files do on full-size photographs of their classes and of other things.

    python benchmarks/photographs.py FOLDER [--model NAME|FILE …] [--held-out PHOTOGRAPHS] [--framings]

FOLDER has a subfolder of photographs for each class, named as the models' classes; photographs in any other subfolder
are foreign, and the right answer to them is "unsure". Each model looks once and, with two views, also at the middle.
With --held-out, two more tables show PHOTOGRAPHS of several collections, from which `cifar10-photo` was made: each is
answered by a head that has not learnt from its collection (benchmarks/make_photo_model.py), and by the models but this.

AUROC: how often a photograph of a class has more sureness than a foreign one. "Unsure at 95 %": the share of the
foreign ones that is unsure where 95 % of these photographs' right answers are known. Intervals are of 95 %: Wilson's,
or by drawing the photographs of each class again, 1,000 times.

With --framings, it compares the ways in which a picture is made square instead.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import make_photo_model
import numpy as np
from numpy.typing import NDArray

import thumbnet
from thumbnet.evaluation.scores import Answers, auroc, calibration_error, wilson
from thumbnet.model.classifier import Asked, Classifier, together
from thumbnet.pictures.decode import RGB, decode
from thumbnet.pictures.framing import FRAMINGS, resize, views
from thumbnet.transfer.familiarity import threshold

MODELS = ("cifar10-photo", "cifar10-best")
DRAWS = 1000


class Seen(NamedTuple):
    """A model's answers to photographs."""

    name: str
    answers: Answers  # to those of its classes
    foreign: NDArray[np.float32]  # (M,), its sureness of the others


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", nargs="+", default=MODELS)
    parser.add_argument("--held-out", type=Path, metavar="PHOTOGRAPHS")
    parser.add_argument("--framings", action="store_true")
    arguments = parser.parse_args()
    models = {Path(name).stem: thumbnet.load(name) for name in arguments.model}
    if arguments.framings:
        for classifier in models.values():
            compare_framings(classifier, arguments.folder)
        return
    show([seen for name, classifier in models.items() for seen in look(name, classifier, files_in(arguments.folder))])
    if arguments.held_out:
        left_out = hold_out(models["cifar10-photo"], arguments.held_out)
        files = [path for path in files_in(arguments.held_out) if path.name not in make_photo_model.AMBIGUOUS]
        others = [look(name, each, files) for name, each in models.items() if name != "cifar10-photo"]
        show([left_out, *(seen for both in others for seen in both)])


def files_in(folder: Path) -> list[Path]:
    """The files of all subfolders."""
    return sorted(path for path in folder.glob("*/*") if path.is_file())


def truth(classifier: Classifier, files: Sequence[Path]) -> NDArray[np.int64]:
    """The class of each file, `(N,)`; -1 for a foreign one."""
    names = classifier.info.names
    return np.array([names.index(path.parent.name) if path.parent.name in names else -1 for path in files])


def look(name: str, classifier: Classifier, files: Sequence[Path]) -> list[Seen]:
    """The model's answers by one view and by two."""
    size, framing = classifier.info.size, classifier.info.framing
    labels = truth(classifier, files)
    return [
        seen(name, classifier, ask(classifier, files, lambda picture: resize(picture, size, framing)[None]), labels),
        seen(
            f"{name}, two views", classifier,
            ask(classifier, files, lambda picture: views(picture, size, framing)), labels,
        ),
    ]  # fmt: skip


def ask(classifier: Classifier, files: Sequence[Path], squares: Callable[[RGB], NDArray[np.uint8]]) -> Asked:
    """The model's outputs for each file by its squares, `(V, S, S, 3)`."""
    rows = []
    for path in files:
        shown = squares(decode(path.read_bytes(), classifier.info.size))
        rows.append(together(classifier.ask(shown), [len(shown)]))
    return Asked(*map(np.concatenate, zip(*rows, strict=True)))


def seen(name: str, classifier: Classifier, asked: Asked, labels: NDArray[np.int64]) -> Seen:
    """Outputs for N photographs, of which those with the label -1 are foreign."""
    ours = labels >= 0
    answers = Answers(classifier.info, labels[ours], asked.probabilities[ours], asked.sureness[ours])
    return Seen(name, answers, asked.sureness[~ours])


def hold_out(classifier: Classifier, folder: Path) -> Seen:
    """The answers to each photograph by what was learnt without its collection; the threshold is the file's."""
    network, imagenet = make_photo_model.open_parts()
    photographs = make_photo_model.read_photographs(folder, network)
    images = make_photo_model.read_images(network)
    held = make_photo_model.hold_out(photographs, images, network, imagenet)
    asked = Asked(held.probabilities, held.sureness[make_photo_model.POWER])
    return seen("cifar10-photo, collection left out", classifier, asked, photographs.labels)


def show(rows: Sequence[Seen]) -> None:
    """Print a table of figures and one of the classes."""
    first = rows[0]
    print(f"\n{len(first.answers.labels):,} photographs of the models' classes, {len(first.foreign):,} foreign ones\n")
    print("| model | right | mean of the classes | calibration error | right ones known | foreign ones unsure ", end="")
    print("| unsure at 95 % | AUROC |\n|---|---|---|---|---|---|---|---|")
    for name, answers, foreign in rows:
        limit = threshold(answers.sureness, answers.right)
        cells = [
            share(answers.right),
            drawn(recalls(answers).mean(), again(answers, foreign, lambda one, _: recalls(one).mean()), "{:.1%}"),
            f"{calibration_error(answers.confidence, answers.right):.3f}",
            f"{answers.known[answers.right].mean():.1%}",
            share(foreign < answers.info.threshold),
            drawn(
                (foreign < limit).mean(),
                again(answers, foreign, lambda one, other: (other < threshold(one.sureness, one.right)).mean()),
                "{:.1%}",
            ),
            drawn(
                auroc(answers.sureness, foreign),
                again(answers, foreign, lambda one, other: auroc(one.sureness, other)), "{:.3f}",
            ),
        ]  # fmt: skip
        print(f"| {name} | {' | '.join(cells)} |")
    present = np.unique(first.answers.labels)
    print("\n| right | " + " | ".join(first.answers.names[label] for label in present) + " |")
    print("|---" * (len(present) + 1) + "|")
    for name, answers, _ in rows:
        print(f"| {name} | " + " | ".join(f"{recall:.1%}" for recall in recalls(answers)) + " |")


def recalls(answers: Answers) -> NDArray[np.float64]:
    """The share of each class's photographs that is answered rightly, for classes that have some."""
    present = np.unique(answers.labels)
    return np.array([answers.right[answers.labels == label].mean() for label in present])


def share(yes: NDArray[np.bool_]) -> str:
    """A share with its interval."""
    return drawn(yes.mean(), wilson(int(yes.sum()), len(yes)), "{:.1%}")


def drawn(value: float, bounds: tuple[float, float], form: str) -> str:
    """A figure with its interval."""
    return f"{form.format(value)} ({' to '.join(map(form.format, bounds))})"


def again(
    answers: Answers, foreign: NDArray[np.float32], figure: Callable[[Answers, NDArray[np.float32]], float]
) -> tuple[float, float]:
    """The interval of a figure, by drawing the photographs of each class again."""
    random = np.random.default_rng(0)
    groups = [np.flatnonzero(answers.labels == label) for label in np.unique(answers.labels)]
    found = []
    for _ in range(DRAWS):
        rows = np.concatenate([random.choice(group, len(group)) for group in groups])
        one = Answers(answers.info, answers.labels[rows], answers.probabilities[rows], answers.sureness[rows])
        found.append(figure(one, random.choice(foreign, len(foreign))))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def compare_framings(classifier: Classifier, folder: Path) -> None:
    """Print a row for each way to make a picture square, and for one view and two."""
    files = files_in(folder)
    pictures = [decode(path.read_bytes()) for path in files]
    labels = truth(classifier, files)  # (N,)
    ours = labels >= 0
    print(f"{ours.sum()} photographs of the model's classes, {(~ours).sum()} foreign ones\n")
    print("| made square by | views | right | of these known | wrong ones known | foreign ones unsure | AUROC |")
    print("|---|---|---|---|---|---|---|")
    for framing in FRAMINGS:
        size = classifier.info.size
        one = [resize(picture, size, framing)[None] for picture in pictures]  # (1, S, S, 3) each
        two = [views(picture, size, framing) for picture in pictures]  # (V, S, S, 3) each
        for seen in (one, two):
            counts = [len(views) for views in seen]
            probabilities, sureness = together(classifier.ask(np.concatenate(seen)), counts)  # (N, C), (N,)
            right = (probabilities.argmax(axis=1) == labels)[ours]
            known = sureness >= classifier.info.threshold  # (N,)
            shares = right, known[ours][right], known[ours][~right], ~known[~ours]
            told = " | ".join(f"{share.mean():.1%}" for share in shares)
            print(f"| {framing} | {max(counts)} | {told} | {auroc(sureness[ours], sureness[~ours]):.3f} |")


if __name__ == "__main__":
    main()
