"""Ages and genders of faces in pictures. What another program needs is `Predictor`; docs/api.md says more."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from age_gender.predictor import Face, Predictor
    from age_gender.runtimes import Model, open_model

__version__ = "0.17.0"
__all__ = ["Face", "Model", "Predictor", "open_model"]


def __getattr__(name: str) -> Any:
    """Imports a name of the library when it is first asked for, so that a command's --help need not load OpenCV."""
    if name not in __all__:
        raise AttributeError(f"module 'age_gender' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module("age_gender.predictor"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})  # what a notebook offers to complete
