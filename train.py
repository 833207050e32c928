"""Trains a network with two heads, gender and age, on face databases made by create_db.py.

    python train.py --aug                                   # the newest database in data/
    python train.py --input data/imdb_db.mat data/wiki_db.mat --aug --output_path checkpoints/both
    python train.py --model efficientnet_b0 --freeze_epochs 3 --opt adamw --lr 0.001 --aug    # from ImageNet's weights
    python train.py --resume                                # goes on where a stopped run was

Keeps the checkpoint of the best validation loss, history.csv, training_curve.png and TensorBoard's logs in
--output_path. WRN-16-8 at 64 px needs a GPU for a dataset like WIKI; WRN-16-2 is the choice for a CPU.
"""

import argparse
import sys
import time
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np

from age_gender import cli
from age_gender.labels import AGE_SCALES, GENDERS, NUM_GENDERS, UNKNOWN, YEARS, AgeScale, age_scale

MONITORS = {  # is less better?
    "val_loss": True,
    "val_pred_age_mae": True,
    "val_pred_age_accuracy": False,  # of age groups alone
    "val_pred_gender_accuracy": False,
}
DEFAULT_RATES = {"sgd": 0.1, "adam": 0.001, "adamw": 0.002}
DEFAULT_DECAYS = {"sgd": 5e-4, "adam": 5e-4, "adamw": 0.02}
AUGMENTATION_NAMES = ("none", "classic", "strong", "gentle")
MIXUP_ALPHAS = {"none": 0.0, "classic": 0.2, "strong": 0.2, "gentle": 0.0}
SOFT_LOSSES = ("ldl", "dldl_v2")
AGE_LOSS_NAMES = ("cross_entropy", "ldl", "dldl_v2", "mean_variance", "coral")
NOT_OF_THE_RUN = {"resume", "restart", "output_path"}  # arguments that do not say what is trained
SPLIT_NAMES = ("validation_split", "test_split", "parts", "fold", "seed", "databases")  # what decides who is held out
WIDE_RESNET_ARGUMENTS = {"depth": 16, "width": 8, "stages": 3, "stem_stride": 1}  # and their defaults
FINE_TUNE_SHARE = 0.1  # of --lr, for what was frozen
WARMUP_STEPS = 500  # at most, and at most a tenth of the run
CONSTANT_AGE = 1.0  # years: expected ages that spread less than this are one answer for every face
LEARNING_STEPS = 500  # a run shorter than this may still answer every face alike without having collapsed


class Phase(NamedTuple):
    """Epochs of a run with one choice of what is trained.

    Attributes:
        name: in words, for the log.
        first, last: its epochs are first + 1 to last, counted from 1.
        stages: how many of the network's last stages are trained beside the heads; None means all.
        lr: highest learning rate.
    """

    name: str
    first: int
    last: int
    stages: int | None
    lr: float


