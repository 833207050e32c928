"""The two heads that every network has, on the features of its base: gender and age, each a distribution."""

import keras
import numpy as np
from keras import layers, ops

from labels import NUM_AGES, NUM_GENDERS


def two_heads(x, penalty: float = 0.0, use_bias: bool = True, num_ages: int = NUM_AGES, ordinal: bool = False) -> list:
    """The outputs every model has, in this order and under these names: [pred_gender, pred_age].

    They compute in float32 whatever the policy, since a softmax over 101 classes is too fine for 16 bits.

    Args:
        x: (n, features) of a Keras model under construction.
        penalty: factor of the L2 penalty on the kernels.
        use_bias: whether the softmax heads have one.
        num_ages: classes of the age head, 101 for the ages 0..100.
        ordinal: whether the age head is `OrdinalAges` instead of a softmax.

    Returns:
        [(n, 2), (n, num_ages)], rows sum to 1.
    """
    regularizer = keras.regularizers.L2(penalty) if penalty else None

    def softmax(classes, name):
        return layers.Dense(
            classes,
            activation="softmax",
            use_bias=use_bias,
            dtype="float32",
            kernel_initializer="he_normal",
            kernel_regularizer=regularizer,
            name=name,
        )

    if ordinal:
        age = OrdinalAges(num_ages, kernel_regularizer=regularizer, dtype="float32", name="pred_age")
    else:
        age = softmax(num_ages, "pred_age")
    return [softmax(NUM_GENDERS, "pred_gender")(x), age(x)]


class OrdinalAges(layers.Layer):
    """An ordinal head: one score for a face, and one threshold between each two neighbouring ages.

    The probability of being above class k is the sigmoid of score and threshold k (Cao, Mirjalili, Raschka, CORAL,
    arXiv:1901.07884, section 3.2). The paper shows that trained thresholds descend (theorem 1); here they
    cannot do otherwise, each being the one before less a softplus, so that differences of neighbouring probabilities
    are a distribution at any time.

    Call: (n, features) -> (n, classes), rows sum to 1.
    """

    def __init__(self, classes: int, kernel_regularizer=None, **more):
        super().__init__(**more)
        self.classes, self.kernel_regularizer = classes, kernel_regularizer

    def build(self, shape):
        self.kernel = self.add_weight(
            name="kernel", shape=(shape[-1], 1), initializer="zeros", regularizer=self.kernel_regularizer
        )
        # Such thresholds that every class is as likely as any other at first.
        above = 1 - np.arange(1, self.classes) / self.classes
        thresholds = np.log(above / (1 - above))
        steps = np.log(np.expm1(thresholds[:-1] - thresholds[1:]))  # what a softplus makes the differences
        start = np.r_[thresholds[:1], steps].astype(np.float32)
        self.threshold = self.add_weight(
            name="threshold", shape=(self.classes - 1,), initializer=lambda shape, dtype: ops.cast(start, dtype)
        )

    def call(self, x):
        first, steps = self.threshold[:1], ops.softplus(self.threshold[1:])
        thresholds = ops.concatenate([first, first - ops.cumsum(steps)])
        above = ops.sigmoid(ops.matmul(x, self.kernel) + thresholds)  # (n, classes - 1), descending
        edge = ops.zeros_like(above[:, :1])
        return ops.concatenate([edge + 1, above], axis=1) - ops.concatenate([above, edge], axis=1)

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.classes)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}
