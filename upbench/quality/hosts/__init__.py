"""Hosts, one module each: `POINTS` (how many upsamplers it has), `GUIDE` (what guides them) and `build`."""
