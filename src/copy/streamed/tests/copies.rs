//! What a streamed copy does, and what stays of it when it ends in the middle.

use super::*;

#[tokio::test(start_paused = true)]
async fn segments_are_the_sources_own_and_proved_by_the_target() {
    let bed = Bed::kept(&[5000, 3000, 0, 7, 0], KIB);
    let receipt = bed.copy().await.expect("copied");
    bed.assert_copied(&receipt);
    assert_eq!(receipt.verified, Proof::Md5.text());
    assert_eq!(lock(&bed.target.segments).len(), 5, "empty segments are kept");
    // As Swift, and with it Trove's checksum, has it.
    let md5s: String = bed.job.segments.iter().flat_map(|list| list.iter()).map(|one| hex(&one.md5)).collect();
    assert_eq!(receipt.etag, hex(&<[u8; 16]>::from(Md5::digest(&md5s))));
    let rows = lock(&bed.rows.parts);
    let references: Vec<String> = rows
        .iter()
        .map(|((size, text), _)| StoredPart::from_text(*size, text.as_deref()).and_then(|part| part.reference))
        .map(|reference| reference.expect("each row has an ETag"))
        .collect();
    assert_eq!(references.concat(), md5s);
    assert_eq!(bed.rows.read.load(Ordering::Relaxed), bed.source.size);
    assert!(!bed.rows.stop.is_cancelled());
}

/// Swift to a store without segments: what is read and written at once has segments and metadata all the same.
#[tokio::test(start_paused = true)]
async fn a_small_object_of_segments_brings_its_metadata_and_is_compared() {
    let list = segments(&bytes(0..900), &[500]);
    let mut bed = Bed::new(Layout::Equal { size: 900, part_size: KIB }, Some(list), KIB);
    bed.source.silent = true;
    let receipt = bed.copy().await.expect("copied");
    bed.assert_copied(&receipt);
    assert_eq!((receipt.metadata.len(), lock(&bed.target.objects)[&key("to")].metadata.len()), (1, 1));
    bed.target = Streaming::default();
    bed.source.flip = Some(600);
    let failure = failure(bed.copy().await);
    assert!(failure.message.starts_with("the bytes of segment 2 of `from` are not those"), "{}", failure.message);
    assert_eq!(bed.target.object(), None);
}

#[tokio::test(start_paused = true)]
async fn one_small_segment_is_no_plain_object() {
    let bed = Bed::kept(&[70], KIB);
    let receipt = bed.copy().await.expect("copied");
    bed.assert_copied(&receipt);
    assert_eq!(lock(&bed.target.segments).len(), 1);
}

/// Killed at each step there is: what is copied afterwards is whole, and no finished segment is read again.
#[tokio::test(start_paused = true)]
async fn a_copy_that_was_killed_anywhere_goes_on_from_its_last_row() {
    for make in [|| Bed::kept(&[2500, 0, 1024, 3000], KIB), || Bed::plain(5000, KIB), || Bed::plain(900, KIB)] {
        let mut step = 1;
        loop {
            let mut bed = make();
            bed.with_fuse(Fuse::at(step));
            let Some(copied) = bed.copy_or_die().await else {
                let killed_with_object = bed.target.object().is_some();
                bed.with_fuse(Fuse::default());
                bed.job.resume = bed.rows.resume(&bed.job.layout);
                let finished = bed.job.resume.as_ref().map_or(0, |resume| resume.hash.bytes());
                lock(&bed.source.reads).clear();
                let receipt = bed.copy().await.expect("copied by the next process");
                bed.assert_copied(&receipt);
                let all =
                    bed.job.resume.as_ref().map_or(0, |resume| resume.parts.len()) == bed.job.layout.parts() as usize;
                if !killed_with_object || all {
                    assert!(lock(&bed.source.reads).iter().all(|read| *read >= finished), "step {step}");
                }
                step += 1;
                continue;
            };
            bed.assert_copied(&copied.expect("nothing killed it"));
            break;
        }
        assert!(step > 2, "it was killed {step} times");
    }
}

