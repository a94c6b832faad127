//! How an object is to lie in a target: pure.

use super::{Layout, Segment};
use crate::failure::{Cause, Failure};
use crate::id::Key;

/// Largest piece that a Swift takes (`max_file_size` of its `/info`, as it comes).
const PIECE_MAX: u64 = 5 * (1 << 30) + 2;

/// Segments of one object: the most that a Swift takes (`max_manifest_segments` of its `/info`, as it comes).
const SEGMENTS_MAX: u64 = 1_000;

const MIB: u64 = 1 << 20;

/// How a target takes objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// In parts that are sent from memory, of this size.
    Parts {
        /// In bytes.
        part_size: u64,
    },
    /// In pieces that are streamed: as Swift does.
    Pieces {
        /// What an object of no segments of its own is cut into, in bytes.
        segment_size: u64,
        /// Whether each must be one plain object, because the catalog registers nothing else.
        flat: bool,
    },
}

impl Takes {
    /// The layout of an object of `size` bytes, which is made of `segments` in its source.
    ///
    /// In pieces its digests stay what they were wherever that can be: the source's own segments, and one piece if it
    /// `is_plain` there (one object in a store that takes pieces).
    ///
    /// # Errors
    /// A failure of cause `too-large` when no such target can hold it.
    pub fn layout(self, key: &Key, size: u64, segments: Option<&[Segment]>, is_plain: bool) -> Result<Layout, Failure> {
        let (segment_size, flat) = match self {
            Self::Parts { part_size } => return Ok(Layout::Equal { size, part_size }),
            Self::Pieces { segment_size, flat } => (segment_size.min(PIECE_MAX), flat),
        };
        if flat {
            return if size <= PIECE_MAX { Ok(Layout::Plain { size }) } else { Err(too_large_for_one(key, size)) };
        }
        if let Some(segments) = segments
            && segments.len() as u64 <= SEGMENTS_MAX
            && segments.iter().all(|segment| segment.size <= PIECE_MAX)
            && segments.iter().map(|segment| segment.size).sum::<u64>() == size
        {
            return Ok(Layout::Segments(segments.iter().map(|segment| segment.size).collect()));
        }
        let stays_plain = segments.is_none() && is_plain && size <= PIECE_MAX;
        if stays_plain || size <= segment_size {
            return Ok(Layout::Plain { size });
        }
        let each = segment_size.max(size.div_ceil(SEGMENTS_MAX).next_multiple_of(MIB));
        if each > PIECE_MAX {
            let most = PIECE_MAX * SEGMENTS_MAX;
            let message = format!("`{key}` has {size} bytes, and a Swift takes at most {most} in one object");
            return Err(Failure::new(Cause::TooLarge, message));
        }
        let equal = Layout::Equal { size, part_size: each };
        let length = |number| {
            let range = equal.range(number);
            range.end - range.start
        };
        Ok(Layout::Segments((0..equal.parts()).map(length).collect()))
    }
}

