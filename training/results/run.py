#!/usr/bin/env python3
"""Runs the cells of a table that are missing, in order of importance, and appends each to the table as soon as it is done.

    python3 results/run.py --weights cifar10_resnet20.safetensors --data DIR --runs FOLDER [--cells N] [--only NAME:SEED ...]

from training/. A cell is a configuration and a seed. A run that was cut off goes on from its checkpoint in FOLDER; a cell that the table
has is not run again, one that fails is left out, and several of these at a time share the work. Before it, build both binaries:
`cargo build --release` here and at the root.
"""

import argparse
import datetime
import fcntl
import json
import os
import pathlib
import subprocess
import sys

TRAINING = pathlib.Path(__file__).resolve().parent.parent
TABLE = TRAINING / "results" / "resnet20-6-epochs.md"
TRAIN = TRAINING / "target" / "release" / "halfnet-train"
HALFNET = TRAINING.parent / "target" / "release" / "halfnet"

# Configuration, seed: the most important first.
CELLS = [
    ("autorep2-10000", 1),
    ("autorep2-0", 1),
    ("snl-10000", 1),
    ("deepreduce-10000", 1),
    ("autorep2-20000", 1),
    ("autorep1-10000", 1),
    ("autorep2-10000", 2),
    ("autorep2-10000", 3),
    ("layerwise-10000", 1),
    ("snl-20000", 1),
    ("autorep2-5000", 1),
    ("snl-5000", 1),
    ("identity-10000", 1),
    ("random-10000", 1),
    ("autorep2-0", 2),
    ("autorep2-0", 3),
]


def row(name, seed):
    return f"| {name} | {seed} |"


def run(command, **options):
    print("+", " ".join(map(str, command)), file=sys.stderr, flush=True)
    return subprocess.run([str(part) for part in command], check=True, **options)


def cell(name, seed, arguments, lock):
    """One line of the table."""
    folder = arguments.runs / f"{name}-{seed}"
    result = folder / "result.json"
    # A run that was cut off while it was exported has a result and no model.
    if not result.is_file() or json.loads(result.read_text())["export"] is None:
        configuration = TRAINING / "configurations" / f"resnet20-{name}.toml"
        search = [TRAIN, "search", "--config", configuration, "--seed", seed, "--weights", arguments.weights]
        # The lock goes on for as long as it runs.
        run(search + ["--data", arguments.data, "--resume", "--out", folder], pass_fds=[lock.fileno()])
    result = json.loads(result.read_text())
    simulate = [HALFNET, "simulate", "--model", folder / "model.postcard", "--data", arguments.data, "--json"]
    simulated = json.loads(run(simulate, stdout=subprocess.PIPE).stdout)
    demo = [HALFNET, "demo", "--model", folder / "model.postcard", "--data", arguments.data, "--images", "100", "--json"]
    equal = json.loads(run(demo, stdout=subprocess.PIPE).stdout)["agree_with_reference"]
    columns = [
        f"{result['relus']:,}",
        f"{result['test']:.2f}",
        f"{simulated['accuracy']:.2f}",
        f"{simulated['range_violations']}",
        f"{equal}",
        f"{result['validation']:.2f}",
        f"{result['skipped_steps']}",
        f"{result['seconds'] / 60:.0f} min",
        datetime.date.today().isoformat(),
    ]
    return row(name, seed) + " " + " | ".join(columns) + " |\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=pathlib.Path, required=True)
    parser.add_argument("--data", default=os.environ.get("HALFNET_DATA"))
    parser.add_argument("--runs", type=pathlib.Path, default=pathlib.Path("runs"))
    parser.add_argument("--cells", type=int, default=len(CELLS), help="run at most so many")
    parser.add_argument("--only", nargs="+", metavar="NAME:SEED", help="these alone, as snl-10000:1")
    arguments = parser.parse_args()
    if arguments.data is None:
        parser.error("name the data folder with --data or HALFNET_DATA")
    done = TABLE.read_text()
    wanted = [f"{name}:{seed}" for name, seed in CELLS]
    for unknown in set(arguments.only or []).difference(wanted):
        parser.error(f"no cell is called {unknown}; there are {', '.join(wanted)}")
    missing = [(n, s) for n, s in CELLS if row(n, s) not in done and f"{n}:{s}" in (arguments.only or wanted)]
    failed, finished = False, 0
    for name, seed in missing:
        if finished == arguments.cells:
            break
        folder = arguments.runs / f"{name}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"{name} {seed}: another run has it", file=sys.stderr)
                continue
            if row(name, seed) in TABLE.read_text():
                continue
            try:
                line = cell(name, seed, arguments, lock)
            except subprocess.CalledProcessError as error:
                print(f"{name} {seed}: exit code {error.returncode}", file=sys.stderr)
                failed = True
                continue
            with TABLE.open("a") as table:
                fcntl.flock(table, fcntl.LOCK_EX)
                if row(name, seed) not in TABLE.read_text():
                    table.write(line)
            finished += 1
            print(line, end="", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
