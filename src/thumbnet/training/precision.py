"""Which precision a network is trained in: what this machine computes fast, unless the user asks for another."""

from pathlib import Path
from typing import Literal, TypeAlias

Precision: TypeAlias = Literal["auto", "float32", "mixed_bfloat16"]
CPUINFO = Path("/proc/cpuinfo")


def settle(asked: Precision) -> str:
    """The Keras dtype policy that `asked` means on this machine."""
    return fastest() if asked == "auto" else asked


def fastest(cpuinfo: Path = CPUINFO) -> str:
    """The Keras dtype policy that trains fastest here.

    bfloat16 pays where the processor multiplies it (`avx512_bf16`, `amx_bf16`): `docs/experiments.md` has the
    measurements. Where the processor is unknown (no Linux), it is float32.
    """
    try:
        features = set(cpuinfo.read_text().split())
    except OSError:
        return "float32"
    return "mixed_bfloat16" if features & {"avx512_bf16", "amx_bf16"} else "float32"
