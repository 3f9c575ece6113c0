//! The board as P0 over Ethernet, real pictures, one table.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::compare::{Comparison, print};
use crate::emulator::MACHINE;
use crate::work::{Halfnet, finish, firmware};

/// ResNet-20's weights within the data folder.
const WEIGHTS: &str = "weights/cifar10_resnet20.safetensors";

/// What is shown.
pub(crate) struct Demo {
    pub(crate) count: usize,
    pub(crate) machine: String,
    pub(crate) halfnet: Halfnet,
}

impl Default for Demo {
    fn default() -> Self {
        Self { count: 20, machine: MACHINE.into(), halfnet: Halfnet::default() }
    }
}

impl Demo {
    /// Runs both networks in both modes; says whether everything was equal.
    pub(crate) fn run(&self) -> Result<bool> {
        let work = firmware().join("target/demo");
        let comparison = |name: &str| Comparison {
            count: self.count,
            machine: self.machine.clone(),
            halfnet: self.halfnet.clone(),
            work: work.join(name),
            ..Comparison::default()
        };
        let mut rows = comparison("mnist").run()?;
        match std::env::var_os("HALFNET_DATA").map(PathBuf::from).filter(|data| data.join(WEIGHTS).exists()) {
            Some(data) => {
                let mut resnet = comparison("resnet20");
                resnet.model = import(&resnet.halfnet, &data, &work)?;
                rows.extend(resnet.run()?);
            }
            None => println!("ResNet-20 is left out: HALFNET_DATA names no folder with {WEIGHTS}"),
        }
        Ok(print(&rows))
    }
}

/// Was a file or folder made by the host's program as it is now?
pub(crate) fn is_current(made: &Path, halfnet: &Halfnet) -> Result<bool> {
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    Ok(made.exists() && changed(made)? > changed(&halfnet.0)?)
}

/// The integer ResNet-20, imported into `work` unless it is there.
pub(crate) fn import(halfnet: &Halfnet, data: &Path, work: &Path) -> Result<PathBuf> {
    let model = work.join("resnet20.postcard");
    if !is_current(&model, halfnet)? {
        std::fs::create_dir_all(work)?;
        finish(
            halfnet
                .command()?
                .arg("import")
                .arg(data.join(WEIGHTS))
                .arg("--data")
                .arg(data)
                .arg("--out")
                .arg(&model),
        )?;
    }
    Ok(model)
}
