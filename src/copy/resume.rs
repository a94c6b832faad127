//! What an earlier attempt has finished, read from its rows.

use super::StreamHash;
use crate::store::{Layout, StoredPart};

/// Finished parts of an earlier attempt: all from the first up to some part.
#[derive(Clone)]
pub struct Resume {
    /// As the store has them.
    pub parts: Vec<StoredPart>,
    /// The hash of exactly these parts.
    pub hash: StreamHash,
}

impl Resume {
    /// Reads the rows of an object that is to be laid out so: size and text ([`StoredPart::to_text`]) of each part, and
    /// the state of the hash after the last of them.
    ///
    /// # Errors
    /// Why the copy cannot go on from them.
    pub fn of(layout: &Layout, rows: &[(u64, Option<String>)], state: &[u8]) -> Result<Self, &'static str> {
        let size = |number| {
            let range = layout.range(number);
            range.end - range.start
        };
        let same = (0..layout.parts()).zip(rows).all(|(number, (stored, _))| size(number) == *stored);
        if !same || rows.len() > layout.parts() as usize {
            return Err(match layout {
                Layout::Equal { .. } => "the part size of the plan changed",
                _ => "its segments would have other sizes now",
            });
        }
        let hash =
            StreamHash::from_state(state).map_err(|_| "the stored hash state is damaged or of another version")?;
        let parts = rows.iter().map(|(size, text)| StoredPart::from_text(*size, text.as_deref()));
        let Some(parts) = parts.collect::<Option<Vec<_>>>() else {
            return Err("the rows of its parts are damaged or of another version");
        };
        if hash.bytes() != parts.iter().map(|part| part.size).sum::<u64>() {
            return Err("the rows of its parts do not fit together");
        }
        Ok(Self { parts, hash })
    }
}

impl std::fmt::Debug for Resume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Resume({} parts, {} bytes)", self.parts.len(), self.hash.bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(sizes: &[u64]) -> (Vec<(u64, Option<String>)>, Vec<u8>) {
        let mut hash = StreamHash::default();
        for size in sizes {
            hash.update(&vec![7; usize::try_from(*size).expect("small")]);
        }
        (sizes.iter().map(|size| (*size, None)).collect(), hash.to_state())
    }

    #[test]
    fn rows_that_do_not_fit_are_refused_with_the_reason() {
        let equal = Layout::Equal { size: 10, part_size: 6 };
        let (six, state) = rows(&[6]);
        assert_eq!(Resume::of(&equal, &six, &state).expect("they fit").hash.bytes(), 6);
        let (five, state_of_five) = rows(&[5]);
        let reason = |layout: &Layout, rows: &[_], state: &[u8]| Resume::of(layout, rows, state).expect_err("refused");
        assert_eq!(reason(&equal, &five, &state_of_five), "the part size of the plan changed");
        assert_eq!(reason(&equal, &rows(&[6, 4, 0]).0, &state), "the part size of the plan changed");
        let segments = Layout::Segments([4, 6].into());
        assert_eq!(reason(&segments, &six, &state), "its segments would have other sizes now");
        assert!(reason(&equal, &six, &state_of_five).contains("fit together"));
        assert!(reason(&equal, &six, &state[1..]).contains("hash state"));
        assert!(reason(&equal, &[(6, Some("x".to_owned()))], &state).contains("rows of its parts are damaged"));
    }

    proptest! {
        #[test]
        fn what_was_stored_of_a_layout_fits_it_again(
            sizes in prop::collection::vec(0..9_u64, 1..9), stored in 0..9_usize, other in prop::collection::vec(0..9_u64, 1..9),
        ) {
            let stored = stored.min(sizes.len());
            let (rows, state) = rows(&sizes[..stored]);
            prop_assert!(Resume::of(&Layout::Segments(sizes[..].into()), &rows, &state).is_ok());
            let fits = other.len() >= stored && other[..stored] == sizes[..stored];
            prop_assert_eq!(Resume::of(&Layout::Segments(other.into()), &rows, &state).is_ok(), fits);
        }
    }
}