#[tokio::test(start_paused = true)]
async fn memory_is_the_reads_and_never_the_segment() {
    for (layout, budget) in [
        (Layout::Segments([8 << 20, 5 << 20].into()), 3 * 64 * KIB),
        (Layout::Plain { size: 9 << 20 }, 3 * 64 * KIB),
        // Less than three reads have room.
        (Layout::Segments([3 << 20].into()), 64 * KIB),
    ] {
        let mut bed = Bed::new(layout, None, 64 * KIB);
        bed.target.forgetful = true;
        bed.budget = Budget::new(budget);
        // Plain objects are asked for their size afterwards, which this target forgets.
        bed.copy().await.expect("copied");
        let gauge = &bed.source.gauge;
        assert!(gauge.most.load(Ordering::Relaxed) <= budget, "{} bytes at once", gauge.most.load(Ordering::Relaxed));
        assert_eq!(gauge.now.load(Ordering::Relaxed), 0);
        assert!(bed.budget.try_take(budget).is_some(), "every permit came back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_is_sent_again_from_where_the_part_began() {
    use Mishap::{Broken, Flipped, Refused, Unanswered};
    for mishap in [Refused, Broken, Flipped, Unanswered] {
        for make in [|| Bed::kept(&[3000, 3000], KIB), || Bed::new(Layout::Segments([3000, 3000].into()), None, KIB)] {
            let bed = make().mishaps(&[Mishap::None, mishap, mishap, mishap]);
            let receipt = bed.copy().await.expect("the fourth try");
            bed.assert_copied(&receipt);
            assert_eq!(receipt.verified, Proof::Md5.text());
            assert!(lock(&bed.source.reads).iter().filter(|start| **start == 0).count() == 1, "the first is done");
            assert!(!lock(&bed.source.reads)[1..].contains(&0));
        }
        let bed = Bed::plain(5000, KIB).mishaps(&[mishap]);
        let receipt = bed.copy().await.expect("the second try");
        bed.assert_copied(&receipt);
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_never_takes_a_part_fails_the_attempt_and_keeps_what_is_done() {
    let bed = Bed::kept(&[3000, 3000], KIB).mishaps(&[Mishap::None]).mishaps(&[Mishap::Broken; 4]);
    assert_eq!(failure(bed.copy().await).cause, Cause::Unreachable);
    assert_eq!((lock(&bed.rows.parts).len(), bed.target.object()), (1, None));
    assert_eq!(bed.rows.stored.load(Ordering::Relaxed), 3000, "what is shown as stored goes back to the row");
    let bed = Bed::kept(&[3000], KIB).mishaps(&[Mishap::Flipped; 4]);
    let failure = failure(bed.copy().await);
    assert_eq!((failure.cause, &*failure.message), (Cause::Integrity, "422: another MD5"));
    assert!(lock(&bed.target.segments).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_breaks_cuts_the_stream_and_nothing_is_stored_of_it() {
    for mut bed in [Bed::kept(&[1024, 5000], KIB), Bed::plain(6024, KIB)] {
        bed.source.broken = Some(1024 + 3 * KIB);
        assert_eq!(failure(bed.copy().await).cause, Cause::Unreachable);
        assert_eq!(bed.target.cut_short.load(Ordering::Relaxed), 1);
        assert_eq!((bed.target.object(), lock(&bed.target.segments).len()), (None, lock(&bed.rows.parts).len()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_byte_that_came_wrong_once_is_read_again_and_one_that_stays_wrong_is_blamed_on_the_source() {
    let mut bed = Bed::kept(&[3000, 3000], KIB);
    (bed.source.flip, bed.source.flips) = (Some(4000), Mutex::new(1));
    let receipt = bed.copy().await.expect("the second try");
    bed.assert_copied(&receipt);
    let mut bed = Bed::kept(&[3000, 3000], KIB);
    bed.source.flip = Some(4000);
    let failure = failure(bed.copy().await);
    assert_eq!(failure.cause, Cause::Integrity);
    assert!(failure.message.starts_with("the bytes of segment 2 of `from` are not those"), "{}", failure.message);
    assert_eq!(bed.target.object(), None);
}

#[tokio::test(start_paused = true)]
async fn segments_that_the_target_does_not_keep_are_compared_on_their_way() {
    let source = segments(&bytes(0..6000), &[1500, 4000]);
    for layout in [Layout::Segments([2048, 3952].into()), Layout::Plain { size: 6000 }] {
        let bed = Bed::new(layout.clone(), Some(Arc::clone(&source)), KIB);
        let receipt = bed.copy().await.expect("copied");
        bed.assert_copied(&receipt);
        assert_eq!(receipt.verified, Proof::Md5.text());
        for flip in [0, 2100, 5999] {
            let mut bed = Bed::new(layout.clone(), Some(Arc::clone(&source)), KIB);
            bed.source.flip = Some(flip);
            let failure = failure(bed.copy().await);
            assert_eq!(failure.cause, Cause::Integrity);
            assert!(failure.message.starts_with("the bytes of segment "), "{}", failure.message);
            assert_eq!(bed.target.object(), None, "byte {flip}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_bytes_of_a_plain_object_wait_for_its_digests() {
    let expected = Expected { sha256: Sha256Digest([7; 32]), from: "the plan" };
    let mut bed = Bed::plain(5000, KIB);
    bed.job.expected.push(expected);
    assert_eq!(failure(bed.copy().await).cause, Cause::Integrity);
    assert_eq!((bed.target.object(), bed.target.cut_short.load(Ordering::Relaxed)), (None, 1));
    // The source's own MD5 is for the target to compare.
    let mut bed = Bed::plain(5000, KIB);
    bed.source.digests.md5 = Some(Md5::digest(bed.whole()).into());
    let receipt = bed.copy().await.expect("copied");
    assert_eq!((receipt.verified, receipt.metadata.len()), (Proof::Md5.text(), 1));
    bed.source.flip = Some(4999);
    (bed.target, bed.rows) = (Streaming::default(), Rows::default());
    let failure = failure(bed.copy().await);
    assert!(failure.message.starts_with("the bytes of `from` are not those"), "{}", failure.message);
    assert_eq!(bed.target.object(), None);
}

#[tokio::test(start_paused = true)]
async fn what_the_target_shows_no_md5_of_is_read_back() {
    let mut bed = Bed::plain(5000, KIB);
    bed.target.opaque_etags = true;
    assert_eq!(bed.copy().await.expect("copied").verified, "read back whole, sha256");
    let mut bed = Bed::kept(&[3000, 2000], KIB);
    bed.job.read_back = true;
    assert_eq!(bed.copy().await.expect("copied").verified, "read back whole, sha256");
    // What was damaged on its way is found, and does not stay.
    let mut bed = Bed::plain(5000, KIB).mishaps(&[Mishap::Flipped]);
    bed.target.opaque_etags = true;
    assert_eq!(failure(bed.copy().await).cause, Cause::Integrity);
    assert_eq!(bed.target.object(), None);
}

#[tokio::test(start_paused = true)]
async fn the_same_object_is_adopted_and_another_left_alone() {
    for make in [|| Bed::kept(&[3000, 2000], KIB), || Bed::plain(5000, KIB)] {
        let bed = make();
        let there = |bytes: Vec<u8>| Stored {
            bytes,
            etag: "theirs".to_owned(),
            token: "theirs".to_owned(),
            metadata: Metadata::new(),
        };
        lock(&bed.target.objects).insert(key("to"), there(bed.whole()));
        let receipt = bed.copy().await.expect("adopted");
        assert!(receipt.adopted);
        let bed = make();
        lock(&bed.target.objects).insert(key("to"), there(vec![7; 5000]));
        assert_eq!(failure(bed.copy().await).cause, Cause::TargetDiffers);
        assert_eq!(bed.target.object(), Some(vec![7; 5000]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_a_row_and_cuts_what_was_not_read() {
    let bed = Bed::kept(&[3000, 9000, 3000], KIB);
    bed.rows.stop_after_row.store(true, Ordering::Relaxed);
    assert!(matches!(bed.copy().await, Err(CopyError::Stopped)));
    assert_eq!((lock(&bed.rows.parts).len(), lock(&bed.target.segments).len()), (1, 1));
    let mut bed = Bed::plain(64 * KIB, KIB);
    bed.rows.stop_after_read = 10 * KIB;
    assert!(matches!(bed.copy().await, Err(CopyError::Stopped)));
    assert!(lock(&bed.source.reads).len() <= 10 + PARTS_IN_FLIGHT, "{:?}", lock(&bed.source.reads));
    assert_eq!(bed.target.cut_short.load(Ordering::Relaxed), 1);
    assert_eq!(bed.target.object(), None);
    // What is all read is still handed on.
    let mut bed = Bed::kept(&[2000, 3000], KIB);
    bed.rows.stop_after_read = 2000;
    assert!(matches!(bed.copy().await, Err(CopyError::Stopped)));
    assert_eq!(lock(&bed.rows.parts).len(), 1);
    assert_eq!(bed.source.gauge.now.load(Ordering::Relaxed), 0, "what is cut off gives its memory back");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever its shape, and whatever goes wrong: an object is whole, or it is not there.
    #[test]
    fn an_object_is_whole_or_not_there(
        sizes in prop::collection::vec(0..4000_u64, 0..5),
        source_has_segments in any::<bool>(),
        is_plain in any::<bool>(),
        part_size in 1..5_u64,
        reads_that_fit in 1..4_u64,
        mishaps in prop::collection::vec(
            prop_oneof![
                3 => Just(Mishap::None), 1 => Just(Mishap::Refused), 1 => Just(Mishap::Broken),
                1 => Just(Mishap::Flipped), 1 => Just(Mishap::Unanswered),
            ],
            0..9,
        ),
        flip in prop::option::of((0..9000_u64, 1..3_u32)),
        kill in 1..60_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime");
        let mut bed = Bed::kept(&sizes, part_size * KIB);
        let size = bed.source.size;
        if is_plain {
            bed.job.layout = Layout::Plain { size };
        }
        if !source_has_segments {
            bed.job.segments = None;
            bed.source.digests.md5 = is_plain.then(|| Md5::digest(bytes(0..size)).into());
        }
        bed.budget = Budget::new(reads_that_fit * part_size * KIB);
        (bed.source.flip, bed.source.flips) = (flip.map(|(at, _)| at), Mutex::new(flip.map_or(0, |(_, reads)| reads)));
        // Where nobody knows a digest of the source, what it said is what is copied.
        let nobody_knows = !source_has_segments && !is_plain;
        if nobody_knows {
            bed.source.flip = None;
        }
        let mut bed = bed.mishaps(&mishaps);
        bed.with_fuse(Fuse::at(kill));
        let (has_died, copied) = runtime.block_on(async {
            if let Some(copied) = bed.copy_or_die().await {
                return (false, copied);
            }
            bed.with_fuse(Fuse::default());
            bed.job.resume = bed.rows.resume(&bed.job.layout);
            (true, bed.copy().await)
        });
        // Who dies between a PUT that was damaged, of bytes whose MD5 nobody could know before, and taking it back, leaves
        // it: the next run finds that it is not the source's, and as it could be anybody's leaves it alone.
        let may_stay = has_died && is_plain && source_has_segments && mishaps.contains(&Mishap::Flipped);
        match copied {
            Ok(receipt) => bed.assert_copied(&receipt),
            Err(CopyError::Failed(failure)) if may_stay && failure.cause == Cause::TargetDiffers => {}
            Err(CopyError::Failed(_) | CopyError::StartAgain(_)) => {
                prop_assert!(bed.target.object().is_none_or(|there| there == bed.whole()));
            }
            Err(other) => panic!("{other:?}"),
        }
        prop_assert_eq!(bed.source.gauge.now.load(Ordering::Relaxed), 0);
    }
}
