"""A network that is trained in no time, for tests; processes that they start import it alone."""

STAGES = "stem", "group2", "group3"


def micro_network(
    image_size, depth=10, width=1, stages=3, stem_stride=1, weight_decay=0.0, dropout=0.0, names=STAGES, **heads
):
    """Stands for the wide residual network in runs of which only the stages matter, those of these names."""
    import keras

    from wide_resnet import two_heads

    x = image = keras.Input((image_size, image_size, 3), dtype="uint8", name="image")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(x)
    for name in names:
        x = keras.layers.Conv2D(6, 3, strides=2, name=f"{name}_conv")(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization(name=f"{name}_bn", momentum=0.5)(x))
        x = keras.layers.Dropout(0.2, name=f"{name}_dropout")(x)
    return keras.Model(image, two_heads(keras.layers.GlobalAveragePooling2D()(x), **heads), name="micro")
