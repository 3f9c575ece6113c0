"""Training pictures a second, and a second of processor time, of the same networks in PyTorch: forward, backward, SGD with momentum, on random pictures.

    python3 bench/pytorch.py [--threads N] [--seconds S] [--device cuda] [--batch N] [NETWORK ...]
"""
import argparse
import statistics
import time

import torch
from torch import nn
import torch.nn.functional as F


class HeBlock(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.pad = stride, (width - channels) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.pad or self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + x)


class ProjectedBlock(HeBlock):
    def __init__(self, channels, width, stride):
        super().__init__(channels, width, stride)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.shortcut(x))


class Average(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    channels = 16
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            layers.append(HeBlock(channels, width, 2 if stage and not block else 1))
            channels = width
    return nn.Sequential(*layers, Average(), nn.Linear(64, 10))


def resnet18():
    layers = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)]
    channels = 64
    for stage, width in enumerate((64, 128, 256, 512)):
        for block in range(2):
            layers.append(ProjectedBlock(channels, width, 2 if stage and not block else 1))
            channels = width
    return nn.Sequential(*layers, Average(), nn.Linear(512, 10))


def depthwise():
    layers = [nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
    channels = 32
    for width, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        layers += [nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        layers += [nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, Average(), nn.Linear(256, 10))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, help="pictures of a batch, instead of each network's own")
    parser.add_argument("networks", nargs="*", default=["resnet18", "resnet20", "depthwise"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cases = {"resnet18": (resnet18, 32), "resnet20": (resnet20, 128), "depthwise": (depthwise, 32)}
    for name in arguments.networks:
        make, batch = cases[name]
        batch = arguments.batch or batch
        torch.manual_seed(1)
        network = make().train().to(arguments.device)
        optimiser = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
        pictures, labels = torch.randn(batch, 3, 32, 32).to(arguments.device), (torch.arange(batch) % 10).to(arguments.device)
        times, started = [], time.perf_counter()
        while len(times) < 4 or time.perf_counter() - started < arguments.seconds:
            begin = time.perf_counter()
            optimiser.zero_grad()
            F.cross_entropy(network(pictures), labels).backward()
            optimiser.step()
            if arguments.device != "cpu":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begin)
            if len(times) == 1:
                used = time.process_time()
        per_step = (time.process_time() - used) / (len(times) - 1)
        print(f"{name} {batch} {batch / statistics.median(times[1:]):.1f} {batch / per_step:.1f}", flush=True)


if __name__ == "__main__":
    main()