@dataclass
class Data:
    """The faces of a run: what they are and which rows train and validate."""

    databases: list
    image: object  # takes arrays of rows, (n, size, size, 3) uint8 BGR
    age: np.ndarray  # class on the scale
    gender: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    age_std: np.ndarray | None = None  # years, NaN where not known
    scale: AgeScale = YEARS


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    from networks.models import BACKBONES

    parser = cli.parser_for(__doc__, "train.py [--input FILE ...] [--aug] [--output_path DIR] [options]")
    data = parser.add_argument_group("data")
    data.add_argument(
        "--input", "-i", type=Path, nargs="+", metavar="FILE", help="databases (default: the newest .mat in data/)"
    )
    data.add_argument(
        "--validation_split",
        type=cli.number(float, 0, 1, exclusive=True),
        default=0.1,
        metavar="SHARE",
        help="share of the faces held out to choose the checkpoint by, whole people at a time",
    )
    data.add_argument(
        "--test_split",
        type=cli.number(float, 0, 0.9),
        default=0.0,
        metavar="SHARE",
        help="share of the faces kept out of training and choice, the same for the same databases whatever the seed; "
        "evaluate.py scores them",
    )
    data.add_argument(
        "--split",
        choices=("random", "part"),
        default="random",
        help="part: faces that their dataset has in a part named train, valid or test stand there; others as random",
    )
    data.add_argument(
        "--fold",
        type=cli.number(int, 0),
        metavar="N",
        help="keep the dataset's own fold N for the test, such as 0 to 4 of Adience",
    )
    data.add_argument(
        "--aug",
        choices=AUGMENTATION_NAMES,
        nargs="?",
        default="none",
        const="classic",
        help="classic, if not said otherwise: mixup, shifts, mirror images and random erasing; strong: "
        "rotation, scale, light and loss of colour too; gentle: strong without mixup, half of the faces kept sharp, "
        "to end a training with",
    )
    data.add_argument(
        "--mixup_alpha",
        type=cli.number(float, 0, 10),
        metavar="ALPHA",
        help="of the Beta distribution that the shares of two mixed faces come from; 0 mixes none (default: 0.2 where "
        "--aug is classic or strong, else 0)",
    )
    data.add_argument(
        "--seed",
        type=cli.number(int, 0),
        default=0,
        metavar="N",
        help="of the split, the order, the augmentation and the first weights",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--model",
        choices=BACKBONES,
        default="wide_resnet",
        metavar="NAME",
        help=f"network, of {', '.join(BACKBONES)}; inception_resnet_v2 takes images of 75 pixels or more, others of 32",
    )
    network.add_argument(
        "--depth", type=int, choices=(10, 16, 22, 28, 34, 40), help="depth of the wide_resnet (default: 16)"
    )
    network.add_argument(
        "--width", type=cli.number(int, 1, 32), metavar="K", help="width of the wide_resnet (default: 8)"
    )
    network.add_argument("--stages", type=int, choices=(3, 4), help="wide_resnet: groups of blocks (default: 3)")
    network.add_argument(
        "--stem_stride",
        type=int,
        choices=(1, 2, 4),
        help="wide_resnet: 2 halves the image first: a quarter of the work; 4 sees images of twice the size at the "
        "work of 2 (default: 1)",
    )
    network.add_argument(
        "--dropout",
        type=cli.number(float, 0, 0.9),
        default=0.0,
        metavar="SHARE",
        help="share dropped within each block of the wide_resnet, of other networks' features before the heads",
    )
    network.add_argument(
        "--weight_decay",
        type=cli.number(float, 0, 1),
        metavar="DECAY",
        help="of all kernels: half of it is the L2 penalty, for adamw it is the decoupled decay, times the rate "
        "(default: 0.0005, for adamw 0.02)",
    )
    network.add_argument(
        "--mirror",
        action="store_true",
        help="the finished model averages what it says of an image and of its mirror image; validation does not",
    )
    transfer = parser.add_argument_group("transfer learning")
    transfer.add_argument(
        "--weights",
        metavar="imagenet|none|FILE",
        help="what to start from: imagenet, which Keras downloads; none; a checkpoint, or the best of this folder's "
        "newest run, of the same network (layers that it lacks start anew, a block that it lacks as the identity); "
        "for vgg16 and resnet50 also a published VGGFace file (default: none for wide_resnet, imagenet for others)",
    )
    transfer.add_argument(
        "--freeze_epochs",
        type=cli.number(int, 0),
        default=0,
        metavar="N",
        help="of --nb_epochs, the first that train the heads alone, on a frozen network with batch norm in inference "
        "mode; the others train all of it, or --unfreeze_stages",
    )
    transfer.add_argument(
        "--fine_tune_lr",
        type=cli.number(float, 0, exclusive=True),
        metavar="RATE",
        help="highest learning rate after --freeze_epochs (default: a tenth of --lr)",
    )
    transfer.add_argument(
        "--unfreeze_stages",
        type=cli.number(int, 1),
        metavar="N",
        help="train the last N stages of the network and the heads, and leave the others frozen to the end",
    )
    loss = parser.add_argument_group("loss")
    loss.add_argument(
        "--age_scale",
        type=cli.checked(age_scale),
        default=YEARS.name,
        metavar="SCALE",
        help=f"classes of the age head: {', '.join(AGE_SCALES)}, or groups of years such as 0-12,13-17,18-100",
    )
    loss.add_argument(
        "--teacher",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="checkpoints, or folders of runs, whose average answer to each training face is mixed into its labels, "
        "which makes noisy labels less noisy; they must not have seen the faces held out",
    )
    loss.add_argument(
        "--teacher_weight",
        type=cli.number(float, 0, 1, exclusive=True),
        metavar="SHARE",
        help="of the teachers' answer in the labels (default: 0.5)",
    )
    loss.add_argument(
        "--age_loss",
        choices=AGE_LOSS_NAMES,
        default="cross_entropy",
        help="cross-entropy on the classes; ldl: soft labels around the true age; dldl_v2: these and the error of the "
        "expected age; mean_variance: cross-entropy, that error squared and the variance; coral: an ordinal head",
    )
    loss.add_argument(
        "--age_sigma",
        type=cli.number(float, 0, 50, exclusive=True),
        metavar="YEARS",
        help="width of the soft labels of ldl and dldl_v2 (default: 2)",
    )
    loss.add_argument(
        "--age_error_weight",
        type=cli.number(float, 0, 100),
        metavar="W",
        help="of the error of the expected age in dldl_v2, in years (default: 1)",
    )
    loss.add_argument(
        "--age_spread",
        action="store_true",
        help="soft labels as wide as the opinions on each face spread, where the database knows (APPA-REAL's apparent "
        "ages), --age_sigma at least",
    )
    loss.add_argument(
        "--gender_weight",
        type=cli.number(float, 0, 100),
        default=1.0,
        metavar="W",
        help="of the gender loss; the age loss has 1",
    )
    fit = parser.add_argument_group("training")
    fit.add_argument("--nb_epochs", type=cli.number(int, 1), default=30, metavar="N", help="epochs")
    fit.add_argument("--batch_size", type=cli.number(int, 1), default=32, metavar="N", help="faces in a batch")
    fit.add_argument("--opt", choices=DEFAULT_RATES, default="sgd", help="optimiser; sgd has Nesterov momentum 0.9")
    fit.add_argument(
        "--lr",
        type=cli.number(float, 0, exclusive=True),
        metavar="RATE",
        help="highest learning rate (default: 0.1 for sgd, 0.001 for adam, 0.002 for adamw)",
    )
    fit.add_argument(
        "--schedule",
        choices=("steps", "cosine"),
        default="steps",
        help="steps: the rate is divided by 5 at 1/4, 1/2 and 3/4 of the epochs; cosine: half a cosine down to 0",
    )
    fit.add_argument(
        "--ema",
        type=cli.number(float, 0, 1, exclusive=True),
        metavar="MOMENTUM",
        help="validate and keep a moving average of the weights, such as 0.998, instead of the weights themselves; "
        "batch norm's statistics are the current ones",
    )
    fit.add_argument("--monitor", choices=MONITORS, default="val_loss", help="what makes a checkpoint the best")
    fit.add_argument(
        "--patience",
        type=cli.number(int, 0),
        default=0,
        metavar="EPOCHS",
        help="end after so many epochs without a better checkpoint, counted after --freeze_epochs; 0 never does",
    )
    fit.add_argument(
        "--mixed_precision",
        choices=("bfloat16", "float16"),
        nargs="?",
        const="bfloat16",
        help="compute in 16 bits, bfloat16 if not said otherwise; GPUs gain, and CPUs with AVX-512 BF16 or AMX",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--output_path", type=Path, default=Path("checkpoints"), metavar="DIR", help="folder for checkpoints and logs"
    )
    output.add_argument(
        "--resume", action="store_true", help="continue the stopped run in --output_path, with its own arguments"
    )
    output.add_argument("--restart", action="store_true", help="discard the stopped run in --output_path")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Parse, load, build, fit, report."""
    args, stopped = parse(argv)
    data = load_data(args)
    args.output_path.mkdir(parents=True, exist_ok=True)

    from networks import backend

    print(f"computing on {backend.start()}", flush=True)
    import keras

    from evaluation.metrics import trivial_answers
    from networks.models import STAGES
    from training.callbacks import (
        Epochs,
        Journal,
        KeepBest,
        PlainValidationLoss,
        Resume,
        StopAtNan,
        train_last_stages,
    )
    from training.resume import set_dropout_seeds

    teacher = ask_teachers(data, args)  # first: in full precision, and without a part in the seed's draws
    keras.utils.set_random_seed(args.seed)
    if args.mixed_precision:
        keras.mixed_precision.set_global_policy(f"mixed_{args.mixed_precision}")
    training, validation = make_batches(data, args, teacher)
    trivial = trivial_answers(data.age[data.training], data.gender[data.training], args.age_scale)
    checkpoint = describe(data, args, trivial)
    model = build_model(checkpoint, args, args.lr)
    announce(data, checkpoint, model)
    refuse_blind_monitor(args.monitor, data)

    guard, plain_loss = StopAtNan(), PlainValidationLoss(args.gender_weight)
    averaged = [keras.callbacks.SwapEMAWeights()] if args.ema else []  # validates the averages
    boards = tensorboard(args.output_path)
    best = KeepBest(
        args.output_path,
        writer(model, checkpoint, averaged),
        args.monitor,
        MONITORS[args.monitor],
        args.patience,
        stopped.get("best"),
    )
    journal = Journal(args.output_path, args.nb_epochs, schedule(args, len(training)), stopped.get("history"))
    resume = Resume(
        args.output_path,
        lambda: {"arguments": plain(args), "best": best.state, "history": journal.rows, "split": checkpoint.split},
    )
    if not stopped:
        start_from(model, args, checkpoint)
    elif stopped["split"] != checkpoint.split:
        raise ValueError("the databases are not those that the stopped run was trained on; --restart discards it")
    if args.restart:
        resume.path.unlink(missing_ok=True)
    done = stopped.get("epoch", 0)
    try:
        for phase in phases(args):
            if phase.last < done:
                continue
            rate = schedule(args, len(training), phase)
            train_last_stages(model, STAGES[args.model], phase.stages)
            compile_model(model, args, rate)
            if phase.first < done:  # the phase that the stopped run was in
                model.optimizer.build(model.trainable_variables)
                model.load_weights(resume.path)
                set_dropout_seeds(model, stopped["dropout_seeds"])
            best.begin_phase(args.patience if phase.last == args.nb_epochs else 0, anew=done <= phase.first)
            trained = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
            journal.begin_phase(rate, trained)
            if args.freeze_epochs or args.unfreeze_stages:
                print(f"epochs {phase.first + 1} to {phase.last}: {phase.name}, {trained:,} parameters", flush=True)
            model.fit(
                training,
                validation_data=validation,
                epochs=phase.last,
                initial_epoch=max(done, phase.first),
                shuffle=False,
                verbose=0,
                callbacks=[guard, Epochs(training), *averaged, plain_loss, *boards, best, journal, resume],
            )
            if guard.stopped:
                break
    except KeyboardInterrupt:
        done = resume.saved or done
        print(f"\nstopped after {done} whole epochs" + (f"; --resume goes on at epoch {done + 1}" if done else ""))
        raise
    resume.path.unlink(missing_ok=True)  # finished, or not worth continuing
    return report(args, data, checkpoint, best, journal, guard, steps=len(training) * len(journal.rows))


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, dict]:
    """The arguments, and what a stopped run left: {} unless it is resumed.

    A resumed run has its own arguments as defaults; an argument that says otherwise is refused.
    """
    from networks.models import STAGES, choose
    from training.resume import RESUME_FILE, read_resume

    parser = build_parser()
    args = parser.parse_args(argv)
    stopped = {}
    if args.resume and args.restart:
        parser.error("--resume and --restart exclude each other")
    if args.resume:
        stopped = read_resume(args.output_path)
        if stopped["arguments"].keys() != vars(args).keys() - NOT_OF_THE_RUN:
            raise ValueError(
                f"the run in {args.output_path} was stopped in a version with other options; --restart discards it"
            )
        parser.set_defaults(**stopped["arguments"])  # a text that stands for a value is parsed again
        args = parser.parse_args(argv)
        changed = [name for name, value in stopped["arguments"].items() if plain(args)[name] != value]
        if changed:
            parser.error(f"the stopped run had another --{' --'.join(changed)}; leave it out, or --restart")
    elif (left := args.output_path / RESUME_FILE).exists() and not args.restart:
        parser.error(
            f"{left} is a stopped run: --resume continues it, --restart discards it, "
            "another --output_path leaves it alone"
        )
    if args.fold is not None and args.test_split:
        parser.error("--fold keeps that fold for the test, --test_split a share of all faces: choose one")
    if args.split == "part" and args.fold is not None:
        parser.error("--split part takes the parts named train, valid and test, --fold those named fold_N: choose one")
    if not stopped and args.age_error_weight is not None and args.age_loss != "dldl_v2":
        parser.error(f"--age_error_weight is for --age_loss dldl_v2; this is {args.age_loss}")
    if not stopped and args.age_sigma is not None and args.age_loss not in SOFT_LOSSES:
        parser.error(f"--age_sigma is for --age_loss ldl and dldl_v2; {args.age_loss} has hard labels")
    if not stopped and args.teacher_weight is not None and not args.teacher:
        parser.error("--teacher_weight is for --teacher: name a checkpoint")
    if args.age_spread and args.age_loss not in SOFT_LOSSES:
        parser.error(f"--age_spread is for --age_loss ldl and dldl_v2; {args.age_loss} has hard labels")
    if args.age_spread and args.age_scale != YEARS:
        parser.error(f"--age_spread is for ages in years; --age_scale {args.age_scale.name} has groups")
    if args.monitor == "val_pred_age_accuracy" and args.age_scale == YEARS:
        parser.error("--monitor val_pred_age_accuracy is for age groups; ages in years have val_pred_age_mae")
    refuse_idle_network_options(parser, args, bool(stopped))
    complete(args)
    there_are = args.stages if args.model == "wide_resnet" else len(STAGES[args.model]) + 1
    if args.unfreeze_stages and args.unfreeze_stages > there_are:
        parser.error(f"--unfreeze_stages {args.unfreeze_stages}: {args.model} has {there_are}")
    if not stopped:  # files, since a folder's newest run may be this one when it is resumed
        args.weights = str(weights_file(args) or args.weights or "") or None
        args.teacher = [choose(path, "") for path in args.teacher] if args.teacher else None
    args.input = [Path(path) for path in args.input] if args.input else [newest_database()]
    return args, stopped


def refuse_idle_network_options(parser: argparse.ArgumentParser, args: argparse.Namespace, resumed: bool) -> None:
    """Refuses options of another network, and options of transfer learning where nothing is transferred."""
    wide = args.model == "wide_resnet"
    if idle := [name for name in WIDE_RESNET_ARGUMENTS if not wide and getattr(args, name) is not None]:
        parser.error(f"--{' --'.join(idle)} is for --model wide_resnet; this is {args.model}")
    if wide and args.weights == "imagenet":
        parser.error("--weights imagenet is for the networks of keras.applications: name one with --model")
    if args.weights == "none" or (wide and not args.weights):
        for name in ("freeze_epochs", "unfreeze_stages"):
            if getattr(args, name):
                parser.error(f"--{name} keeps what --weights brings: name weights, as random ones are worth nothing")
    if args.freeze_epochs > args.nb_epochs:
        parser.error(f"--freeze_epochs {args.freeze_epochs} are more than the {args.nb_epochs} of --nb_epochs")
    if resumed or 0 < args.freeze_epochs < args.nb_epochs:
        return
    if args.fine_tune_lr:
        parser.error("--fine_tune_lr is for the epochs after --freeze_epochs: there are none; without them it is --lr")
    if args.unfreeze_stages and args.freeze_epochs:
        parser.error("--unfreeze_stages is for the epochs after --freeze_epochs: there are none")


def complete(args: argparse.Namespace) -> None:
    """Fills in the defaults that depend on other options."""
    args.lr = args.lr or DEFAULT_RATES[args.opt]
    if args.model == "wide_resnet":
        for name, default in WIDE_RESNET_ARGUMENTS.items():
            setattr(args, name, getattr(args, name) or default)
    else:
        args.weights = args.weights or "imagenet"
    if args.freeze_epochs:
        args.fine_tune_lr = args.fine_tune_lr or FINE_TUNE_SHARE * args.lr
    args.weight_decay = DEFAULT_DECAYS[args.opt] if args.weight_decay is None else args.weight_decay
    args.age_sigma = args.age_sigma or 2.0
    args.teacher_weight = args.teacher_weight or 0.5
    if args.mixup_alpha is None:
        args.mixup_alpha = MIXUP_ALPHAS[args.aug]
    args.age_error_weight = 1.0 if args.age_error_weight is None else args.age_error_weight


def plain(args: argparse.Namespace) -> dict[str, object]:
    """The arguments that define a run, as JSON takes them."""
    values = {name: value for name, value in vars(args).items() if name not in NOT_OF_THE_RUN}
    values["input"] = [str(path) for path in args.input]
    values["age_scale"] = args.age_scale.name
    values["teacher"] = [str(path) for path in args.teacher] if args.teacher else None
    return values


def newest_database() -> Path:
    """The .mat file in data/ that was written last."""
    found = sorted(Path("data").glob("*.mat"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError("there is no database in data/: make one with create_db.py, or name one with --input")
    return found[-1]


def load_data(args: argparse.Namespace) -> Data:
    """Opens the databases and splits their faces."""
    from networks.applications import require_size
    from utils import ImageStack, kindred, open_database, split

    databases = [open_database(path) for path in args.input]
    require_size(args.model, databases[0].image_size)
    for one, other in combinations(sorted({database.db for database in databases}), 2):
        if kindred(one, other):
            print(f"{one} and {other} have the same people, who may stand on both sides of the split")
    image = ImageStack(databases)
    age = np.concatenate(
        [args.age_scale.group_of(database.age, database.age_low, database.age_high) for database in databases]
    )
    say_what_is_in_no_group(databases, age, args.age_scale)
    gender = np.concatenate([database.gender for database in databases])
    stds = [np.full(len(database), np.nan) if database.age_std is None else database.age_std for database in databases]
    age_std = np.concatenate(stds)
    if args.age_spread and not np.any(age_std > 0):
        raise ValueError("--age_spread: no database knows how far the opinions on an age spread (APPA-REAL's does)")
    sides = split(databases, args.validation_split, args.seed, args.test_split, args.split == "part", args.fold)
    return Data(databases, image, age, gender, *sides, age_std, args.age_scale)


def say_what_is_in_no_group(databases: list, groups: np.ndarray, scale: AgeScale) -> None:
    """Counts the faces whose age label trains nothing, since it is in no group of the scale."""
    labelled = [
        (database.age != UNKNOWN) | (False if database.age_low is None else database.age_low != UNKNOWN)
        for database in databases
    ]
    left_out = int(np.sum(np.concatenate(labelled) & (groups == UNKNOWN)))
    if left_out:
        print(
            f"{left_out:,} of {len(groups):,} faces have an age label that belongs to no class of {scale.name}: they "
            "train and validate genders alone"
        )


def ask_teachers(data: Data, args: argparse.Namespace) -> tuple[np.ndarray, np.ndarray] | None:
    """What the --teacher checkpoints say of the training faces on average: (n, 2) and (n, k), zeros elsewhere."""
    from age_gender.labels import fold_ages
    from networks import open_model, predict_rows
    from utils import ImageStack

    if not args.teacher:
        return None
    gender = np.zeros((len(data.image), NUM_GENDERS), np.float32)
    age = np.zeros((len(data.image), len(args.age_scale.groups)), np.float32)
    for path in args.teacher:
        model = open_model(path)
        description = model.description
        print(f"{path} teaches", flush=True)
        say_if_it_saw(description.split, split_of(data, args))
        genders, ages = predict_rows(model, ImageStack(data.databases, description.image_size), data.training)
        ages, _ = fold_ages(ages, description.age_scale, args.age_scale)
        for mean, said in ((gender, genders), (age, ages)):
            mean[data.training] += said / len(args.teacher)
    return gender, age


def make_batches(data: Data, args: argparse.Namespace, teacher: tuple[np.ndarray, np.ndarray] | None = None):
    """The training batches, augmented if so asked, and the validation batches, always plain."""
    from mixup_generator import AUGMENTATIONS, NO_AUGMENTATION, MixupGenerator

    def batches(rows, augmentation, shuffle, **soft):
        return MixupGenerator(
            data.image,
            data.gender,
            data.age,
            rows,
            args.batch_size,
            augmentation,
            shuffle,
            args.seed,
            num_ages=len(data.scale.groups),
            **soft,
        )

    width = None
    if args.age_spread:  # the loss adds the variance of --age_sigma, so that the sum is the label's own
        width = np.sqrt(np.maximum(np.nan_to_num(data.age_std) ** 2 - args.age_sigma**2, 0))
    augmentation = AUGMENTATIONS[args.aug]._replace(mixup_alpha=args.mixup_alpha)
    soft = {"age_width": width, "teacher": teacher, "teacher_weight": args.teacher_weight}
    return batches(data.training, augmentation, True, **soft), batches(data.validation, NO_AUGMENTATION, False)


def describe(data: Data, args: argparse.Namespace, trivial: dict[str, int]):
    """What every checkpoint of this run will say of itself."""
    from importlib.metadata import version

    import keras

    from age_gender.description import Description
    from networks.applications import VGGFACE_MEANS_BGR, vggface_network
    from networks.models import inspect

    largest = max(data.databases, key=len)
    versions = {"keras": version("keras"), "backend": keras.backend.backend(), "numpy": np.__version__}
    training = {"arguments": plain(args), "versions": versions}
    path = weights_file(args)
    vggface = path and vggface_network(path)
    start = None if vggface or not path else inspect(path)
    if start:
        training["start"] = history_of(path)
    arguments = {name: getattr(args, name) for name in WIDE_RESNET_ARGUMENTS if args.model == "wide_resnet"}
    if args.model in VGGFACE_MEANS_BGR:
        arguments["vggface"] = bool(vggface or (start and start.arguments.get("vggface")))
    if args.age_loss == "coral":
        arguments["ordinal"] = True
    if args.teacher:
        training["teachers"] = [history_of(path) for path in args.teacher]
    return Description(
        network=args.model,
        arguments=arguments,
        image_size=largest.image_size,
        margin=largest.margin,
        detector=largest.detector,
        align=largest.align,
        mirror=args.mirror,
        age_scale=args.age_scale,
        trivial=trivial,
        split=split_of(data, args),
        training=training,
    )


def history_of(path: Path) -> dict[str, object]:
    """How a checkpoint came about, for those that start or learn from it."""
    from networks.models import inspect

    earlier = inspect(path)
    return {**earlier.training, "split": earlier.split}


def split_of(data: Data, args: argparse.Namespace) -> dict[str, object]:
    """How a run's faces are split, as its checkpoints say it."""
    return {
        "validation_split": args.validation_split,
        "test_split": args.test_split,
        "parts": args.split == "part",
        "fold": args.fold,
        "seed": args.seed,
        "image_size": data.databases[0].image_size,
        "databases": [database.fingerprint() for database in data.databases],
        "datasets": sorted({database.db for database in data.databases}),
    }


