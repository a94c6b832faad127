//! The digests of a stream, with a state that outlives the process: a copy killed at 900 GB goes on at 900 GB and its
//! digest still covers the whole stream.

use std::sync::Arc;

use bytes::Bytes;
use crc_fast::CrcAlgorithm;
use md5::Md5;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

use super::segments::{SegmentMd5, WrongSegment};
use crate::id::Sha256Digest;
use crate::store::{KnownDigests, Segment};

/// Version of the stored form with a SHA-256 alone.
const SHA256_ONLY: u8 = 1;

/// Version of the stored form with other digests of the whole beside it.
const WITH_OTHERS: u8 = 2;

/// As [`WITH_OTHERS`], and at its end the MD5 of the source's segment under way. What is of no such version is not
/// guessed at: the copy starts again.
const WITH_SEGMENT: u8 = 3;

/// Bytes of SHA-256 that guard a stored state: `deserialize` of the hash itself checks next to nothing.
const GUARD_BYTES: usize = 8;

/// Bytes of the states, as the libraries pack them.
const SHA256_STATE: usize = 104;
const MD5_STATE: usize = 88;

/// So few bytes are hashed where they are: a hop to another thread costs more.
pub(super) const INLINE: usize = 128 * 1024;

/// SHA-256 of all bytes so far, and how many they were; beside it what the source store has a digest of.
#[derive(Clone, Default)]
pub struct StreamHash {
    sha256: Sha256,
    md5: Option<Md5>,
    crc64: Option<u64>,
    crc32c: Option<u64>,
    segments: Option<SegmentMd5>,
    /// Of a stored state: the MD5 of the segment that it ends in.
    segment: Option<Md5>,
    bytes: u64,
}

/// A stored state that this version cannot go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored hash state is damaged or of another version")]
pub struct BadState;

impl StreamHash {
    /// Hashes what has to be compared with `known`: the cheapest of the digests that the source store shows. A CRC
    /// costs next to nothing, an MD5 more than all else together.
    #[must_use]
    pub fn to_compare(known: &KnownDigests) -> Self {
        let mut hash = Self::default();
        match known {
            KnownDigests { sha256: Some(_), .. } => {}
            KnownDigests { crc64: Some(_), .. } => hash.crc64 = Some(0),
            KnownDigests { crc32c: Some(_), .. } => hash.crc32c = Some(0),
            KnownDigests { md5: Some(_), .. } => hash.md5 = Some(Md5::new()),
            _ => {}
        }
        hash
    }

    /// The same, comparing each segment of the source from now on, if there are any.
    #[must_use]
    pub fn checking(mut self, segments: Option<&Arc<[Segment]>>) -> Self {
        let under_way = self.segment.take();
        self.segments = segments.map(|segments| SegmentMd5::at(Arc::clone(segments), self.bytes, under_way));
        self
    }

    /// The first segment whose bytes are not what the source's manifest says.
    #[must_use]
    pub fn wrong_segment(&self) -> Option<WrongSegment> {
        self.segments.as_ref().and_then(SegmentMd5::wrong)
    }

