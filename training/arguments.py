"""The command line of train.py: options in groups, files of arguments, and what is refused before a file is opened.

`--help` shows the options that people use, `--help-all` every one. `@recipes/strong.args` reads arguments from a file:
words as in a shell, on any number of lines, and # for comments. What is typed besides wins, wherever it stands.
"""

import argparse
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from age_gender import cli
from age_gender.description import Description
from age_gender.labels import AGE_SCALES, YEARS, age_scale
from networks.applications import NETWORKS
from networks.backbones import BACKBONES, STAGES
from networks.backend import HEARTBEAT, KERAS_CLUSTER
from networks.checkpoints import choose
from readers.parts import with_all_parts
from training.augmentations import AUGMENTATIONS
from training.data import newest_database
from training.options import (
    AGE_LOSSES,
    DEFAULT_RATES,
    MONITORS,
    PUBLISHED,
    SOFT_LOSSES,
    TRACKERS,
    WIDE_RESNET_ARGUMENTS,
    Options,
)
from training.resume import RESUME_FILE, VAL_LOSS, read_resume, reading_resume
from training.starting import start_of

EVERYDAY = {  # what --help shows
    *("help", "version", "help_all", "input", "aug", "model", "width", "weights"),
    *("nb_epochs", "batch_size", "opt", "lr", "output_dir", "run", "resume"),
}
INHERITED = (  # from the checkpoint that --weight_file names
    *("model", "depth", "width", "stages", "stem_stride", "mirror"),
    *("age_scale", "age_loss", "age_sigma", "age_error_weight", "gender_weight"),
)
# Arguments that do not say what is trained.
NOT_OF_THE_RUN = {"resume", "restart", "output_dir", "devices", "distributed", "heartbeat"}


def build_parser(script_docstring: str, usage: str) -> argparse.ArgumentParser:
    """The parser of train.py."""
    parser = cli.parser_for(script_docstring, usage)
    parser.formatter_class = EverydayHelp
    parser.add_argument(
        "--help-all", action=HelpAll, nargs=0, default=argparse.SUPPRESS, help="show every option and exit"
    )
    parser.fromfile_prefix_chars = "@"
    parser.convert_arg_line_to_args = _words
    for add in (_add_data, _add_network, _add_transfer, _add_loss, _add_fit, _add_devices, _add_output, _add_former):
        add(parser)
    return parser


def _words(line: str) -> list[str]:
    """The words of a line as a shell has them; on Windows a backslash is a path's."""
    words = shlex.shlex(line.removeprefix("\ufeff"), posix=True, punctuation_chars=False)  # as Notepad begins a file
    words.whitespace_split = True
    if os.name == "nt":
        words.escape = ""
    return list(words)


class EverydayHelp(cli.HelpFormatter):
    """Leaves out what few people use."""

    def add_argument(self, action: argparse.Action) -> None:
        if action.dest in EVERYDAY:
            super().add_argument(action)


class HelpAll(argparse.Action):
    """Shows all that there is."""

    def __call__(self, parser, namespace, values, option_string=None):
        parser.formatter_class = cli.HelpFormatter
        parser.print_help()
        parser.exit()


