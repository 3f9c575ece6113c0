//! Puts `memory.x` where the linker looks.

fn main() {
    halfnet_provisioned::memory_x();
}
