"""A gate in a test suite: `pytest test_gate.py` in this folder. Installing upbench gives pytest the fixture."""


def test_my_upsampler_stays_small(upbench):
    bounds = {"params": "5k", "macs": "2M", "peak-memory": "3x:bilinear"}
    upbench.gate(
        "own_upsampler:Up", "bilinear", max={f"own_upsampler:Up.{k}": v for k, v in bounds.items()}, shape="32x8x8"
    )
