#!/bin/sh
# What wants a GPU: gradients against the CPU's, speed, and searches on CIFAR-100. A call ends within LIMIT seconds, or goes on where it
# was cut off when it is given again (exit code 75); what is done is not done again.
#
#     HALFNET_DATA=DIR gpu/run.sh            # from training/: every step that is not done, in order
#     HALFNET_DATA=DIR gpu/run.sh speed      # some: build, gradients, speed, pytorch, pretrain, search-50000, search-12900, -6000, -0
#     FEATURES=cuda gpu/run.sh build gradients speed                  # the same without merged kernels
#     EPOCHS=20 SEARCH_EPOCHS=10 gpu/run.sh pretrain search-12900     # shorter runs, with folders and lines of their own
#
# The build takes half an hour, wants no GPU and has no limit; the compiler library of CubeCL that it fetches can be Debian's
# (gpu/llvm.sh). What it leaves in target/gpu runs on a machine that has a GPU, the CUDA toolkit's headers and no Rust, with gpu/ and
# bench/. RUNS keeps checkpoints, TABLE gets a line a result.
set -eu
cd "$(dirname "$0")/.."
LIMIT=${LIMIT:-540}
RUNS=${RUNS:-gpu/runs}
TABLE=${TABLE:-gpu/results.md}
# `cuda` alone, should merged kernels go wrong.
FEATURES=${FEATURES:-cuda-fusion}
EPOCHS=${EPOCHS:-200}
SEARCH_EPOCHS=${SEARCH_EPOCHS:-150}
BUILT=target/gpu/$FEATURES
TRAIN=$BUILT/halfnet-train
PRETRAINED=$RUNS/resnet18-cifar100-$EPOCHS
mkdir -p "$RUNS"

fail() {
    echo "gpu/run.sh: $1" >&2
    exit 2
}

# limited COMMAND...: ends with 75 where the limit cut it off; the checkpoint that it leaves is at most a minute old.
limited() {
    left=$((END - $(date +%s)))
    [ "$left" -gt 5 ] || exit 75
    code=0
    timeout --signal=TERM "$left" "$@" || code=$?
    [ "$code" = 124 ] && exit 75
    return "$code"
}

append() {
    [ -f "$TABLE" ] || printf '# Results on a GPU\n\n| date | GPU | features | commit | what | result |\n|---|---|---|---|---|---|\n' > "$TABLE"
    gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -n 1)
    printf '| %s | %s | %s | %s | %s | %s |\n' "$(date -u +%F)" "$gpu" "$FEATURES" "$(cat "$BUILT/commit")" "$1" "$2" >> "$TABLE"
}

# field NAME FILE: a number of a result.
field() {
    sed -n "s/^  \"$1\": \\(-\\{0,1\\}[0-9.e-]*\\),\\{0,1\\}\$/\\1/p" "$2" | head -n 1
}

build() {
    if ! command -v cargo > /dev/null; then
        [ -x "$TRAIN" ] && [ -x "$BUILT/composed" ] && return 0
        fail "no cargo, and nothing built in $BUILT: run the step build on a machine with Rust and bring that folder"
    fi
    mkdir -p "$BUILT"
    rm -f "$BUILT/commit"
    cargo build --release --features "$FEATURES" --bin halfnet-train
    cargo test --release --features "$FEATURES" --test composed --no-run --message-format=json-render-diagnostics > "$BUILT/messages"
    test=$(sed -n 's/.*"executable":"\([^"]*\/composed-[^"]*\)".*/\1/p' "$BUILT/messages")
    install -s target/release/halfnet-train "$TRAIN"
    install -s "$test" "$BUILT/composed"
    rm "$BUILT/messages"
    git describe --always --dirty > "$BUILT/commit"
}

# Every operation's value and gradients, on the GPU against the CPU's kernels.
gradients() {
    HALFNET_GPU=1 limited "$BUILT/composed"
    append "operations and their gradients against the CPU's" "all within the tests' tolerance"
}

