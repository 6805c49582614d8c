"""Model file → a model repository for the Triton Inference Server, and a manifest to serve it with KServe."""

import re
from pathlib import Path

from thumbnet.model.classifier import BATCH, Classifier, batch_size

LARGER = 16  # times as many pictures may be in a batch as here, since GPUs need them: of 288 pixels a side 32, in 1 GB

CONFIG = """\
name: "{name}"
backend: "onnxruntime"
max_batch_size: {batch}
input [
  {{ name: "images", data_type: TYPE_UINT8, dims: [ {size}, {size}, 3 ] }}
]
output [
  {{ name: "probabilities", data_type: TYPE_FP32, dims: [ {classes} ], label_filename: "labels.txt" }}{sureness}
]
dynamic_batching {{ }}
"""

SURENESS = """,
  { name: "sureness", data_type: TYPE_FP32, dims: [ 1 ], reshape: { shape: [ ] } }"""  # one number a picture

MANIFEST = """\
# Copy this folder to the place that storageUri names: here, the root of a volume whose claim is called "models". Then:
# kubectl apply -f inference-service.yaml
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {name}
spec:
  predictor:
    model:
      modelFormat:
        name: triton
      protocolVersion: v2
      storageUri: pvc://models
"""


def save(content: bytes, classifier: Classifier, name: str, folder: Path) -> None:
    """Write `config.pbtxt`, `labels.txt` and the unchanged model file under a name that both servers accept.

    Of the model file's outputs, the servers give the probabilities and the sureness.

    Args:
        content: The model file.
        classifier: The loaded model file.
        name: The model's name; what a host's name cannot hold becomes a hyphen.
        folder: The repository to make, with the model's folder and `inference-service.yaml`.
    """
    name, info = host_name(name), classifier.info
    model = folder / name
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.onnx").write_bytes(content)
    (model / "labels.txt").write_text("".join(f"{label}\n" for label in info.names), encoding="utf-8")
    config = CONFIG.format(
        name=name,
        batch=min(BATCH, LARGER * batch_size(info.size)),
        size=info.size,
        classes=len(info.names),
        sureness=SURENESS * classifier.has_sureness,
    )
    (model / "config.pbtxt").write_text(config, encoding="utf-8")
    (folder / "inference-service.yaml").write_text(MANIFEST.format(name=name), encoding="utf-8")


def host_name(name: str) -> str:
    """A name that Kubernetes accepts: lower-case letters, digits and hyphens, a letter first, at most 40 characters."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower())
    return re.sub(r"^[^a-z]+", "", plain)[:40].strip("-") or "model"
