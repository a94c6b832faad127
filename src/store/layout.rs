//! How an object is cut into parts where it is stored, and how a part is streamed.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

/// How an object lies, or is to lie, in a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// Parts of one size, but for the last; each is sent from memory. An empty object has one empty part.
    Equal {
        /// Of the whole object, in bytes.
        size: u64,
        /// Of each part but the last, in bytes.
        part_size: u64,
    },
    /// One piece, streamed. Swift only.
    Plain {
        /// In bytes.
        size: u64,
    },
    /// Segments of these sizes under a manifest, streamed. Swift only. An empty segment is one all the same, and one
    /// segment under a manifest is not a plain object: both are part of the object's `ETag`.
    Segments(Arc<[u64]>),
}

impl Layout {
    /// Of the whole object, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Equal { size, .. } | Self::Plain { size } => *size,
            Self::Segments(sizes) => sizes.iter().sum(),
        }
    }

    /// Number of parts.
    ///
    /// # Panics
    /// With more than `u32::MAX` parts: part sizes are chosen so that there are far fewer.
    #[must_use]
    pub fn parts(&self) -> u32 {
        let parts = match self {
            Self::Equal { size, part_size } => size.div_ceil(*part_size).max(1),
            Self::Plain { .. } => 1,
            Self::Segments(sizes) => sizes.len() as u64,
        };
        u32::try_from(parts).expect("part_size is raised until the count fits")
    }

    /// Bytes of each part but the last; 0 where they have sizes of their own.
    #[must_use]
    pub fn part_size(&self) -> u64 {
        match self {
            Self::Equal { part_size, .. } => *part_size,
            Self::Plain { size } => (*size).max(1),
            Self::Segments(_) => 0,
        }
    }

    /// The bytes of part `number`, counted from 0; nothing at the object's end if there is no such part.
    #[must_use]
    pub fn range(&self, number: u32) -> Range<u64> {
        match self {
            Self::Equal { size, part_size } => {
                let start = u64::from(number).saturating_mul(*part_size).min(*size);
                start..start.saturating_add(*part_size).min(*size)
            }
            Self::Plain { size } if number == 0 => 0..*size,
            Self::Plain { size } => *size..*size,
            Self::Segments(sizes) => {
                let number = (number as usize).min(sizes.len());
                let start = sizes[..number].iter().sum();
                start..start + sizes.get(number).copied().unwrap_or_default()
            }
        }
    }
}

/// One segment of a source object, as its manifest says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// In bytes; may be 0.
    pub size: u64,
    /// The MD5 of its bytes.
    pub md5: [u8; 16],
}

/// The bytes of one part or object, as they come.
#[derive(Debug)]
pub struct Feed {
    /// How many bytes will come.
    pub size: u64,
    /// The MD5 that they must have: the store is to refuse anything else. None where nobody knows.
    pub md5: Option<[u8; 16]>,
    /// The bytes in order. Each chunk holds its place in memory until the last clone or slice of it is dropped, so
    /// whoever takes them lets go of each as soon as it is sent. If it ends early, the feed was given up: nothing may be
    /// stored of it.
    pub chunks: mpsc::Receiver<Bytes>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layouts() -> impl Strategy<Value = Layout> {
        prop_oneof![
            (0..10_000_u64, 1..100_u64).prop_map(|(size, part_size)| Layout::Equal { size, part_size }),
            (0..10_000_u64).prop_map(|size| Layout::Plain { size }),
            prop::collection::vec(0..10_u64, 0..50).prop_map(|sizes| Layout::Segments(sizes.into())),
        ]
    }

    #[test]
    fn empty_parts_are_parts() {
        assert_eq!(Layout::Equal { size: 0, part_size: 5 }.parts(), 1);
        assert_eq!(Layout::Plain { size: 0 }.parts(), 1);
        let segments = Layout::Segments([3, 0, 2, 0].into());
        assert_eq!((segments.parts(), segments.size()), (4, 5));
        assert_eq!([0, 1, 2, 3, 4].map(|number| segments.range(number)), [0..3, 3..3, 3..5, 5..5, 5..5]);
    }

    proptest! {
        #[test]
        fn parts_follow_each_other_and_are_the_whole(layout in layouts()) {
            let mut end = 0;
            for number in 0..layout.parts() {
                let range = layout.range(number);
                prop_assert_eq!(range.start, end);
                prop_assert!(range.end >= range.start);
                end = range.end;
            }
            prop_assert_eq!(end, layout.size());
            prop_assert_eq!(layout.range(layout.parts()), end..end);
        }
    }
}
