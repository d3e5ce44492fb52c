"""Real models: where they upsample feature maps, and the same models with other upsamplers there."""