def weights_file(args: argparse.Namespace) -> Path | None:
    """The file that --weights means; None where it means imagenet or none.

    Raises:
        FileNotFoundError: if it is not there; of a published VGGFace file, with its address.
    """
    from networks.applications import VGGFACE_URL
    from networks.models import choose

    if args.weights in (None, "none", "imagenet"):
        return None
    path = Path(args.weights)
    if path.name.startswith("rcmalli_vggface") and not path.exists():
        raise FileNotFoundError(f"{path} is not there: fetch {VGGFACE_URL}{path.name} and name its path")
    return choose(path, "")


def start_from(model, args: argparse.Namespace, checkpoint) -> None:
    """Takes the weights that --weights names, and says what of them, and whether they may have seen this run's faces.

    Raises:
        ValueError: if they cannot be fetched, or are another network's.
    """
    from networks.applications import load_imagenet, load_vggface, shortened, vggface_network
    from networks.models import copy_weights, inspect

    if args.weights == "imagenet":
        print(load_imagenet(model, args.model), flush=True)
        return
    path = weights_file(args)
    if not path:
        if args.weights == "none":
            print("--weights none: every weight is random")
        return
    if network := vggface_network(path):
        if network != args.model:
            raise ValueError(f"{path} has VGGFace's weights of {network}, not of {args.model}: --model {network}")
        print(f"{path}: {load_vggface(model, args.model, path)}", flush=True)
        return
    earlier = inspect(path)
    if earlier.network not in ("", args.model):
        raise ValueError(f"{path} is a {earlier.network}, not a {args.model}: --model {earlier.network}")
    fresh = copy_weights(path, model, ["pred_age"] if earlier.age_scale != checkpoint.age_scale else [])
    if (args.freeze_epochs or args.unfreeze_stages) and (random := set(fresh) - set(model.output_names)):
        raise ValueError(
            f"{path} is another network: of this one {len(random)} layers beside the heads would be new, such as "
            f"{min(random)}, and frozen layers must not be; train without --freeze_epochs and --unfreeze_stages"
        )
    weighty = sum(bool(layer.weights) for layer in model.layers)
    print(f"{path}: the weights of {weighty - len(fresh)} of {weighty} layers; new: {shortened(fresh)}")
    say_if_it_saw(checkpoint.training["start"]["split"], checkpoint.split)


