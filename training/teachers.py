"""Teachers: earlier checkpoints whose answers to the training faces are mixed into the labels."""

import numpy as np

from age_gender.labels import NUM_GENDERS, fold_ages
from networks import open_model, predict_rows
from training.data import Data, Teacher
from training.options import Options
from training.starting import say_if_it_saw
from utils import ImageStack


def ask_teachers(data: Data, options: Options) -> Teacher | None:
    """What the --teacher checkpoints say of the training faces on average: (n, 2) and (n, k), zeros elsewhere."""
    if not options.teacher:
        return None
    scale, rows = options.age_scale, data.training
    gender = np.zeros((len(data.image), NUM_GENDERS), np.float32)
    age = np.zeros((len(data.image), len(scale.groups)), np.float32)
    for path in options.teacher:
        model = open_model(path)
        description = model.description
        print(f"{path} teaches", flush=True)
        say_if_it_saw(description, data)
        genders, ages = predict_rows(model, ImageStack(data.databases, description.image_size), rows)
        ages, _ = fold_ages(ages, description.age_scale, scale)
        for mean, said in ((gender, genders), (age, ages)):
            mean[rows] += said / len(options.teacher)
    return gender, age
