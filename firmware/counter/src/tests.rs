//! Cuts at every byte, rot, wear, and pairings beside each other.

use std::vec::Vec;

use proptest::prelude::*;

use crate::simulated::{Failure, Flash, Torn};
use crate::{Blocking, Counter, CounterError, PAGES, wait};

type Small = Flash<128, 4>;
type Opened<const PAGE: usize, const WORD: usize> =
    Result<Counter<Blocking<Flash<PAGE, WORD>>>, CounterError<Failure>>;

fn open<const PAGE: usize, const WORD: usize>(flash: Flash<PAGE, WORD>, pairing: u8) -> Opened<PAGE, WORD> {
    let region = 0..flash.bytes.len() as u32;
    wait(Counter::open(Blocking(flash), region, [pairing; 16]))
}

fn closed<const PAGE: usize, const WORD: usize>(
    counter: Counter<Blocking<Flash<PAGE, WORD>>>,
) -> Flash<PAGE, WORD> {
    counter.close().0
}

/// Opens flash whose power goes after `left` bytes and burns; gives what is left in flash, and whether the
/// burn returned.
fn burn_and_cut<const PAGE: usize, const WORD: usize>(
    flash: &Flash<PAGE, WORD>,
    counter: u64,
    left: u64,
    torn: Torn,
) -> (Flash<PAGE, WORD>, bool) {
    let mut flash = flash.cut_after(left, torn);
    let region = 0..flash.bytes.len() as u32;
    let mut done = false;
    let outcome = wait(async {
        let mut opened = Counter::open(Borrowed(&mut flash), region, [1; 16]).await?;
        opened.burn(counter).await?;
        done = true;
        Ok::<_, CounterError<Failure>>(())
    });
    assert!(
        matches!(outcome, Ok(()) | Err(CounterError::Flash(Failure::Cut))),
        "{outcome:?} where only a cut can be"
    );
    (flash, done)
}

/// Lent flash: what a cut left stays to be seen.
struct Borrowed<'f, F>(&'f mut F);

impl<F: embedded_storage::nor_flash::NorFlash> embedded_storage_async::nor_flash::ErrorType
    for Borrowed<'_, F>
{
    type Error = F::Error;
}

