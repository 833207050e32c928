"""The choices of `train.py --aug`: name -> fields of mixup_generator.Augmentation. No Keras is needed to know them."""

_CLASSIC = {"mixup_alpha": 0.2, "shift": 0.1, "flip": 0.5, "erase": 0.5}
_STRONG = _CLASSIC | {"shift": 0.06, "rotate": 10.0, "scale": 0.12, "light": 0.2, "grey": 0.1}

AUGMENTATIONS: dict[str, dict[str, float]] = {
    "none": {"mixup_alpha": 0.0},
    "classic": _CLASSIC,
    "strong": _STRONG,
    # What ends a training: without mixtures, with less erasing, and mostly as sharp as the faces that are to be judged.
    # A network that has seen resampled faces alone takes sharp ones for older (docs/EXPERIMENTS.md); so Touvron et al.,
    # "Fixing the train-test resolution discrepancy", arXiv:1906.06423, section 3.
    "gentle": _STRONG | {"mixup_alpha": 0.0, "erase": 0.25, "whole": 0.5, "cubic": 0.5},
    # Other people's cameras and other detectors' boxes: framings drawn wide, coarse and much compressed pictures.
    "wide": _STRONG
    | {"mixup_alpha": 0.0, "shift": 0.08, "erase": 0.25, "rotate": 15.0, "scale": 0.35, "light": 0.35, "grey": 0.15}
    | {"whole": 0.3, "cubic": 0.5, "coarse": 0.25, "jpeg": 0.25},
}
