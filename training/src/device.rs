//! Where tensors lie: on the CPU, whose kernels are the project's own, or on a GPU.

use std::sync::OnceLock;

use burn::tensor::Device;

use crate::error::TrainError;

/// The device of this process's runs.
static CURRENT: OnceLock<Device> = OnceLock::new();

/// Which device is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// A GPU if there is one and this build has the feature `cuda`, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Flex,
    /// The first NVIDIA GPU.
    Cuda,
}

impl std::str::FromStr for Choice {
    type Err = TrainError;

    fn from_str(name: &str) -> Result<Self, TrainError> {
        match name {
            "auto" => Ok(Self::Auto),
            "flex" => Ok(Self::Flex),
            "cuda" => Ok(Self::Cuda),
            _ => Err(TrainError::Usage(format!("no device is called `{name}`: auto, flex or cuda"))),
        }
    }
}

/// Makes a device that of all runs of this process, once, before the first.
///
/// # Errors
/// As [`find`]; or runs have begun on another.
pub fn choose(choice: Choice) -> Result<(), TrainError> {
    let device = find(choice)?;
    if *CURRENT.get_or_init(|| device.clone()) == device {
        return Ok(());
    }
    Err(TrainError::Usage("a device is chosen once, before the first run".to_owned()))
}

/// The device of this process's runs: the CPU where none was chosen.
#[must_use]
pub fn current() -> Device {
    CURRENT.get_or_init(Device::flex).clone()
}

/// Has a device's processor kernels of the project's own?
#[must_use]
pub fn has_kernels(device: Device) -> bool {
    device.without_autodiff() == Device::flex()
}

/// The name of the one that runs are on.
#[must_use]
pub fn name() -> &'static str {
    if has_kernels(current()) { "flex" } else { "cuda" }
}

/// The device, if it is there.
///
/// # Errors
/// A GPU is wanted, and this build cannot use one or there is none.
pub fn find(choice: Choice) -> Result<Device, TrainError> {
    match choice {
        Choice::Flex => Ok(Device::flex()),
        Choice::Auto => Ok(gpu().unwrap_or_else(|_| Device::flex())),
        Choice::Cuda => gpu().map_err(TrainError::Usage),
    }
}

#[cfg(feature = "cuda")]
fn gpu() -> Result<Device, String> {
    // Without a driver, opening the device would panic; listing does not find it.
    let found = Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec();
    found.into_iter().next().ok_or_else(|| {
        "--device cuda: no NVIDIA GPU answers; is the driver installed (`nvidia-smi`)? --device flex trains on the CPU".to_owned()
    })
}

#[cfg(not(feature = "cuda"))]
fn gpu() -> Result<Device, String> {
    Err("--device cuda: this program was built without it; build with `cargo build --release --features cuda`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_says_what_to_do() {
        assert_eq!(find(Choice::Flex).unwrap(), Device::flex());
        assert!("gpu".parse::<Choice>().unwrap_err().to_string().contains("auto, flex or cuda"));
        #[cfg(not(feature = "cuda"))]
        {
            assert_eq!(find(Choice::Auto).unwrap(), Device::flex());
            assert!(find(Choice::Cuda).unwrap_err().to_string().contains("--features cuda"));
        }
    }
}
