"""The fixed text of the page of published figures."""

HEAD = """# Published complexity figures of feature upsamplers, counted again

Papers on feature upsampling print for each method what it adds to a host model: parameters and FLOPs. This page counts
them again. upbench builds each upsampler, equal to what its authors released, at the places where the paper puts it,
counts the built module, and lays the sum beside the printed figure. IndexNet was not released as an upsampler of its
own; it is built as the decoder half of its matting network, which is what SAPA's Table 1 counts. One
multiply-accumulate counts as one FLOP, as in the papers.

That a figure is not reproduced says that nothing we tried gives it. It does not say that it is wrong: papers seldom
print the stages, the input size and the rule by which they counted, and any of them may differ from what we took. It
says nothing about accuracy. Corrections are welcome. Made by `upbench reproduce --format markdown`.
"""
"""The head of the page."""

DEFINITIONS = """## What the verdicts mean

**As stated**: the sum over the stages, under the settings that the paper states (else the defaults of the release),
rounded to nearest, is the printed figure, counted as its column counts. A column counts as its paper declares; SAPA
does, in its Table 1. Where the paper does not say, it counts by the one convention that gives most of the column (then
most of the paper), and a figure of that column that needs another convention is not *as stated*. A figure printed as
+0.1M is known to half a unit of its last place, no better: 50,000 to 150,000.

**With a departure**: rounded to nearest, but with at most {departures} changes of what is stated: other stages, another
setting, another version of the module, another convention, another way of counting. A change of the model must give
both figures of its row, parameters and FLOPs. What may be tried is a list with reasons, the same for every row; values
of settings are tried only where a paper's main tables, a README or a release uses them.

**Only by odd rounding**: truncated; rounded twice (0.747 to 0.75 to 0.8); or raised, an amount that would be printed as
0.0 printed as 0.1. It counts as one of the {departures} changes.

**Not reproduced**: none of these. An explanation with changes is also none when {chance} or more of the neighbouring
figures, up to three units of the last place away, would have one as good.

Of several explanations the one with the fewest changes is taken; then one that counts as the column does; then the one
whose changes explain most figures of the paper; then rounding to nearest.

| convention | adds up |
|---|---|
| P0 | weights and position biases |
| P1 | P0 and the biases of convolutions and linear layers |
| P2 | P1 and the norms: all parameters of the module |
| F0 | convolutions and linear layers |
| F1 | what hooks on modules see: F0, biases, norms at 2 per element, activations, pooling; no gathers |
| F2 | F0 and query-key products |
| F3 | F2, point sampling (4 per bilinear value) and assembly |
| F4 | F3 and the fusion by a gate |
| all | everything, norms and element-wise arithmetic included |
"""
"""The section on verdicts; it takes `departures` and `chance`."""

STAGES = """## Where the stages come from

Channels and stages follow the papers' texts and the released code of the hosts. The input sizes are seldom printed; they
are those at which most figures of a host come out (1280x800 for Faster R-CNN, 512x512 for SegFormer-B1 and A2U
matting, 640x640 for MaskFormer and Mask2Former): one choice for a whole column. The channels of DepthFormer are
solved from three of its printed parameter increments. For these the agreement of single figures is weaker evidence
than its consistency over a column. Parameters do not depend on the input size. `upbench/papers/hosts.yaml` has every
stage with its reasons.
"""
"""The section on stages."""

HOW_TO_READ = """Published and ours, the convention under which ours was added up, and a command that prints the sum stage by
stage. Where a figure is not reproduced, ours is the sum under what is stated.
"""
"""The paragraph above the tables of all figures."""
