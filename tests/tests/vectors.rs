//! The committed known answers: the core gives them, they are what `halfnet_tests::vectors` makes, and the
//! check of them can fail.
//!
//! `HALFNET_WRITE_VECTORS=1 cargo test -p halfnet-tests --test vectors` writes them anew.

use std::path::Path;

use halfnet_tests::vectors::files;
use halfnet_vectors::{GATES, Mismatch, PRIMITIVES, REPLAY_HELD, REPLAY_SHARED, Scratch, Vector, read};

/// Enough for every vector; what a small microcontroller has.
fn check(vector: &Vector<'_>) -> Result<(), Mismatch> {
    let (mut arena, mut channel, mut frame) = ([0; 2048], [0; 128], [0; 2048]);
    halfnet_vectors::check(vector, Scratch { arena: &mut arena, channel: &mut channel, frame: &mut frame })
}

fn check_file(file: &[u8]) -> Result<usize, Mismatch> {
    let mut count = 0;
    for vector in read(file) {
        check(&vector?)?;
        count += 1;
    }
    Ok(count)
}

#[test]
fn committed_vectors_are_what_is_made() {
    let made = files();
    if std::env::var_os("HALFNET_WRITE_VECTORS").is_some() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/data");
        for (name, bytes) in &made {
            std::fs::write(folder.join(name).with_extension("postcard"), bytes).unwrap();
        }
        return;
    }
    for ((name, made), committed) in made.iter().zip([PRIMITIVES, GATES, REPLAY_SHARED, REPLAY_HELD]) {
        assert!(
            made == committed,
            "{name} differs from what is committed: what travels or how shares are made has changed. If that is meant, raise the wire's \
             version and run HALFNET_WRITE_VECTORS=1 cargo test -p halfnet-tests --test vectors"
        );
    }
}

#[test]
fn the_core_gives_the_known_answers() {
    if std::env::var_os("HALFNET_WRITE_VECTORS").is_some() {
        return;
    }
    let counts = [PRIMITIVES, GATES, REPLAY_SHARED, REPLAY_HELD].map(|file| check_file(file).unwrap());
    assert_eq!(counts[2..], [3, 3]);
    assert!(counts[0] > 250 && counts[1] > 90, "{counts:?}");
    assert!(
        [PRIMITIVES, GATES, REPLAY_SHARED, REPLAY_HELD].iter().map(|file| file.len()).sum::<usize>()
            < 1 << 16
    );
}

/// A flipped bit is a mismatch, but for operands that the result does not depend on (of the words for m = 0
/// and m = 1, a gate reads one); none is a panic.
#[test]
fn a_changed_vector_is_noticed() {
    if std::env::var_os("HALFNET_WRITE_VECTORS").is_some() {
        return;
    }
    for (file, step, least) in
        [(PRIMITIVES, 5, 97), (GATES, 29, 60), (REPLAY_SHARED, 31, 90), (REPLAY_HELD, 31, 90)]
    {
        let (mut changed, mut noticed) = (0, 0);
        for at in (0..file.len()).step_by(step) {
            let mut bytes = file.to_vec();
            bytes[at] ^= 1 << (at % 8);
            changed += 1;
            noticed += usize::from(check_file(&bytes).is_err());
        }
        assert!(changed > 0 && 100 * noticed >= least * changed, "{noticed} of {changed} changes noticed");
    }
}