fn too_large_for_one(key: &Key, size: u64) -> Failure {
    let message = format!(
        "`{key}` has {size} bytes, and Trove's API registers plain objects only, which have at most {PIECE_MAX}"
    );
    Failure::new(Cause::TooLarge, message)
        .hint("register in Trove's database (`catalog: { type: trove-database }`), which takes objects of any size")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn layout(takes: Takes, size: u64, segments: Option<&[Segment]>, is_plain: bool) -> Result<Layout, Failure> {
        takes.layout(&Key::parse("a").expect("a key"), size, segments, is_plain)
    }

    const GIB: u64 = 1 << 30;

    fn swift(flat: bool) -> Takes {
        Takes::Pieces { segment_size: 2 * GIB, flat }
    }

    fn segments(sizes: &[u64]) -> Vec<Segment> {
        sizes.iter().map(|size| Segment { size: *size, md5: [0; 16] }).collect()
    }

    fn cut(sizes: &[u64]) -> Layout {
        Layout::Segments(sizes.into())
    }

    #[test]
    fn segments_of_the_source_stay_what_they_are() {
        // Also one alone, and empty ones: they are part of the ETag.
        for sizes in [&[5][..], &[7, 7, 0], &[0], &[], &[3 * GIB, 1]] {
            let size = sizes.iter().sum();
            assert_eq!(layout(swift(false), size, Some(&segments(sizes)), true), Ok(cut(sizes)), "{sizes:?}");
        }
    }

    #[test]
    fn a_plain_object_stays_plain_and_others_are_cut() {
        assert_eq!(layout(swift(false), 5 * GIB, None, true), Ok(Layout::Plain { size: 5 * GIB }));
        assert_eq!(layout(swift(false), 5 * GIB, None, false), Ok(cut(&[2 * GIB, 2 * GIB, GIB])));
        assert_eq!(layout(swift(false), 2 * GIB, None, false), Ok(Layout::Plain { size: 2 * GIB }));
        assert_eq!(layout(swift(false), 6 * GIB, None, true), Ok(cut(&[2 * GIB, 2 * GIB, 2 * GIB])));
        assert_eq!(layout(swift(false), 0, None, false), Ok(Layout::Plain { size: 0 }));
    }

    #[test]
    fn segments_that_no_swift_takes_are_cut_anew() {
        assert_eq!(layout(swift(false), 6 * GIB, Some(&segments(&[6 * GIB])), true), Ok(cut(&[2 * GIB; 3])));
        let many = segments(&[GIB; 1001]);
        let anew = layout(swift(false), 1001 * GIB, Some(&many), true).expect("it fits");
        assert_eq!(anew.parts(), 501);
    }

    #[test]
    fn what_must_be_plain_is_or_is_refused() {
        assert_eq!(
            layout(swift(true), 3 * GIB, Some(&segments(&[2 * GIB, GIB])), true),
            Ok(Layout::Plain { size: 3 * GIB })
        );
        assert_eq!(layout(swift(true), 0, None, false), Ok(Layout::Plain { size: 0 }));
        let refused = layout(swift(true), 6 * GIB, None, false).expect_err("too large");
        assert_eq!(refused.cause, Cause::TooLarge);
        assert!(refused.hint.is_some());
    }

    proptest! {
        #[test]
        fn a_layout_is_the_whole_object_and_within_the_limits_of_its_store(
            size in prop_oneof![0..100 * GIB, 0..7_000 * GIB], segment_size in MIB..=5 * GIB,
            flat in any::<bool>(), is_plain in any::<bool>(), halves in any::<bool>(),
        ) {
            let segments = halves.then(|| segments(&[size / 2, size - size / 2]));
            match layout(Takes::Pieces { segment_size, flat }, size, segments.as_deref(), is_plain) {
                Err(_) => {
                    let most = if flat { PIECE_MAX } else { 4_900 * GIB };
                    prop_assert!(size > most);
                }
                Ok(layout) => {
                    prop_assert_eq!(layout.size(), size);
                    prop_assert!(u64::from(layout.parts()) <= SEGMENTS_MAX);
                    for number in 0..layout.parts() {
                        let range = layout.range(number);
                        prop_assert!(range.end - range.start <= PIECE_MAX);
                    }
                    if flat {
                        prop_assert_eq!(&layout, &Layout::Plain { size });
                    }
                    // Whoever asks again gets the same: an upload is resumed by it.
                    prop_assert_eq!(self::layout(Takes::Pieces { segment_size, flat }, size, segments.as_deref(), is_plain), Ok(layout));
                }
            }
        }

        #[test]
        fn parts_from_memory_are_equal_whatever_the_source_is_made_of(size in any::<u32>(), part_size in 1..1_u64 << 40) {
            let size = u64::from(size);
            let segments = segments(&[size]);
            let equal = Layout::Equal { size, part_size };
            prop_assert_eq!(layout(Takes::Parts { part_size }, size, Some(&segments), true), Ok(equal));
        }
    }
}
