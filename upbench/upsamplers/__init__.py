"""The zoo: one file per paper, each only the wiring between small learned layers and `upbench.ops`."""
