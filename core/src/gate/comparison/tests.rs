use super::*;
use crate::opening;
use crate::ring::low_mask;
use proptest::prelude::*;

proptest! {
    #[test]
    fn both_parties_find_the_sign(opened_bits in 2_u8..=32, chunk in 1_u8..=8, seed in any::<u64>(), edge in any::<bool>()) {
        let layout = Layout::new(opened_bits, chunk);
        let mut state = seed | 1;
        let mut random = || { state ^= state << 13; state ^= state >> 7; state ^= state << 17; state.wrapping_mul(0x2545_f491_4f6c_dd1d) };
        let bound = 1_i64 << (opened_bits - 2);
        let mut c_planes = [0_u64; 33];
        let mut r_planes = [0_u64; 33];
        let mut signs = 0;
        for lane in 0..64 {
            let y = if edge && lane < 4 { [-bound, bound - 1, 0, -1][lane] } else { (random() % (2 * bound as u64)) as i64 - bound };
            let mask = random() & low_mask(opened_bits);
            let c = (y as u64).wrapping_add(1 << (opened_bits - 2)).wrapping_add(mask) & low_mask(opened_bits);
            if opened_bits <= 16 { prop_assert_eq!(c, u64::from(opening::reference_open(y, mask, opened_bits))); }
            for bit in 0..33 {
                c_planes[bit] |= (c >> bit & 1) << lane;
                r_planes[bit] |= (mask >> bit & 1) << lane;
            }
            signs |= u64::from(reference(y)) << lane;
        }
        let flip = random();
        let mut split = |planes: &[u64]| -> (std::vec::Vec<u64>, std::vec::Vec<u64>) {
            planes.iter().map(|p| { let share = random(); (share, share ^ p) }).unzip()
        };
        let mut leaves = std::vec![0; layout.leaf_planes()];
        deal_leaves(layout, &r_planes, flip, &mut leaves).unwrap();
        let (mut leaves_0, mut leaves_1) = split(&leaves);
        let mut states = [std::vec![0; layout.state_words()], std::vec![0; layout.state_words()]];
        evaluate_leaves(layout, false, &c_planes, &mut leaves_0, &mut states[0]).unwrap();
        evaluate_leaves(layout, true, &c_planes, &mut leaves_1, &mut states[1]).unwrap();
        for level in 0..layout.levels() {
            let uniform: std::vec::Vec<u64> = (0..layout.opened_planes(level)).map(|i| seed.rotate_left(i as u32 * 7 + level as u32) ^ 0x1234_5678_9abc_def0).collect();
            let mut planes = std::vec![0; layout.tree_planes(level)];
            deal_tree(layout, level, &uniform, &mut planes).unwrap();
            let (masks_0, masks_1) = split(&planes);
            let sent_0 = open_tree(layout, level, &masks_0, &mut states[0]).unwrap().to_vec();
            let sent_1 = open_tree(layout, level, &masks_1, &mut states[1]).unwrap().to_vec();
            prop_assert_eq!(sent_0.len(), layout.opened_planes(level));
            join_tree(layout, level, false, &masks_0, &sent_1, &mut states[0]).unwrap();
            join_tree(layout, level, true, &masks_1, &sent_0, &mut states[1]).unwrap();
        }
        let mut t = 0;
        for state in &mut states {
            open_sign(layout, state).unwrap();
            t ^= state[layout.own_planes()];
        }
        prop_assert_eq!(t ^ flip, signs);
    }
}

#[test]
fn no_layout_has_more_planes_than_buffers_hold() {
    let layouts = |opened_bits| {
        (1..=MAX_CHUNK).flat_map(move |chunk| (2..=opened_bits).map(move |n| Layout::new(n, chunk)))
    };
    let most = |opened_bits, planes: fn(&Layout, usize) -> usize| {
        layouts(opened_bits)
            .flat_map(|l| (0..l.levels().max(1)).map(move |level| planes(&l, level)))
            .max()
            .unwrap()
    };
    assert_eq!(most(32, |l, level| l.tree_planes(level).max(l.leaf_planes())), MAX_PLANES);
    assert_eq!(most(16, |l, _| l.leaf_planes()), MAX_LEAVES_16);
    assert!(
        most(32, |l, _| (0..l.chunks()).map(|chunk| l.products(chunk)).max().unwrap_or(0)) <= MAX_LEAVES_16
    );
    assert_eq!(most(32, Layout::tree_planes), MAX_TREE_PLANES);
    assert_eq!(most(32, Layout::opened_planes), MAX_OPENED_PLANES);
}

#[test]
fn costs_of_the_protocol_page() {
    let eight = Layout::new(10, 4);
    assert_eq!(
        (eight.levels(), eight.opened_planes(0), eight.leaf_planes() + eight.tree_planes(0)),
        (1, 2, 34)
    );
    let fourteen = Layout::new(16, 4);
    assert_eq!((fourteen.levels(), fourteen.opened_planes(0) + fourteen.opened_planes(1)), (2, 7));
    assert_eq!(Layout::new(10, 8).levels(), 0);
    assert_eq!((Layout::new(2, 4).leaf_planes(), Layout::new(2, 4).levels()), (1, 0));
}

/// Each operand one word short.
#[test]
fn shorter_operands_are_errors() {
    let layout = Layout::new(16, 4);
    let (leaves, words) = (layout.leaf_planes(), layout.state_words());
    let [opened, short] = [[1; 16], [1; 16]].map(std::vec::Vec::from);
    let short = &short[..14];
    let mut state = std::vec![0; words];
    let evaluate = |opened: &[u64], leaves: usize, state: &mut [u64]| {
        evaluate_leaves(layout, true, opened, &mut std::vec![0; leaves], state)
    };
    assert_eq!(evaluate(&opened, leaves, &mut state), Ok(()));
    assert_eq!(evaluate(short, leaves, &mut state), Err(Internal));
    assert_eq!(evaluate(&opened, leaves - 1, &mut state), Err(Internal));
    assert_eq!(evaluate(&opened, leaves, &mut state[1..]), Err(Internal));
    assert_eq!(deal_leaves(layout, short, 0, &mut std::vec![0; leaves]), Err(Internal));
    assert_eq!(deal_leaves(layout, &opened, 0, &mut std::vec![0; leaves - 1]), Err(Internal));
    for level in 0..layout.levels() {
        let (masks, peer) =
            (std::vec![0; layout.tree_planes(level)], std::vec![0; layout.opened_planes(level)]);
        assert_eq!(deal_tree(layout, level, &peer[1..], &mut masks.clone()), Err(Internal));
        assert_eq!(deal_tree(layout, level, &peer, &mut masks[1..].to_vec()), Err(Internal));
        assert_eq!(open_tree(layout, level, &masks[2..], &mut state).err(), Some(Internal));
        assert_eq!(open_tree(layout, level, &masks, &mut state[..layout.own_planes()]).err(), Some(Internal));
        assert_eq!(join_tree(layout, level, true, &masks[1..], &peer, &mut state), Err(Internal));
        assert_eq!(join_tree(layout, level, true, &masks, &peer[1..], &mut state), Err(Internal));
        assert_eq!(join_tree(layout, level, true, &masks, &peer, &mut state[..2]), Err(Internal));
    }
    assert_eq!(open_sign(layout, &mut state[1..]), Err(Internal));
}