def say_if_it_saw(earlier: dict[str, object], split: dict[str, object]) -> None:
    """Says so where weights come from another split than this run's."""
    earlier = {"parts": False, "fold": None, **earlier}
    if any(earlier.get(name) != split[name] for name in SPLIT_NAMES):
        print("  it comes from another split: faces that validate or test this run may have trained it")


def phases(args: argparse.Namespace) -> list[Phase]:
    """What is trained when: the heads on a frozen network first, if so asked, then the network or its last stages."""
    whole = args.unfreeze_stages is None
    rest = "the whole network" if whole else f"the last {args.unfreeze_stages} stages and the heads"
    if not args.freeze_epochs:
        return [Phase(rest, 0, args.nb_epochs, args.unfreeze_stages, args.lr)]
    found = [Phase("the heads on a frozen network", 0, args.freeze_epochs, 0, args.lr)]
    if args.freeze_epochs < args.nb_epochs:
        found.append(Phase(rest, args.freeze_epochs, args.nb_epochs, args.unfreeze_stages, args.fine_tune_lr))
    return found


def schedule(args: argparse.Namespace, steps_per_epoch: int, phase: Phase | None = None):
    """The learning rate as a function of the phase's step; the whole run is one where none is named."""
    from training.schedules import StepDecay, WarmCosine

    lr, epochs = (phase.lr, phase.last - phase.first) if phase else (args.lr, args.nb_epochs)
    steps = steps_per_epoch * epochs
    warmup = min(WARMUP_STEPS, steps // 10)
    if args.schedule == "cosine":
        return WarmCosine(lr, steps, warmup)
    return StepDecay(lr, epochs, steps_per_epoch, warmup)


def build_model(checkpoint, args: argparse.Namespace, rate):
    """The network, compiled."""
    from networks.models import build

    decay = 0.0 if args.opt == "adamw" else args.weight_decay  # AdamW has its own
    model = build(checkpoint, weight_decay=decay, dropout=args.dropout)
    compile_model(model, args, rate)
    return model


def compile_model(model, args: argparse.Namespace, rate) -> None:
    """Gives a network a new optimiser, the losses and the metrics."""
    import keras

    from training.losses import age_loss
    from training.metrics import weighted_metrics

    average = {"use_ema": True, "ema_momentum": args.ema} if args.ema else {}
    if args.opt == "adamw":
        optimizer = keras.optimizers.AdamW(rate, weight_decay=args.weight_decay, **average)
        others = [weight for weight in model.trainable_variables if not weight.path.endswith("kernel")]
        optimizer.exclude_from_weight_decay(var_list=others)
    elif args.opt == "adam":
        optimizer = keras.optimizers.Adam(rate, **average)
    else:
        optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **average)
    model.compile(
        optimizer,
        loss=[
            "categorical_crossentropy",
            age_loss(args.age_loss, args.age_sigma, args.age_error_weight, args.age_scale),
        ],
        loss_weights=[args.gender_weight, 1.0],
        weighted_metrics=weighted_metrics(args.age_scale),
    )


