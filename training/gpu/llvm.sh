#!/bin/sh
# Makes a build with `cuda` possible where the host that CubeCL downloads its LLVM from cannot be reached: Debian's LLVM in its place.
#
#     gpu/llvm.sh            # as root; LLVM=22 unless that is set: Debian 12's newest, from its security updates
#
# CubeCL links that LLVM for a code generator that the feature `cuda-cpp`, which `cuda` turns on, leaves unused: kernels go to NVRTC as
# C++. So any LLVM with the same symbols does, and nothing here runs it. Where the real one is installed nothing is changed.
set -eu
major=${LLVM:-22}
release=23.1.0-4 # what Cargo.lock says of tracel-llvm-bundler
folder=${XDG_DATA_HOME:-$HOME/.local/share}/tracel/tracel-llvm-$release
cd "$(dirname "$0")/.."
grep -A 1 '^name = "tracel-llvm-bundler"$' Cargo.lock | grep -q "\"$release\"" || {
    echo "gpu/llvm.sh: Cargo.lock has another tracel-llvm-bundler than $release: set release in this script to its version" >&2
    exit 1
}
[ -f "$folder/.tracel-llvm-installed" ] && { echo "$folder is there" >&2; exit 0; }

apt-get update -q
# Not its recommendations, a compiler among them.
DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "llvm-$major-dev" libz3-dev libzstd-dev libxml2-dev zlib1g-dev

mkdir -p "$folder/bin"
# The bundle's build script makes a library's name of a path by its file name, `lib` and all; and Polly is a package of its own.
cat > "$folder/bin/llvm-config" << END
#!/bin/sh
set -e
found=\$(llvm-config-$major "\$@")
printf '%s\\n' "\$found" | sed -e 's#/[^ ]*/lib\\([^/ ]*\\)\\.so#-l\\1#g' -e 's#-lPolly[A-Za-z]*##g'
END
chmod +x "$folder/bin/llvm-config"
"$folder/bin/llvm-config" --link-static --libs > /dev/null
touch "$folder/.tracel-llvm-installed"
echo "LLVM $("$folder/bin/llvm-config" --version) stands in for $release in $folder" >&2
