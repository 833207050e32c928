"""Reads faces: what another program installs. Boxes, the one crop, models as they are exported, and the predictor."""