def announce(data: Data, checkpoint, model) -> None:
    """Says what will be trained on what."""
    from age_gender.detectors import found_by

    for database in data.databases:
        print(f"{database.source}: {len(database):,} faces of {database.image_size} x {database.image_size} pixels")
        if database.margin != checkpoint.margin:
            print(
                f"  its crops have a margin of {database.margin:g}; demo.py will crop at {checkpoint.margin:g}, "
                "the margin of the largest database"
            )
        if (database.detector, database.align) != (checkpoint.detector, checkpoint.align):
            print(
                f"  its faces were found by {found_by(database.detector, database.align)}, those of the largest "
                f"database by {found_by(checkpoint.detector, checkpoint.align)}, and so will demo.py"
            )
    print(
        f"{len(data.training):,} to train, {len(data.validation):,} to validate, {len(data.test):,} kept for a test; "
        f"{model.name}, {model.count_params():,} parameters"
    )
    trivial = checkpoint.trivial
    print(
        f"the trivial answer, {data.scale.names[trivial['age']]}, {GENDERS[trivial['gender']]} for every face: "
        f"{in_words(*trivial_scores(data, trivial), data.scale)}",
        flush=True,
    )


def refuse_blind_monitor(monitor: str, data: Data) -> None:
    """Raises ValueError where no validation face has the label by which the checkpoint is to be chosen."""
    ages, genders = validation_labels(data)
    if (monitor.startswith("val_pred_age") and not len(ages)) or (
        monitor.startswith("val_pred_gender") and not len(genders)
    ):
        raise ValueError(
            f"--monitor {monitor}: no validation face has that label; --monitor val_loss uses what there is"
        )


