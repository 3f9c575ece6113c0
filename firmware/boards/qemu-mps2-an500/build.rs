//! Links the material in, where the feature `party` asks for it: see `halfnet-provisioned`.

fn main() {
    halfnet_provisioned::memory_x();
    if std::env::var_os("CARGO_FEATURE_PARTY").is_some() {
        halfnet_provisioned::material();
    }
}