    /// Adds the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(md5) = &mut self.md5 {
            md5.update(bytes);
        }
        if let Some(segments) = &mut self.segments {
            segments.update(bytes);
        }
        self.update_crcs(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Adds the next bytes off the async threads; MD5s beside the SHA-256, which they would else hold up.
    pub async fn updated(mut self, bytes: Bytes) -> Self {
        if bytes.len() <= INLINE {
            self.update(&bytes);
            return self;
        }
        let md5 = self.md5.take().map(|md5| beside(md5, &bytes, |md5, bytes| md5.update(bytes)));
        let segments = self.segments.take().map(|segments| beside(segments, &bytes, SegmentMd5::update));
        let mut updated = beside(self, &bytes, Self::update).await.expect("hashing does not panic");
        if let Some(md5) = md5 {
            updated.md5 = Some(md5.await.expect("hashing does not panic"));
        }
        if let Some(segments) = segments {
            updated.segments = Some(segments.await.expect("hashing does not panic"));
        }
        updated
    }

    fn update_crcs(&mut self, bytes: &[u8]) {
        let added = |algorithm, crc: u64| {
            crc_fast::checksum_combine(algorithm, crc, crc_fast::checksum(algorithm, bytes), bytes.len() as u64)
        };
        self.crc64 = self.crc64.map(|crc| added(CrcAlgorithm::Crc64Nvme, crc));
        self.crc32c = self.crc32c.map(|crc| added(CrcAlgorithm::Crc32Iscsi, crc));
    }

    /// Bytes so far.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of all bytes so far; the stream may go on.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest(self.sha256.clone().finalize().into())
    }

    /// Which of the digests that the source store shows differs from that of the bytes so far: its name, theirs, ours.
    #[must_use]
    pub fn differs_from(&self, known: &KnownDigests) -> Option<(&'static str, String, String)> {
        if let Some(theirs) = known.sha256
            && theirs != self.digest()
        {
            return Some(("sha256", theirs.to_string(), self.digest().to_string()));
        }
        if let (Some(theirs), Some(ours)) = (known.crc64, self.crc64)
            && theirs != ours
        {
            return Some(("crc64nvme", format!("{theirs:016x}"), format!("{ours:016x}")));
        }
        if let (Some(theirs), Some(ours)) = (known.crc32c, self.crc32c)
            && u64::from(theirs) != ours
        {
            return Some(("crc32c", format!("{theirs:08x}"), format!("{ours:08x}")));
        }
        if let (Some(theirs), Some(ours)) = (known.md5, &self.md5) {
            let ours: [u8; 16] = ours.clone().finalize().into();
            return (theirs != ours).then(|| ("md5", hex(&theirs), hex(&ours)));
        }
        None
    }

    /// The state to store: version, byte count, midstate, the others that there are, and a digest over these.
    #[must_use]
    pub fn to_state(&self) -> Vec<u8> {
        let segment = self.segments.as_ref().map_or(self.segment.as_ref(), SegmentMd5::under_way);
        let others = self.md5.is_some() || self.crc64.is_some() || self.crc32c.is_some();
        let version = match (segment, others) {
            (Some(_), _) => WITH_SEGMENT,
            (None, true) => WITH_OTHERS,
            (None, false) => SHA256_ONLY,
        };
        let mut state = vec![version];
        state.extend_from_slice(&self.bytes.to_be_bytes());
        state.extend_from_slice(&self.sha256.serialize());
        if version != SHA256_ONLY {
            for crc in [self.crc64, self.crc32c] {
                state.push(u8::from(crc.is_some()));
                state.extend_from_slice(&crc.unwrap_or_default().to_be_bytes());
            }
            if let Some(md5) = &self.md5 {
                state.extend_from_slice(&md5.serialize());
            }
            if let Some(segment) = segment {
                state.extend_from_slice(&segment.serialize());
            }
        }
        let guard = Sha256::digest(&state);
        state.extend_from_slice(&guard[..GUARD_BYTES]);
        state
    }

    /// Takes up a stored state.
    ///
    /// # Errors
    /// [`BadState`] when it is damaged or of another version.
    pub fn from_state(state: &[u8]) -> Result<Self, BadState> {
        let (body, guard) = state.split_at_checked(state.len().wrapping_sub(GUARD_BYTES)).ok_or(BadState)?;
        let (head, rest) = body.split_at_checked(9).ok_or(BadState)?;
        let (midstate, others) = rest.split_at_checked(SHA256_STATE).ok_or(BadState)?;
        if Sha256::digest(body)[..GUARD_BYTES] != *guard || (head[0] == SHA256_ONLY) != others.is_empty() {
            return Err(BadState);
        }
        let midstate: &SerializedState<Sha256> = midstate.try_into().map_err(|_| BadState)?;
        let bytes = u64::from_be_bytes(head[1..].try_into().map_err(|_| BadState)?);
        let sha256 = Sha256::deserialize(midstate).map_err(|_| BadState)?;
        let hash = Self { sha256, bytes, ..Self::default() };
        match head[0] {
            SHA256_ONLY => Ok(hash),
            WITH_OTHERS => hash.with_others(others),
            WITH_SEGMENT => {
                let (others, segment) =
                    others.split_at_checked(others.len().wrapping_sub(MD5_STATE)).ok_or(BadState)?;
                let mut hash = hash.with_others(others)?;
                hash.segment = Some(read_md5(segment)?);
                Ok(hash)
            }
            _ => Err(BadState),
        }
    }

    fn with_others(mut self, others: &[u8]) -> Result<Self, BadState> {
        let (crcs, md5) = others.split_at_checked(18).ok_or(BadState)?;
        let crc = |at: usize| -> Result<Option<u64>, BadState> {
            let value = u64::from_be_bytes(crcs[at + 1..at + 9].try_into().map_err(|_| BadState)?);
            Ok((crcs[at] == 1).then_some(value))
        };
        (self.crc64, self.crc32c) = (crc(0)?, crc(9)?);
        self.md5 = if md5.is_empty() { None } else { Some(read_md5(md5)?) };
        Ok(self)
    }
}

/// Digests as people write them.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn read_md5(state: &[u8]) -> Result<Md5, BadState> {
    let midstate: &SerializedState<Md5> = state.try_into().map_err(|_| BadState)?;
    Md5::deserialize(midstate).map_err(|_| BadState)
}