def in_words(age: float, gender: float, scale: AgeScale) -> str:
    """'age error 5.12 years, gender 93.1%', or 'age group 61.0%, gender 93.1%'; '-' for a head without labels."""
    said = "-" if np.isnan(age) else f"{age:.2f} years" if scale == YEARS else f"{age:.1%}"
    return f"age {'error' if scale == YEARS else 'group'} {said}, gender {'-' if np.isnan(gender) else f'{gender:.1%}'}"


def validation_labels(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """The known age classes and the known genders of the validation faces."""
    ages, genders = data.age[data.validation], data.gender[data.validation]
    return ages[ages != UNKNOWN], genders[genders != UNKNOWN]


def trivial_scores(data: Data, trivial: dict[str, int]) -> tuple[float, float]:
    """What the answer that uses no picture reaches in validation: age error in years, or share of age groups hit, and
    gender accuracy; NaN without labels."""
    ages, genders = validation_labels(data)
    away = np.abs(ages - trivial["age"]) if data.scale == YEARS else ages == trivial["age"]
    return tuple(float(hits.mean()) if len(hits) else np.nan for hits in (away, genders == trivial["gender"]))


def writer(model, checkpoint, averaged: list):
    """A function of path, epoch and values that writes a checkpoint of the run, of averaged weights where there are."""
    from networks.models import save

    def write(path: Path, epoch: int, values: dict) -> None:
        metrics = {name: float(value) for name, value in values.items()}
        reached = {"epoch": epoch, "metrics": metrics, "saved": time.time()}
        for swap in averaged:
            swap.on_test_begin()
        save(model, path, replace(checkpoint, training={**checkpoint.training, **reached}))
        for swap in averaged:
            swap.on_test_end()

    return write


def tensorboard(folder: Path) -> list:
    """Keras's TensorBoard callback; none where TensorFlow, which it writes with, is not installed."""
    import keras

    from networks import backend

    if not backend.can_write_tensorboard():
        print("TensorBoard's logs are left out: they need the packages tensorflow and tensorboard")
        return []
    return [keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False)]


