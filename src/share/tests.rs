use proptest::prelude::*;

use super::*;

#[test]
fn pieces_of_all_ranks_are_the_whole() {
    let slots = |runners: u32, total: u16| {
        (0..runners).map(|rank| Share::of_rank(rank, runners, total).of(total.into())).collect::<Vec<_>>()
    };
    assert_eq!(slots(1, 16), [16]);
    assert_eq!(slots(3, 16), [6, 5, 5]);
    assert_eq!(slots(3, 3), [1, 1, 1]);
    assert_eq!(slots(4, 3), [1, 1, 1, 0], "who comes last waits");
    assert_eq!(slots(3, 1), [1, 0, 0], "one slot is one runner's");
    let rates = |runners: u32, slots| {
        (0..runners).map(|rank| Share::of_rank(rank, runners, slots).of(u64::MAX)).collect::<Vec<_>>()
    };
    assert_eq!(rates(3, 1), [u64::MAX, 0, 0], "and so is all of the bandwidth");
    assert_eq!(rates(3, 2).iter().sum::<u64>(), u64::MAX);
    assert_eq!(Share::NONE.of(16), 0);
}

#[test]
fn a_joiner_waits_until_the_first_has_made_room() {
    let first = Holding::NONE.toward(Share::WHOLE).settled([]);
    assert!(first.is(Share::WHOLE));
    let joiner = Holding::NONE.toward(Share::of_rank(1, 2, 16)).settled([first.announced()]);
    assert_eq!(joiner.used(), Share::NONE);
    let first = first.toward(Share::of_rank(0, 2, 16)).settled([joiner.announced()]);
    assert!(first.is(Share::of_rank(0, 2, 16)));
    assert!(joiner.settled([first.announced()]).is(Share::of_rank(1, 2, 16)));
}

/// One runner at work: it has read the list, or written, or looked again.
#[derive(Debug, Clone, Copy)]
enum At {
    Start,
    Wrote,
    Gone,
}

proptest! {
    /// Nobody has a piece without a slot, or only half of one.
    #[test]
    fn who_has_a_piece_has_a_slot(runners in 1_u32..300, slots in 1_u16..=256) {
        let pieces: Vec<Share> = (0..runners).map(|rank| Share::of_rank(rank, runners, slots)).collect();
        for piece in &pieces {
            prop_assert_eq!(*piece == Share::NONE, piece.of(slots.into()) == 0);
        }
        prop_assert_eq!(pieces.iter().map(|piece| piece.of(slots.into())).sum::<u64>(), u64::from(slots));
    }

    #[test]
    fn pieces_that_do_not_overlap_never_allow_more_than_the_total(
        total: u64, points in proptest::collection::vec(0..=Share::LINE, 0..8),
    ) {
        let mut points = points;
        points.sort_unstable();
        let allowed: u128 = points.windows(2).map(|pair| u128::from(Share::new(pair[0], pair[1]).of(total))).sum();
        prop_assert!(allowed <= u128::from(total));
    }

    /// Runners come and go, and their steps mix in any order; each step of one is one statement of the database.
    #[test]
    fn what_is_in_use_never_overlaps_and_settles(
        slots in 1_u16..8, steps in proptest::collection::vec((0_usize..4, prop::bool::weighted(0.05)), 0..200),
    ) {
        let mut runners: Vec<(At, Holding)> = vec![(At::Gone, Holding::NONE); 4];
        // What the database has, of those that are in the list.
        let mut written: Vec<Option<Share>> = vec![None; 4];
        let settling = (0..24).map(|step| (step % 4, false));
        for (number, (who, leaves)) in steps.iter().copied().chain(settling).enumerate() {
            let listed: Vec<usize> = (0..4).filter(|runner| written[*runner].is_some()).collect();
            let (at, holding) = runners[who];
            let others = written.iter().enumerate().filter(|(other, _)| *other != who).filter_map(|(_, share)| *share);
            runners[who] = match at {
                At::Gone if number < steps.len() => {
                    written[who] = Some(Share::NONE);
                    (At::Start, Holding::NONE)
                }
                At::Gone => (At::Gone, Holding::NONE),
                _ if leaves => {
                    written[who] = None;
                    (At::Gone, Holding::NONE)
                }
                At::Start => {
                    let rank = listed.iter().position(|runner| *runner == who).expect("it is in the list");
                    let wanted = Share::of_rank(u32::try_from(rank).expect("small"), u32::try_from(listed.len()).expect("small"), slots);
                    let holding = holding.toward(wanted);
                    written[who] = Some(holding.announced());
                    (At::Wrote, holding)
                }
                At::Wrote => (At::Start, holding.settled(others)),
            };
            for (position, (_, one)) in runners.iter().enumerate() {
                for (_, other) in &runners[position + 1..] {
                    prop_assert_eq!(one.used.overlap(other.used), Share::NONE);
                }
            }
        }
        let listed = written.iter().flatten().count();
        let in_use: u64 = runners.iter().map(|(_, holding)| holding.used.of(1 << 20)).sum();
        prop_assert_eq!(in_use, if listed == 0 { 0 } else { 1 << 20 }, "all is in use again");
    }
}
