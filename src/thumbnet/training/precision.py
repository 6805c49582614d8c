"""What this machine computes fast."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def settle(asked: str) -> str:
    """The dtype policy that a recipe's precision means on this machine."""
    return fastest() if asked == "auto" else asked


def fastest(cpuinfo: Path = CPUINFO) -> str:
    """The Keras dtype policy that trains fastest here.

    bfloat16 pays where the processor multiplies it (`avx512_bf16`, `amx_bf16`): measured in `docs/experiments.md`.
    Where that cannot be told (no Linux), float32.
    """
    try:
        features = set(cpuinfo.read_text().split())
    except OSError:
        return "float32"
    return "mixed_bfloat16" if features & {"avx512_bf16", "amx_bf16"} else "float32"