def report(args, data: Data, checkpoint, best, journal, guard, steps: int) -> int:
    """Says what was reached; 1 if the run went to NaN or gives every face the same answer."""
    advice = (
        f"try a tenth of the rate (--lr {args.lr / 10:g}), --opt adam, or a larger --batch_size; "
        "check the labels with a look at the database's faces"
    )
    import keras

    from networks.models import calibrate, calibration_in_words

    if guard.stopped:
        kept = f"; the best before it is {best.state['path']}" if best.state["path"] else ""
        print(f"train.py: the loss is not a number in epoch {len(journal.rows)}{kept}: {advice}", file=sys.stderr)
        return 1
    if best.state["path"] is None:
        print(f"train.py: no epoch had a finite {args.monitor}: {advice}", file=sys.stderr)
        return 1
    values = next(row for row in journal.rows if row["epoch"] == best.state["epoch"])
    ages, genders = validation_labels(data)
    reached = in_words(
        values["val_pred_age_mae" if data.scale == YEARS else "val_pred_age_accuracy"] if len(ages) else np.nan,
        values["val_pred_gender_accuracy"] if len(genders) else np.nan,
        data.scale,
    )
    trivial = in_words(*trivial_scores(data, checkpoint.trivial), data.scale)
    print(f"best: {best.state['path']}, {reached} (trivial: {trivial})")
    rows = data.validation
    keras.mixed_precision.set_global_policy("float32")  # as the checkpoint will be used
    calibration = calibrate(best.state["path"], data.image, rows, data.age[rows], data.gender[rows])
    print(f"stored in it: {calibration_in_words(calibration)}")
    collapsed = collapsed_heads(values, data)
    if not collapsed:
        return 0
    if steps < LEARNING_STEPS:
        print(f"every face still gets the same {' and the same '.join(collapsed)} after {steps} steps: train longer")
        return 0
    print(
        f"train.py: the training collapsed: every face gets the same {' and the same '.join(collapsed)}: {advice}",
        file=sys.stderr,
    )
    return 1


def collapsed_heads(values: dict[str, float], data: Data) -> list[str]:
    """The heads that answer every validation face alike although the faces differ."""
    ages, genders = validation_labels(data)
    ages = data.scale.centres[ages]
    heads = []
    if len(ages) and ages.std() > 2 * CONSTANT_AGE and values["val_pred_age_spread"] < CONSTANT_AGE:
        heads.append("age")
    # A head that has learned the commoner gender alone is no collapse where the other one is rare.
    if len(genders) and 0.1 < genders.mean() < 0.9 and values["val_pred_gender_male_share"] in (0.0, 1.0):
        heads.append("gender")
    return heads


if __name__ == "__main__":
    cli.run(main)
