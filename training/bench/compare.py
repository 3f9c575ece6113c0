"""Training speed beside PyTorch's: both run by turns, so that what else the machine does meets both, and medians over the turns are told.

    cargo build --release
    python3 bench/compare.py [--threads N,N] [--rounds N] [--seconds S] [NETWORK ...]

The Python that runs this needs PyTorch. Prints a Markdown table.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

TRAINING = pathlib.Path(__file__).resolve().parent.parent
TRAIN = TRAINING / "target" / "release" / "halfnet-train"


def here(network, threads, seconds):
    command = [TRAIN, "bench", network, "--threads", threads, "--seconds", seconds, "--device", "flex", "--json"]
    found = json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)
    return found[0]["images_per_second"]


def pytorch(network, threads, seconds):
    command = [sys.executable, TRAINING / "bench" / "pytorch.py", "--threads", threads, "--seconds", seconds, network]
    found = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout
    return float(found.split()[2])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each of them in a round")
    parser.add_argument("networks", nargs="*", default=["resnet18", "resnet20", "depthwise"])
    arguments = parser.parse_args()
    print("| network | threads | here, pictures a second | PyTorch | ratio: median, lowest, highest |")
    print("|---|---|---|---|---|")
    for network in arguments.networks:
        for threads in arguments.threads:
            pairs = []
            for _ in range(arguments.rounds):
                pairs.append((here(network, threads, arguments.seconds), pytorch(network, threads, arguments.seconds)))
            ours, theirs = (statistics.median(column) for column in zip(*pairs))
            ratios = sorted(mine / other for mine, other in pairs)
            spread = f"{statistics.median(ratios):.2f}, {ratios[0]:.2f}, {ratios[-1]:.2f}"
            print(f"| {network} | {threads} | {ours:.1f} | {theirs:.1f} | {spread} |", flush=True)


if __name__ == "__main__":
    main()
