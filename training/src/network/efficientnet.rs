//! EfficientNet-B2 (Tan and Le, 2019) with torchvision's tensor names, SiLU replaced by ReLU as AutoReP does.
//!
//! Squeeze-excite stays, its sigmoid with it: such a network is trained and counted, but the two parties
//! cannot run it yet, and export says so. Dropout and stochastic depth, which torchvision trains with, are
//! left out.

use halfnet_host::network::data::DataSetKind;
use halfnet_host::network::float::ChannelNormalisation;

use super::builder::{Builder, Names};
use super::{Network, Step};

const RELU: Step = Step::Relu { average: false };

/// Stages of B0, scaled by 1.1 in channels and 1.2 in blocks: expansion, kernel, stride of the first block,
/// channels, blocks.
const STAGES: [(u16, u16, u16, u16, usize); 7] = [
    (1, 3, 1, 16, 2),
    (6, 3, 2, 24, 3),
    (6, 5, 2, 48, 3),
    (6, 3, 2, 88, 4),
    (6, 5, 1, 120, 4),
    (6, 5, 2, 208, 5),
    (6, 3, 1, 352, 2),
];

pub(super) fn b2(data_set: DataSetKind, normalisation: Vec<ChannelNormalisation>) -> Network {
    let mut b = Builder::new("efficientnet_b2", data_set, data_set.shape(), normalisation);
    let stem = b.convolution(0, ("features.0.0", "features.0.1"), 32, 3, 2, 1);
    b.push(vec![stem], RELU);
    for (stage, &(expansion, kernel, stride, width, blocks)) in STAGES.iter().enumerate() {
        for block in 0..blocks {
            let prefix = format!("features.{}.{block}.block", stage + 1);
            inverted_residual(&mut b, &prefix, expansion, kernel, if block == 0 { stride } else { 1 }, width);
        }
    }
    let head = b.convolution(b.last(), ("features.8.0", "features.8.1"), 1408, 1, 1, 1);
    b.push(vec![head], Step::Relu { average: true });
    b.release("classifier.1")
}

/// Expansion, depthwise convolution, squeeze-excite and projection; with a shortcut where shapes allow it.
fn inverted_residual(b: &mut Builder, prefix: &str, expansion: u16, kernel: u16, stride: u16, width: u16) {
    let source = b.last();
    let input = b.shape(source);
    let expanded = input.channels * expansion;
    let mut part = 0;
    let mut next = |inner: &str| {
        part += 1;
        format!("{prefix}.{}{inner}", part - 1)
    };
    if expansion > 1 {
        let name = next("");
        let expand = b.convolution(source, (&format!("{name}.0"), &format!("{name}.1")), expanded, 1, 1, 1);
        b.push(vec![expand], RELU);
    }
    let name = next("");
    let depth = b.convolution(
        b.last(),
        (&format!("{name}.0"), &format!("{name}.1")),
        expanded,
        kernel,
        stride,
        expanded,
    );
    let wide = b.push(vec![depth], RELU);

    // Squeezed to a quarter of the block's input channels.
    let excite = next("");
    let whole = b.join(wide, b.shape(wide));
    let pooled =
        b.push_named(format!("{excite}.avgpool"), vec![whole.clone()], Step::Linear { average: true });
    let squeeze = b.biased(pooled, &format!("{excite}.fc1"), (input.channels / 4).max(1));
    let squeezed = b.push(vec![squeeze], RELU);
    let open = b.biased(squeezed, &format!("{excite}.fc2"), expanded);
    let gate = b.push(vec![open], Step::Linear { average: false });
    let gated = b.push_named(excite, vec![whole], Step::Gate { by: gate });

    let name = next("");
    let names: Names<'_> = (&format!("{name}.0"), &format!("{name}.1"));
    let mut terms = vec![b.convolution(gated, names, width, 1, 1, 1)];
    if stride == 1 && input.channels == width {
        terms.push(b.join(source, input));
    }
    b.push(terms, Step::Linear { average: false });
}
