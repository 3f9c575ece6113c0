//! Memory that is used again, and how work is shared out.

/// `count` floats of scratch memory, whatever they are, from the start of a line of the cache: no vector then
/// lies in two. The memory only ever grows.
pub(crate) fn at_least(scratch: &mut Vec<f32>, count: usize) -> &mut [f32] {
    const LINE: usize = 64;
    let spare = LINE / size_of::<f32>() - 1;
    if scratch.len() < count + spare {
        // What it holds is of no use: grown anew, nothing is copied.
        *scratch = vec![0.0; count + spare];
    }
    let start = scratch.as_ptr().align_offset(LINE).min(spare);
    &mut scratch[start..start + count]
}

/// How many of `items` a job takes where there are `jobs` to begin with: all, if threads divide these evenly,
/// else few enough that every thread has two; a multiple of `least`.
pub(crate) fn per_job(items: usize, jobs: usize, least: usize) -> usize {
    let threads = rayon::current_num_threads();
    let parts = if jobs.is_multiple_of(threads) { 1 } else { (2 * threads).div_ceil(jobs) };
    items.div_ceil(parts).next_multiple_of(least)
}