def _add_data(parser: argparse.ArgumentParser) -> None:
    """Which faces, how they are split, and how they are changed."""
    group = parser.add_argument_group("data")
    cli.add_databases(group, "databases (default: the newest .mat in data/)")
    group.add_argument(
        "--validation_split",
        **cli.numeric("SHARE", float, 0, 1, default=0.1, exclusive=True),
        help="share of the faces held out to choose the checkpoint by, whole people at a time",
    )
    group.add_argument(
        "--test_split",
        **cli.numeric("SHARE", float, 0, 0.9, default=0.0),
        help="share of the faces kept out of training and choice, the same for the same databases whatever the seed; "
        "evaluate.py scores them",
    )
    group.add_argument(
        "--split",
        choices=("random", "part"),
        default="random",
        help="part: faces that their dataset has in a part named train, valid or test stand there; others as random",
    )
    group.add_argument(
        "--fold",
        type=lambda text: text if text == "all" else cli.number(int, 0)(text),
        metavar="N|all",
        help="keep fold N for the test: the dataset's own, such as 0 to 4 of Adience, or one of --folds; all trains "
        "each in turn, in folders fold_0, fold_1, ...",
    )
    group.add_argument(
        "--folds",
        type=cli.checked(_folds),
        metavar="K|FILE",
        help="make K folds of the faces, whole people at a time, the same whatever the seed; or take the splits of a "
        "database of the Facial Age Estimation Benchmark, a .json file",
    )
    group.add_argument(
        "--aug",
        choices=AUGMENTATIONS,
        nargs="?",
        default="none",
        const="classic",
        help="classic, if not said otherwise: mixup, shifts, mirror images and random erasing; strong: "
        "rotation, scale, light and loss of colour too; gentle: strong without mixup, half of the faces kept sharp, "
        "to end a training with; wide: framings, light and quality drawn wide, for other people's cameras",
    )
    group.add_argument(
        "--mixup_alpha",
        **cli.numeric("ALPHA", float, 0, 10),
        help="of the Beta distribution that the shares of two mixed faces come from; 0 mixes none (default: 0.2 where "
        "--aug is classic or strong, else 0)",
    )
    group.add_argument(
        "--seed",
        **cli.numeric("N", int, 0, default=0),
        help="of the split, the order, the augmentation and the first weights",
    )


def _add_network(parser: argparse.ArgumentParser) -> None:
    """The network."""
    group = parser.add_argument_group("network")
    group.add_argument(
        "--model",
        choices=BACKBONES,
        default="wide_resnet",
        metavar="NAME",
        help=f"network, of {', '.join(BACKBONES)}; inception_resnet_v2 takes images of 75 pixels or more, others of 32",
    )
    group.add_argument(
        "--depth", type=int, choices=(10, 16, 22, 28, 34, 40), help="depth of the wide_resnet (default: 16)"
    )
    group.add_argument("--width", **cli.numeric("K", int, 1, 32), help="width of the wide_resnet (default: 8)")
    group.add_argument("--stages", type=int, choices=(3, 4), help="wide_resnet: groups of blocks (default: 3)")
    group.add_argument(
        "--stem_stride",
        type=int,
        choices=(1, 2, 4),
        help="wide_resnet: 2 halves the image first: a quarter of the work; 4 sees images of twice the size at the "
        "work of 2 (default: 1)",
    )
    group.add_argument(
        "--dropout",
        **cli.numeric("SHARE", float, 0, 0.9, default=0.0),
        help="share dropped within each block of the wide_resnet, of other networks' features before the heads",
    )
    group.add_argument(
        "--weight_decay",
        **cli.numeric("DECAY", float, 0, 1),
        help="of all kernels: half of it is the L2 penalty, for adamw it is the decoupled decay, times the rate "
        "(default: 0.0005, for adamw 0.02)",
    )
    group.add_argument(
        "--mirror",
        action="store_true",
        help="the finished model averages what it says of an image and of its mirror image; validation does not",
    )


def _add_transfer(parser: argparse.ArgumentParser) -> None:
    """What the network starts from, and what of it is trained."""
    group = parser.add_argument_group("transfer learning")
    group.add_argument(
        "--weight_file",
        dest="weights",
        metavar="imagenet|none|FILE",
        help="what to start from: imagenet, which Keras downloads; none; a checkpoint, or the best of this folder's "
        "newest run, of the same network (layers that it lacks start anew, a block that it lacks as the identity), "
        "whose network and loss are then the defaults; "
        "for vgg16 and resnet50 also a published VGGFace file, for dlib_resnet dlib's face recognition model (default: "
        "imagenet for the networks of keras.applications, none for others)",
    )
    group.add_argument(
        "--freeze_epochs",
        **cli.numeric("N", int, 0, default=0),
        help="of --nb_epochs, the first that train the heads alone, on a frozen network with batch norm in inference "
        "mode; the others train all of it, or --unfreeze_stages",
    )
    group.add_argument(
        "--fine_tune_lr",
        **cli.numeric("RATE", float, 0, exclusive=True),
        help="highest learning rate after --freeze_epochs (default: a tenth of --lr)",
    )
    group.add_argument(
        "--unfreeze_stages",
        **cli.numeric("N", int, 1),
        help="train the last N stages of the network and the heads, and leave the others frozen to the end",
    )


