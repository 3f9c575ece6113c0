#!/bin/sh
# What wants a GPU: gradients against the CPU's, speed, and searches on CIFAR-100. Each step is one command that ends within LIMIT
# seconds or goes on where it was cut off when it is given again; what is done is not done again.
#
#     HALFNET_DATA=DIR gpu/run.sh            # from training/: every step that is not done, in order
#     HALFNET_DATA=DIR gpu/run.sh speed      # one: build, gradients, speed, pretrain, search-50000, search-12900, search-6000, search-0
#
# RUNS (default gpu/runs) keeps checkpoints; results.md beside this file gets a line a result. The first build fetches the compiler
# library of CubeCL, so it wants a network. Exit code 75: cut off by LIMIT, give the command again.
set -eu
cd "$(dirname "$0")/.."
LIMIT=${LIMIT:-540}
RUNS=${RUNS:-gpu/runs}
TABLE=gpu/results.md
# `cuda` alone, should merged kernels go wrong.
FEATURES=${FEATURES:-cuda-fusion}
TRAIN=target/release/halfnet-train
mkdir -p "$RUNS"

# limited COMMAND...: ends with 75 where the limit cut it off; the checkpoint that it leaves is at most a minute old.
limited() {
    code=0
    timeout --signal=TERM "$LIMIT" "$@" || code=$?
    [ "$code" = 124 ] && exit 75
    return "$code"
}

append() {
    [ -f "$TABLE" ] || printf '# Results on a GPU\n\n| date | GPU | features | what | result |\n|---|---|---|---|---|\n' > "$TABLE"
    gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)
    printf '| %s | %s | %s | %s | %s |\n' "$(date -u +%F)" "$gpu" "$FEATURES" "$1" "$2" >> "$TABLE"
}

# field NAME FILE: a number of a result.
field() {
    sed -n "s/^  \"$1\": \\(-\\{0,1\\}[0-9.e-]*\\),\\{0,1\\}\$/\\1/p" "$2" | head -n 1
}

build() {
    limited cargo build --release --features "$FEATURES" --bin halfnet-train
}

# Every operation's value and gradients, on the GPU against the CPU's kernels.
gradients() {
    HALFNET_GPU=1 limited cargo test --release --features "$FEATURES" --test composed
    append "gradients of every layer against the CPU's" "within 1e-4 of the largest"
}

# ResNet-18, batch 256, beside PyTorch in the same run.
speed() {
    ours=$(limited "$TRAIN" --device cuda --json bench resnet18 --batch 256 --seconds 30)
    append "ResNet-18, batch 256, pictures/s" "$(printf '%s' "$ours" | sed 's/.*"images_per_second":\([0-9.]*\).*/\1/')"
    if python3 -c 'import torch; raise SystemExit(not torch.cuda.is_available())' 2> /dev/null; then
        append "the same in PyTorch" "$(limited python3 bench/pytorch.py --device cuda --batch 256 --seconds 30 resnet18 | tail -n 1)"
    fi
}

# The network with all ReLUs: SGD, 0.1, cosine, as AutoReP's baseline but for half the epochs and a validation split.
pretrain() {
    limited "$TRAIN" --device cuda train --model resnet18 --data-set cifar100 --epochs "${EPOCHS:-200}" --batch 256 --rate 0.1 \
        --decay 5e-4 --resume --checkpoint-every 60 --out "$RUNS/resnet18-cifar100"
    result="$RUNS/resnet18-cifar100/result.json"
    append "ResNet-18, CIFAR-100, all ReLU, ${EPOCHS:-200} epochs: test %" "$(field test "$result")"
}

# search BUDGET: AutoReP, degree 2.
search() {
    limited "$TRAIN" --device cuda search --model resnet18 --data-set cifar100 --weights "$RUNS/resnet18-cifar100/weights.safetensors" \
        --budget "$1" --epochs "${SEARCH_EPOCHS:-150}" --resume --checkpoint-every 60 --out "$RUNS/resnet18-cifar100-$1"
    result="$RUNS/resnet18-cifar100-$1/result.json"
    append "ResNet-18, CIFAR-100, AutoReP, $(field relus "$result") ReLUs: test %" "$(field test "$result")"
}

step() {
    [ -f "$RUNS/$1.done" ] && return 0
    echo "== $1" >&2
    case $1 in
        search-*) search "${1#search-}" ;;
        *) "$1" ;;
    esac
    touch "$RUNS/$1.done"
}

command -v nvidia-smi > /dev/null || { echo "gpu/run.sh: no nvidia-smi: this wants a machine with an NVIDIA GPU and its driver" >&2; exit 2; }
for name in ${1:-build gradients speed pretrain search-50000 search-12900 search-6000 search-0}; do
    case $name in
        build | gradients | speed | pretrain | search-*) step "$name" ;;
        *) echo "gpu/run.sh: no step is called $name" >&2; exit 2 ;;
    esac
done