# ResNet-18, batch 256.
speed() {
    limited "$TRAIN" --device cuda --json bench resnet18 --batch 256 --seconds 30 > "$RUNS/speed"
    append "ResNet-18, batch 256, pictures/s" "$(sed 's/.*"images_per_second":\([0-9.]*\).*/\1/' "$RUNS/speed")"
}

# The same in PyTorch, right after.
pytorch() {
    if python3 -c 'import torch; raise SystemExit(not torch.cuda.is_available())' 2> /dev/null; then
        limited python3 bench/pytorch.py --device cuda --batch 256 --seconds 30 resnet18 > "$RUNS/speed"
        append "the same in PyTorch (network, batch, pictures/s by the clock and by processor time)" "$(tail -n 1 "$RUNS/speed")"
    else
        append "the same in PyTorch" "no PyTorch with CUDA here"
    fi
}

# The network with all ReLUs: SGD, 0.1, cosine, as AutoReP's baseline but for half the epochs and a validation split.
pretrain() {
    limited "$TRAIN" --device cuda train --model resnet18 --data-set cifar100 --epochs "$EPOCHS" --batch 256 --rate 0.1 --decay 5e-4 \
        --resume --checkpoint-every 60 --out "$PRETRAINED"
    result=$PRETRAINED/result.json
    append "ResNet-18, CIFAR-100, all ReLU, $EPOCHS epochs, $(field seconds "$result") s: test %" "$(field test "$result")"
}

# search BUDGET: AutoReP, degree 2.
search() {
    out=$RUNS/resnet18-cifar100-$EPOCHS-$1-$SEARCH_EPOCHS
    limited "$TRAIN" --device cuda search --model resnet18 --data-set cifar100 --weights "$PRETRAINED/weights.safetensors" \
        --budget "$1" --epochs "$SEARCH_EPOCHS" --no-export --resume --checkpoint-every 60 --out "$out"
    result=$out/result.json
    append "ResNet-18, CIFAR-100, AutoReP, $(field relus "$result") ReLUs, $EPOCHS + $SEARCH_EPOCHS epochs, seed 1, \
$(field seconds "$result") s: test %" "$(field test "$result")"
}

step() {
    case $1 in
        gradients | speed | pytorch) done=$RUNS/$1-$FEATURES.done ;;
        pretrain) done=$PRETRAINED.done ;;
        search-*) done=$RUNS/$1-$EPOCHS-$SEARCH_EPOCHS.done ;;
    esac
    [ -f "$done" ] && return 0
    echo "== $1" >&2
    [ -x "$TRAIN" ] || fail "nothing built in $BUILT: run the step build first"
    command -v nvidia-smi > /dev/null || fail "no nvidia-smi: $1 wants a machine with an NVIDIA GPU and its driver"
    [ -n "${CUDA_PATH:-}" ] || [ -d /usr/local/cuda ] || [ -d /opt/cuda ] || [ -x /usr/bin/nvcc ] ||
        fail "no CUDA toolkit: kernels are compiled with its headers; set CUDA_PATH to where it is"
    case $1 in
        pretrain | search-*) [ -n "${HALFNET_DATA:-}" ] || fail "$1 wants CIFAR-100: set HALFNET_DATA to the folder of data sets" ;;
    esac
    case $1 in
        search-*) search "${1#search-}" ;;
        *) "$1" ;;
    esac
    touch "$done"
}

[ $# -gt 0 ] || set -- build gradients speed pytorch pretrain search-50000 search-12900 search-6000 search-0
END=$(($(date +%s) + LIMIT))
for name; do
    case $name in
        build)
            build
            END=$(($(date +%s) + LIMIT))
            ;;
        gradients | speed | pytorch | pretrain | search-[0-9]*) step "$name" ;;
        *) fail "no step is called $name" ;;
    esac
done