/// Updates a digest on a thread that may be busy for long.
pub(super) fn beside<T: Send + 'static>(mut digest: T, bytes: &Bytes, update: fn(&mut T, &[u8])) -> JoinHandle<T> {
    let bytes = bytes.clone();
    spawn_blocking(move || {
        update(&mut digest, &bytes);
        digest
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::segments::tests::segments;
    use super::*;

    const PINNED_IN_SEGMENT: &str = "6b9099029820f78a16c67301bb73e4f23156b9476bb6e8281a745cf8b49f5201";

    /// A state that the first release stored after "backhaul". It must be readable for ever.
    const STORED: &str = "01000000000000000867e6096a85ae67bb72f36e3c3af54fa57f520e518c68059babd9831f19cde0\
        5b0000000000000000086261636b6861756c00000000000000000000000000000000000000000000\
        0000000000000000000000000000000000000000000000000000000000000000005be1c45081891a\
        0b";

    #[test]
    fn a_stored_state_is_pinned() {
        let mut hash = StreamHash::default();
        hash.update(b"backhaul");
        assert_eq!(hex(&hash.to_state()), STORED);
    }

    #[test]
    fn damaged_states_are_refused() {
        let state = StreamHash::default().to_state();
        for at in 0..state.len() {
            let mut damaged = state.clone();
            damaged[at] ^= 1;
            assert!(StreamHash::from_state(&damaged).is_err(), "byte {at}");
            assert!(StreamHash::from_state(&state[..at]).is_err(), "length {at}");
        }
    }

    /// Of the second form: SHA-256, both CRCs and MD5 after "backhaul".
    #[test]
    fn a_stored_state_with_other_digests_is_pinned() {
        let mut hash = all_digests();
        hash.update(b"backhaul");
        let state = hash.to_state();
        assert_eq!(state.len(), 1 + 8 + SHA256_STATE + 18 + MD5_STATE + GUARD_BYTES);
        assert_eq!(hex(&Sha256::digest(&state)), "77fdc1d24ea016fa0e2296f00749f83b1268d1add7cba7a45dbf876f8d0c3da2");
        for at in 0..state.len() {
            let mut damaged = state.clone();
            damaged[at] ^= 1;
            assert!(StreamHash::from_state(&damaged).is_err(), "byte {at}");
        }
    }

    fn all_digests() -> StreamHash {
        StreamHash { md5: Some(Md5::new()), crc64: Some(0), crc32c: Some(0), ..StreamHash::default() }
    }

    fn known(bytes: &[u8]) -> KnownDigests {
        KnownDigests {
            sha256: Some(Sha256Digest(Sha256::digest(bytes).into())),
            crc64: Some(crc_fast::checksum(CrcAlgorithm::Crc64Nvme, bytes)),
            crc32c: u32::try_from(crc_fast::checksum(CrcAlgorithm::Crc32Iscsi, bytes)).ok(),
            md5: Some(Md5::digest(bytes).into()),
        }
    }

    #[test]
    fn the_cheapest_digest_that_the_source_shows_is_compared() {
        let (all, other) = (known(b"backhaul"), known(b"backhauL"));
        let only = |crc64: bool, md5: bool| KnownDigests {
            crc64: other.crc64.filter(|_| crc64),
            md5: other.md5.filter(|_| md5),
            ..KnownDigests::default()
        };
        for (known, name) in [(only(true, true), "crc64nvme"), (only(false, true), "md5"), (other, "sha256")] {
            let mut hash = StreamHash::to_compare(&known);
            hash.update(b"backhaul");
            assert_eq!(hash.differs_from(&known).expect("another digest").0, name);
            assert_eq!(hash.differs_from(&all), None);
        }
    }

    /// Of the third form: SHA-256 and the MD5 of a segment that is not over, after "backhaul".
    #[test]
    fn a_stored_state_inside_a_segment_is_pinned() {
        let list = segments(b"backhaul and on", &[4]);
        let mut hash = StreamHash::default().checking(Some(&list));
        hash.update(b"back");
        assert_eq!(hash.to_state()[0], SHA256_ONLY, "between two segments there is nothing to store of them");
        hash.update(b"haul");
        let state = hash.to_state();
        assert_eq!(state.len(), 1 + 8 + SHA256_STATE + 18 + MD5_STATE + GUARD_BYTES);
        assert_eq!(hex(&Sha256::digest(&state)), PINNED_IN_SEGMENT);
        let mut wrong = list.to_vec();
        wrong[1].md5 = [7; 16];
        for (list, is_wrong) in [(list, false), (wrong.into(), true)] {
            let mut hash = StreamHash::from_state(&state).expect("just stored");
            assert_eq!(hash.to_state(), state, "what is not attached is kept");
            hash = hash.checking(Some(&list));
            hash.update(b" and on");
            assert_eq!(hash.wrong_segment().is_some(), is_wrong);
        }
    }

    proptest! {
        #[test]
        fn a_hash_that_was_stored_anywhere_is_the_hash_of_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0..400_usize,
        ) {
            let cut = cut.min(bytes.len());
            let mut hash = all_digests();
            hash.update(&bytes[..cut]);
            let mut hash = StreamHash::from_state(&hash.to_state()).expect("just stored");
            hash.update(&bytes[cut..]);
            prop_assert_eq!(hash.bytes(), bytes.len() as u64);
            prop_assert_eq!(hash.digest(), Sha256Digest(Sha256::digest(&bytes).into()));
            prop_assert_eq!(hash.differs_from(&known(&bytes)), None);
        }
    }
}
