"""Tasks, one module each: `METRICS` (name -> head of its column), `loss(logits, masks, runs)` and `Scores`."""
