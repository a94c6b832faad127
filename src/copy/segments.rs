//! The MD5 of each segment of a source object, compared with what its manifest says as soon as the segment is over.

use std::sync::Arc;

use md5::{Digest, Md5};

use crate::store::Segment;

/// A segment whose bytes are not those that the manifest has an MD5 of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongSegment {
    /// From 0.
    pub number: usize,
    /// The manifest's MD5.
    pub theirs: [u8; 16],
    /// That of the bytes.
    pub ours: [u8; 16],
}

/// Where in the segments a stream is.
#[derive(Clone)]
pub(super) struct SegmentMd5 {
    segments: Arc<[Segment]>,
    /// The segment of the next byte.
    number: usize,
    /// Bytes of it so far.
    came: u64,
    /// None if its first bytes were not hashed: it cannot be compared.
    md5: Option<Md5>,
    wrong: Option<WrongSegment>,
}

impl SegmentMd5 {
    /// After the first `bytes` of the stream; `under_way` is the MD5 of the segment they end in, if it is known.
    pub(super) fn at(segments: Arc<[Segment]>, bytes: u64, under_way: Option<Md5>) -> Self {
        let mut check = Self { segments, number: 0, came: bytes, md5: None, wrong: None };
        while let Some(segment) = check.segments.get(check.number)
            && check.came >= segment.size
            && check.came > 0
        {
            check.came -= segment.size;
            check.number += 1;
        }
        check.md5 = if check.came == 0 { Some(Md5::new()) } else { under_way };
        check.pass_full_segments();
        check
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while let Some(segment) = self.segments.get(self.number)
            && !bytes.is_empty()
        {
            let left = usize::try_from(segment.size - self.came).unwrap_or(usize::MAX);
            let (of_it, of_others) = bytes.split_at(left.min(bytes.len()));
            if let Some(md5) = &mut self.md5 {
                md5.update(of_it);
            }
            self.came += of_it.len() as u64;
            bytes = of_others;
            self.pass_full_segments();
        }
    }

    /// Compares the segment that is over, and the empty ones behind it.
    fn pass_full_segments(&mut self) {
        while let Some(segment) = self.segments.get(self.number)
            && segment.size == self.came
        {
            if let Some(md5) = self.md5.take() {
                let ours = md5.finalize().into();
                let wrong = WrongSegment { number: self.number, theirs: segment.md5, ours };
                self.wrong = self.wrong.or((ours != segment.md5).then_some(wrong));
            }
            (self.number, self.came, self.md5) = (self.number + 1, 0, Some(Md5::new()));
        }
    }

    /// The first segment that differs.
    pub(super) const fn wrong(&self) -> Option<WrongSegment> {
        self.wrong
    }

    /// The MD5 of the segment under way, to be stored; none between two segments.
    pub(super) fn under_way(&self) -> Option<&Md5> {
        self.md5.as_ref().filter(|_| self.came > 0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The segments of `bytes` that are cut at these places, in any order.
    pub(in crate::copy) fn segments(bytes: &[u8], cuts: &[usize]) -> Arc<[Segment]> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| (*cut).min(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut start = 0;
        let segment = |end| {
            let of_it = &bytes[std::mem::replace(&mut start, end)..end];
            Segment { size: of_it.len() as u64, md5: Md5::digest(of_it).into() }
        };
        cuts.into_iter().map(segment).collect()
    }

    #[test]
    fn an_empty_segment_is_compared_too() {
        let mut list = segments(b"ab", &[0, 1, 1]).to_vec();
        assert_eq!(list.iter().map(|segment| segment.size).collect::<Vec<_>>(), [0, 1, 0, 1]);
        list[2].md5 = [7; 16];
        let mut check = SegmentMd5::at(list.into(), 0, None);
        assert_eq!(check.wrong(), None);
        check.update(b"a");
        assert_eq!(check.wrong().expect("the empty one differs").number, 2);
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_is_compared_and_any_flip_is_found(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(0..300_usize, 0..8),
            resumed in 0..300_usize,
            chunk in 1..60_usize,
            flip in prop::option::of(0..300_usize),
        ) {
            let list = segments(&bytes, &cuts);
            let flip = flip.filter(|at| *at < bytes.len());
            let mut sent = bytes.clone();
            if let Some(at) = flip {
                sent[at] ^= 1;
            }
            let resumed = resumed.min(bytes.len());
            let mut check = SegmentMd5::at(Arc::clone(&list), 0, None);
            check.update(&sent[..resumed]);
            let before = check.wrong();
            let mut check = SegmentMd5::at(Arc::clone(&list), resumed as u64, check.under_way().cloned());
            sent[resumed..].chunks(chunk).for_each(|chunk| check.update(chunk));
            prop_assert_eq!(check.number, list.len());
            let wrong = before.or(check.wrong());
            prop_assert_eq!(wrong.is_some(), flip.is_some());
            if let (Some(wrong), Some(at)) = (wrong, flip) {
                let start: u64 = list[..wrong.number].iter().map(|segment| segment.size).sum();
                prop_assert!((start..start + list[wrong.number].size).contains(&(at as u64)));
            }
        }

        /// Of a segment whose first bytes were hashed by a version that did not know of segments, nothing is said.
        #[test]
        fn a_segment_that_was_not_hashed_from_its_start_is_passed_over(
            bytes in prop::collection::vec(any::<u8>(), 1..300),
            cuts in prop::collection::vec(0..300_usize, 0..8),
            resumed in 0..300_usize,
        ) {
            let resumed = resumed.min(bytes.len());
            let mut check = SegmentMd5::at(segments(&bytes, &cuts), resumed as u64, None);
            check.update(&bytes[resumed..]);
            prop_assert_eq!(check.wrong(), None);
        }
    }
}
