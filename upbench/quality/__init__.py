"""A proxy of an upsampler's quality: a tiny network trained from scratch around it, on paired seeds, with its uncertainty.

Tasks, hosts and kinds of data are one file each in `tasks`, `hosts` and `data`; what stands there can be named.
"""