impl<F: embedded_storage::nor_flash::NorFlash> embedded_storage_async::nor_flash::ReadNorFlash
    for Borrowed<'_, F>
{
    const READ_SIZE: usize = F::READ_SIZE;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        self.0.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

impl<F: embedded_storage::nor_flash::NorFlash> embedded_storage_async::nor_flash::NorFlash
    for Borrowed<'_, F>
{
    const WRITE_SIZE: usize = F::WRITE_SIZE;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        self.0.erase(from, to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.write(offset, bytes)
    }
}

/// Cuts the power at every byte of every burn and looks at what the next opening finds.
fn cut_everywhere<const PAGE: usize, const WORD: usize>(
    pages: usize,
    burns: u64,
    torn: impl Fn(u64) -> Torn,
) -> u64 {
    let mut flash = Flash::<PAGE, WORD>::new(pages);
    let mut cuts = 0;
    for counter in 0..burns {
        let (after, done) = burn_and_cut(&flash, counter, u64::MAX, Torn::Sharp);
        assert!(done);
        for left in 0..after.done {
            let (cut, done) = burn_and_cut(&flash, counter, left, torn(cuts));
            assert!(!done, "a burn returned without power");
            let mut opened = open(cut.powered(), 1)
                .unwrap_or_else(|e| panic!("burn {counter} cut after {left} bytes: {e}"));
            let next = opened.next();
            assert!(
                next == counter || next == counter + 1,
                "burn {counter} cut after {left} bytes: next is {next}"
            );
            // It goes on as if nothing had been.
            wait(opened.burn(next))
                .unwrap_or_else(|e| panic!("burn {counter} cut after {left} bytes: then {e}"));
            assert_eq!(open(closed(opened), 1).unwrap().next(), next + 1);
            cuts += 1;
        }
        flash = after.powered();
    }
    assert!(
        flash.erases.iter().all(|&erases| erases >= 2),
        "no page was used a third time: {:?}",
        flash.erases
    );
    cuts
}

#[test]
fn no_counter_is_handed_out_twice_wherever_the_power_is_cut() {
    let cuts = cut_everywhere::<128, 4>(PAGES, 16, |_| Torn::Sharp)
        + cut_everywhere::<256, 1>(4, 40, |_| Torn::Sharp)
        + cut_everywhere::<512, 32>(PAGES, 30, |_| Torn::Sharp);
    assert!(cuts > 8000, "{cuts}");
}

#[test]
fn nor_when_the_cut_leaves_anything_in_the_word_or_page_at_hand() {
    for seed in 0..4 {
        let torn = |cut: u64| Torn::Blurred(seed << 32 | cut);
        cut_everywhere::<128, 4>(PAGES, 16, torn);
        cut_everywhere::<256, 8>(4, 32, torn);
        cut_everywhere::<512, 32>(PAGES, 30, torn);
    }
}

#[test]
fn an_opening_that_is_cut_can_be_cut_again() {
    let mut flash = Small::new(PAGES);
    for counter in 0..12 {
        let (after, _) = burn_and_cut(&flash, counter, u64::MAX, Torn::Sharp);
        for left in (0..after.done).step_by(3) {
            for torn in [Torn::Sharp, Torn::Blurred(left)] {
                let (cut, _) = burn_and_cut(&flash, counter, left, torn);
                let settled = closed(open(cut.powered(), 1).unwrap());
                for left in 0..settled.done {
                    let (twice, done) = burn_and_cut(&cut, counter + 1, left, torn);
                    assert!(!done);
                    let next = open(twice.powered(), 1).unwrap().next();
                    assert!(next == counter || next == counter + 1, "{counter} {left}: {next}");
                }
            }
        }
        flash = after.powered();
    }
}

#[test]
fn a_burned_counter_is_refused_and_a_gap_is_allowed() {
    let mut counter = open(Small::new(PAGES), 1).unwrap();
    assert_eq!((counter.next(), counter.boots()), (0, 0));
    wait(counter.burn(0)).unwrap();
    wait(counter.burn(7)).unwrap();
    assert_eq!(wait(counter.burn(7)), Err(CounterError::Burned { counter: 7, next: 8 }));
    assert_eq!(wait(counter.boot()), Ok(1));
    assert_eq!(wait(counter.burn(u64::MAX)), Err(CounterError::Spent));
    let mut counter = open(closed(counter), 1).unwrap();
    assert_eq!((counter.next(), counter.boots()), (8, 1));
    assert_eq!(wait(counter.burn(3)), Err(CounterError::Burned { counter: 3, next: 8 }));
    assert_eq!(wait(counter.boot()), Ok(2));
    wait(counter.burn(u64::MAX - 1)).unwrap();
    assert_eq!(wait(counter.burn(u64::MAX)), Err(CounterError::Spent));
}

#[test]
fn ten_thousand_burns_wear_the_pages_evenly() {
    // nRF52840: pages of 4 KiB, good for 10,000 erases. Two records of 8 + 28 bytes a burn.
    let mut counter = open(Flash::<4096, 4>::new(PAGES), 1).unwrap();
    for k in 0..10_000 {
        wait(counter.burn(k)).unwrap();
    }
    let flash = closed(counter);
    let (least, most) = (flash.erases.iter().min().unwrap(), flash.erases.iter().max().unwrap());
    assert!(most - least <= 1, "{:?}", flash.erases);
    // 113 records a page: 177 pages in all, 59 times each.
    assert_eq!(*most, 59, "{:?}", flash.erases);
    assert_eq!(open(flash, 1).unwrap().next(), 10_000);
}

#[test]
fn one_byte_that_rots_takes_nothing_back() {
    let mut flash = Small::new(PAGES);
    for counter in 0..10 {
        flash = burn_and_cut(&flash, counter, u64::MAX, Torn::Sharp).0.powered();
        for at in 0..flash.bytes.len() {
            let mut rotten = flash.clone();
            rotten.bytes[at] ^= 0x10;
            match open(rotten, 1) {
                Ok(opened) => assert_eq!(opened.next(), counter + 1, "byte {at} after burn {counter}"),
                Err(e) => {
                    assert!(matches!(e, CounterError::Damaged | CounterError::Flash(Failure::Misuse)), "{e}")
                }
            }
        }
    }
}

#[test]
fn pairings_do_not_take_each_other_back() {
    let mut flash = Small::new(PAGES);
    let mut expected = [0_u64; 3];
    for round in 0..40_u64 {
        // The third burns once, long ago.
        let pairing = if round == 5 { 2 } else { (round % 2) as usize };
        let mut counter = open(flash, pairing as u8).unwrap();
        assert_eq!(counter.next(), expected[pairing]);
        wait(counter.burn(expected[pairing] + round % 3)).unwrap();
        expected[pairing] = counter.next();
        flash = closed(counter);
    }
    for (pairing, &next) in expected.iter().enumerate() {
        assert_eq!(open(flash.clone(), pairing as u8).unwrap().next(), next);
    }
}

#[test]
fn what_is_no_counter_is_refused_and_nothing_panics() {
    let region = |range| wait(Counter::open(Blocking(Small::new(4)), range, [1; 16])).map(|c| c.next());
    assert_eq!(region(0..512), Ok(0));
    for wrong in [0..256, 0..640, 64..448, 128..500, 0..u32::MAX] {
        assert_eq!(region(wrong.clone()), Err(CounterError::Region), "{wrong:?}");
    }
    #[allow(clippy::reversed_empty_ranges)]
    let reversed = region(384..0);
    assert_eq!(reversed, Err(CounterError::Region));
    let filled = |byte| {
        let mut flash = Small::new(PAGES);
        flash.bytes.fill(byte);
        open(flash, 1).map(|c| c.next())
    };
    assert_eq!(filled(0), Err(CounterError::Damaged));
    // Every record unreadable, the marks of full pages still there.
    let mut flash = Small::new(PAGES);
    for counter in 0..10 {
        flash = burn_and_cut(&flash, counter, u64::MAX, Torn::Sharp).0.powered();
    }
    for page in flash.bytes.chunks_mut(128) {
        for byte in &mut page[4..124] {
            *byte &= 0x55;
        }
    }
    assert!(matches!(open(flash, 1), Err(CounterError::Lost | CounterError::Damaged)));
}

proptest! {
    /// Burns, boots and cuts in any order: what returned stays burned, and no boot number comes twice.
    #[test]
    fn any_sequence_of_burns_boots_and_cuts(
        steps in prop::collection::vec((0_u64..3, any::<bool>(), prop::option::of(0_u64..500), any::<u64>()), 1..80),
    ) {
        let mut flash = Small::new(PAGES);
        let (mut burned, mut boots) = (None::<u64>, Vec::new());
        for (gap, boot, cut, seed) in steps {
            let mut running = flash.cut_after(cut.unwrap_or(u64::MAX), Torn::Blurred(seed));
            let outcome = wait(async {
                let region = 0..running.bytes.len() as u32;
                let mut counter = Counter::open(Borrowed(&mut running), region, [1; 16]).await?;
                assert!(burned.is_none_or(|burned| counter.next() > burned), "{burned:?} is handed out again");
                if boot {
                    let number = counter.boot().await?;
                    assert!(!boots.contains(&number), "boot {number} came twice");
                    boots.push(number);
                } else {
                    let next = counter.next() + gap;
                    counter.burn(next).await?;
                    burned = Some(next);
                }
                Ok::<_, CounterError<Failure>>(())
            });
            prop_assert!(matches!(outcome, Ok(()) | Err(CounterError::Flash(Failure::Cut))), "{:?}", outcome);
            flash = running.powered();
        }
    }

    /// Whatever a region holds, opening it ends and does not panic.
    #[test]
    fn any_bytes_can_be_opened(bytes in prop::collection::vec(any::<u8>(), 384), marks in any::<u8>()) {
        let mut flash = Small::new(PAGES);
        flash.bytes.copy_from_slice(&bytes);
        for page in 0..PAGES {
            let mark = |bit: usize| if marks >> bit & 1 == 1 { 0 } else { 0xFF };
            flash.bytes[page * 128..page * 128 + 4].fill(mark(2 * page));
            flash.bytes[page * 128 + 124..(page + 1) * 128].fill(mark(2 * page + 1));
        }
        if let Ok(mut counter) = open(flash, 1) {
            let _ = wait(counter.burn(counter.next()));
        }
    }
}
