"""Relevance of pixels: what the explainers share, and what is made of their maps.

subject        a network as explainers see it
gradients      what explainers that differentiate have in common
stages         what an encoder does inside
lrp            layer-wise relevance propagation
mapper         maps of any records, a batch at a time
parts          the maps of a run while it is being made
explained      what a run leaves, read again
heatmaps       maps as pictures
faithfulness   do the pixels matter to the prediction?
randomisation  do the maps depend on what was learned?
checks         both, of a run
findings       results.json
report         report.html
"""