def _add_loss(parser: argparse.ArgumentParser) -> None:
    """What the heads are trained for."""
    group = parser.add_argument_group("loss")
    group.add_argument(
        "--age_scale",
        type=cli.checked(age_scale),
        default=YEARS.name,
        metavar="SCALE",
        help=f"classes of the age head: {', '.join(AGE_SCALES)}, or groups of years such as 0-12,13-17,18-100",
    )
    group.add_argument(
        "--teacher",
        **cli.PATHS,
        metavar="FILE",
        help="checkpoints, or folders of runs, whose average answer to each training face is mixed into its labels, "
        "which makes noisy labels less noisy; they must not have seen the faces held out",
    )
    group.add_argument(
        "--teacher_weight",
        **cli.numeric("SHARE", float, 0, 1, exclusive=True),
        help="of the teachers' answer in the labels (default: 0.5)",
    )
    group.add_argument(
        "--age_loss",
        choices=AGE_LOSSES,
        default="cross_entropy",
        help="cross-entropy on the classes; ldl: soft labels around the true age; dldl_v2: these and the error of the "
        "expected age; mean_variance: cross-entropy, that error squared and the variance; coral: an ordinal head",
    )
    group.add_argument(
        "--age_sigma",
        **cli.numeric("YEARS", float, 0, 50, exclusive=True),
        help="width of the soft labels of ldl and dldl_v2 (default: 2)",
    )
    group.add_argument(
        "--age_error_weight",
        **cli.numeric("W", float, 0, 100),
        help="of the error of the expected age in dldl_v2, in years (default: 1)",
    )
    group.add_argument(
        "--age_spread",
        action="store_true",
        help="soft labels as wide as the opinions on each face spread, where the database knows (APPA-REAL's apparent "
        "ages), --age_sigma at least",
    )
    group.add_argument(
        "--gender_weight", **cli.numeric("W", float, 0, 100, default=1.0), help="of the gender loss; the age loss has 1"
    )


def _add_fit(parser: argparse.ArgumentParser) -> None:
    """How long and how fast."""
    group = parser.add_argument_group("training")
    group.add_argument("--nb_epochs", **cli.numeric("N", int, 1, default=30), help="epochs")
    group.add_argument("--batch_size", **cli.numeric("N", int, 1, default=32), help="faces in a batch")
    group.add_argument("--opt", choices=DEFAULT_RATES, default="sgd", help="optimiser; sgd has Nesterov momentum 0.9")
    group.add_argument(
        "--lr",
        **cli.numeric("RATE", float, 0, exclusive=True),
        help="highest learning rate (default: 0.1 for sgd, 0.001 for adam, 0.002 for adamw)",
    )
    group.add_argument(
        "--schedule",
        choices=("steps", "cosine"),
        default="steps",
        help="steps: the rate is divided by 5 at 1/4, 1/2 and 3/4 of the epochs; cosine: half a cosine down to 0",
    )
    group.add_argument(
        "--ema",
        **cli.numeric("MOMENTUM", float, 0, 1, exclusive=True),
        help="validate and keep a moving average of the weights, such as 0.998, instead of the weights themselves; "
        "batch norm's statistics are the current ones",
    )
    group.add_argument("--monitor", choices=MONITORS, default="val_loss", help="what makes a checkpoint the best")
    group.add_argument(
        "--patience",
        **cli.numeric("EPOCHS", int, 0, default=0),
        help="end after so many epochs without a better checkpoint, counted after --freeze_epochs; 0 never does",
    )
    group.add_argument(
        "--mixed_precision",
        choices=("bfloat16", "float16"),
        nargs="?",
        const="bfloat16",
        help="compute in 16 bits, bfloat16 if not said otherwise; GPUs gain, and CPUs with AVX-512 BF16 or AMX",
    )


