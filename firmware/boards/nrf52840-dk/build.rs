//! Links the material in: see `halfnet-provisioned`.

fn main() {
    halfnet_provisioned::memory_x();
    halfnet_provisioned::material();
}