def _add_devices(parser: argparse.ArgumentParser) -> None:
    """How many devices train one network."""
    group = parser.add_argument_group("several devices, on JAX (docs/devices.md)")
    group.add_argument(
        "--devices",
        **cli.numeric("N", int, 1),
        help="share each batch out to N of this machine's GPUs, by groups of 32 faces: the same network, sooner "
        "(default: all where there are several and JAX computes)",
    )
    group.add_argument(
        "--distributed",
        action="store_true",
        help="share each batch out to all GPUs of all processes that srun, mpirun or Kubernetes started",
    )
    group.add_argument(
        "--heartbeat",
        **cli.numeric("SECONDS", int, 5, default=HEARTBEAT),
        help="of silence after which a process of --distributed counts as dead, and the others end",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    """Where it goes, and what of a stopped run becomes of it."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output_dir", **cli.FOLDER, default=Path("checkpoints"), help="folder for checkpoints and logs"
    )
    group.add_argument(
        "--run",
        type=cli.checked(_run_name),
        metavar="NAME",
        help="give the run a folder of its own, NAME within --output_dir, with args.json, best.hdf5 and last.hdf5 too",
    )
    group.add_argument(
        "--keep",
        **cli.numeric("N", int, 0, default=3),
        help="remove all but the last N checkpoints of this run, of which the newest is the best; 0 removes none",
    )
    group.add_argument(
        "--track",
        choices=TRACKERS,
        help="write each epoch to this experiment tracker too, where its package is installed; wandb sends it to its "
        "makers' servers",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="continue the stopped run in --output_dir, with its own arguments, to more epochs if --nb_epochs says "
        "so; where none was stopped, start anew",
    )
    group.add_argument("--restart", action="store_true", help="discard the stopped run in --output_dir")


def _add_former(parser: argparse.ArgumentParser) -> None:
    """Options under the names of earlier versions, which people's recipes and scripts hold; no help shows them."""
    hidden = argparse.SUPPRESS
    parser.add_argument("--weights", dest="weights", default=hidden, help=hidden)
    parser.add_argument("--output_path", dest="output_dir", type=Path, default=hidden, help=hidden)


def _folds(text: str) -> int | Path:
    """How many folds, or the file that has them."""
    if text.lower().endswith(".json"):
        return Path(text)
    if not text.isdecimal() or not 2 <= int(text) <= 100:
        raise ValueError(f"'{text}' is neither a number of folds, 2 to 100, nor a .json file")
    return int(text)


def _run_name(text: str) -> str:
    """A name that can be a folder's."""
    if not re.fullmatch(r"\w[\w.-]*", text):
        raise ValueError(f"'{text}' is no name of a run: letters, digits, dots, - and _ make one")
    return text


def devices_of(parser: argparse.ArgumentParser, args: argparse.Namespace) -> tuple[int | None, bool, int]:
    """What is said of devices, as `backend.join` takes it; refuses what does not go together, and copies that know
    nothing of each other."""
    if args.devices and args.distributed:
        parser.error("--distributed takes all devices of all processes: leave --devices out")
    if args.heartbeat != HEARTBEAT and not args.distributed:
        parser.error("--heartbeat is for --distributed: one process has no others to miss")
    if not args.distributed and (copies := launched_copies()) > 1:
        parser.error(
            f"{copies} copies of train.py were launched, which would train the same network {copies} times into one "
            "folder: --distributed has them train one together"
        )
    return args.devices, args.distributed, args.heartbeat


def launched_copies(environment: Mapping[str, str] = os.environ) -> int:
    """How many copies of this program a launcher says that it started; 1 where none says so."""
    counts = ["OMPI_COMM_WORLD_SIZE", KERAS_CLUSTER[1]]
    if "SLURM_STEP_ID" in environment:  # of srun; sbatch alone sets SLURM_NTASKS too, and starts one copy
        counts.append("SLURM_NTASKS")
    found = [environment.get(name, "1") for name in counts]
    return max(int(count) if count.isdecimal() else 1 for count in found)


def parse(parser: argparse.ArgumentParser, argv: list[str]) -> tuple[Options, Path, dict, tuple]:
    """What is to be trained, the folder it goes to, what a stopped run left, {} unless it is resumed, and on what
    devices, see `devices_of`.

    Raises:
        SystemExit: with status 2 and one line, for arguments that do not go together.
        FileNotFoundError, ValueError: for files that are not there or damaged.
    """
    argv = files_first(parser, argv)
    args = parser.parse_args(argv)
    folder = args.output_dir / (args.run or "")
    if args.resume and args.restart:
        parser.error("--resume and --restart exclude each other")
    devices = devices_of(parser, args)
    if args.resume and (stopped := read_resume(folder)):
        return _resumed(parser, argv, stopped, folder), folder, stopped, devices
    if args.resume:
        print(f"nothing was stopped in {folder}: the run starts anew, with the options given now")
    if (left := folder / RESUME_FILE).exists() and not args.restart:
        parser.error(
            f"{left} is a stopped run: --resume continues it, --restart discards it, "
            "another --output_dir leaves it alone"
        )
    start = start_of(args.weights)
    if start.checkpoint:
        args = _inherited(parser, argv, args, start.checkpoint)
    _refuse_contradictions(parser, args)
    _refuse_idle_network_options(parser, args)
    args.input = args.input or with_all_parts(newest_database())
    # Files, since a folder's newest run may be this one when it is resumed.
    args.weights = str(start.path) if start.path else args.weights
    args.teacher = [choose(path) for path in args.teacher or ()]
    return Options.of(vars(args)), folder, {}, devices


def files_first(parser: argparse.ArgumentParser, argv: list[str]) -> list[str]:
    """The arguments with @files before the others, so that these win."""
    for name in (word[1:] for word in argv if word.startswith("@")):
        if not Path(name).is_file():
            parser.error(f"{name}, a file of arguments, is not there; recipes/ has those that come with the suite")
        try:
            lines = Path(name).read_text(encoding="utf-8").splitlines()
            words = [word for line in lines for word in parser.convert_arg_line_to_args(line)]
        except ValueError as error:  # no UTF-8, or a quote that is not closed
            parser.error(f"{name} is no file of arguments: {error}")
        if named := next((word for word in words if word.startswith("@")), None):
            parser.error(f"{name} names another file of arguments, {named}: give both to train.py itself")
    return sorted(argv, key=lambda word: not word.startswith("@"))


def _inherited(
    parser: argparse.ArgumentParser, argv: list[str], args: argparse.Namespace, found: Description
) -> argparse.Namespace:
    """The arguments, with the network and the loss of the checkpoint that --weight_file names where nothing else is
    typed."""
    kept = {**found.training.get("arguments", {}), **found.arguments, "model": found.network, "mirror": found.mirror}
    kept = {name: kept[name] for name in INHERITED if kept.get(name) is not None}
    parser.set_defaults(**kept)
    same = parser.parse_args(argv)
    if same.model != found.network:  # typed, and refused where the file is read
        return args
    other = same.age_loss != kept.get("age_loss")
    if other or same.age_loss not in SOFT_LOSSES:
        same.age_sigma = args.age_sigma  # as it is typed, if it is
    if other or same.age_loss != "dldl_v2":
        same.age_error_weight = args.age_error_weight
    return same


def _resumed(parser: argparse.ArgumentParser, argv: list[str], stopped: dict, folder: Path) -> Options:
    """The options of a stopped run, which are the defaults of what is typed; what says otherwise is refused, but for
    more epochs."""
    kept = stopped["arguments"]
    if kept.keys() != vars(parser.parse_args(argv)).keys() - NOT_OF_THE_RUN or not VAL_LOSS.items() <= stopped.items():
        raise ValueError(
            f"the run in {folder} was stopped in a version with other options, or another val_loss to choose the best "
            "by: --resume it with that version; --restart discards it"
        )
    parser.set_defaults(**kept)  # a text that stands for a value is parsed again
    with reading_resume(folder / RESUME_FILE):
        options = Options.of(kept)
    typed = Options.of(vars(parser.parse_args(argv)))
    if typed.nb_epochs > options.nb_epochs:
        options = replace(options, nb_epochs=typed.nb_epochs)
    said, kept = typed.plain(), options.plain()
    changed = [name for name, value in kept.items() if said[name] != value and not _holds(said[name], value)]
    changed = ["weight_file" if name == "weights" else name for name in changed]
    if changed:
        parser.error(f"the stopped run had another --{' --'.join(changed)}; leave it out, or --restart")
    return options


def _holds(typed: object, kept: object) -> bool:
    """Whether what is typed are the folders of the checkpoints that were found in them."""
    if isinstance(typed, list) and isinstance(kept, list) and len(typed) == len(kept):
        return all(map(_holds, typed, kept))
    paths = isinstance(typed, str) and isinstance(kept, str) and kept not in PUBLISHED
    return paths and Path(typed) in Path(kept).parents[:3]  # as deep as `choose` looks


def _refuse_contradictions(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses options that exclude each other, and those that the chosen loss or scale has no use for."""
    if args.fold is not None and args.test_split:
        parser.error("--fold keeps that fold for the test, --test_split a share of all faces: choose one")
    if args.track and find_spec(args.track) is None:
        parser.error(f"--track {args.track} needs the package {args.track}: pip install {args.track}")
    if args.folds and args.fold is None:
        parser.error("--folds makes folds: --fold says which of them is kept for the test, or all")
    if isinstance(args.folds, int) and args.fold >= args.folds:
        parser.error(f"--fold {args.fold} is none of the {args.folds} of --folds, which are 0 to {args.folds - 1}")
    if args.split == "part" and args.fold is not None:
        parser.error("--split part takes the parts named train, valid and test, --fold those named fold_N: choose one")
    if args.age_error_weight is not None and args.age_loss != "dldl_v2":
        parser.error(f"--age_error_weight is for --age_loss dldl_v2; this is {args.age_loss}")
    if args.age_sigma is not None and args.age_loss not in SOFT_LOSSES:
        parser.error(f"--age_sigma is for --age_loss ldl and dldl_v2; {args.age_loss} has hard labels")
    if args.teacher_weight is not None and not args.teacher:
        parser.error("--teacher_weight is for --teacher: name a checkpoint")
    if args.age_spread and args.age_loss not in SOFT_LOSSES:
        parser.error(f"--age_spread is for --age_loss ldl and dldl_v2; {args.age_loss} has hard labels")
    if args.age_spread and args.age_scale != YEARS:
        parser.error(f"--age_spread is for ages in years; --age_scale {args.age_scale.name} has groups")
    if args.monitor == "val_pred_age_accuracy" and args.age_scale == YEARS:
        parser.error("--monitor val_pred_age_accuracy is for age groups; ages in years have val_pred_age_mae")


def _refuse_idle_network_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Refuses options of another network, and options of transfer learning where nothing is transferred."""
    wide = args.model == "wide_resnet"
    if idle := [name for name in WIDE_RESNET_ARGUMENTS if not wide and getattr(args, name) is not None]:
        parser.error(f"--{' --'.join(idle)} is for --model wide_resnet; this is {args.model}")
    published = args.model in NETWORKS
    if not published and args.weights == "imagenet":
        parser.error("--weight_file imagenet is for the networks of keras.applications: name one with --model")
    if args.weights == "none" or not (published or args.weights):
        for name in ("freeze_epochs", "unfreeze_stages"):
            if getattr(args, name):
                parser.error(
                    f"--{name} keeps what --weight_file brings: name weights, as random ones are worth nothing"
                )
    if args.freeze_epochs > args.nb_epochs:
        parser.error(f"--freeze_epochs {args.freeze_epochs} are more than the {args.nb_epochs} of --nb_epochs")
    stages = (args.stages or WIDE_RESNET_ARGUMENTS["stages"]) if wide else len(STAGES[args.model]) + 1
    if args.unfreeze_stages and args.unfreeze_stages > stages:
        parser.error(f"--unfreeze_stages {args.unfreeze_stages}: {args.model} has {stages}")
    if 0 < args.freeze_epochs < args.nb_epochs:
        return
    if args.fine_tune_lr:
        parser.error("--fine_tune_lr is for the epochs after --freeze_epochs: there are none; without them it is --lr")
    if args.unfreeze_stages and args.freeze_epochs:
        parser.error("--unfreeze_stages is for the epochs after --freeze_epochs: there are none")
