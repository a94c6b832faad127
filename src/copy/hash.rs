//! The digest of a stream, with a state that outlives the process: a copy killed at 900 GB goes on at 900 GB and its
//! digest still covers the whole stream.

use bytes::Bytes;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

use crate::id::Sha256Digest;

/// Version of the stored form. Another version is not guessed at: the copy starts again.
const STATE_VERSION: u8 = 1;

/// Bytes of SHA-256 that guard a stored state: `deserialize` of the hash itself checks next to nothing.
const GUARD_BYTES: usize = 8;

/// SHA-256 of all bytes so far, and how many they were.
#[derive(Clone, Default)]
pub struct StreamHash {
    sha256: Sha256,
    bytes: u64,
}

/// A stored state that this version cannot go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stored hash state is damaged or of another version")]
pub struct BadState;

impl StreamHash {
    /// Adds the next bytes of the stream.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Adds the next bytes off the async threads.
    pub async fn updated(mut self, bytes: Bytes) -> Self {
        let updated = tokio::task::spawn_blocking(move || {
            self.update(&bytes);
            self
        });
        updated.await.expect("hashing does not panic")
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

    /// The state to store: version, byte count, midstate, and a digest over these.
    #[must_use]
    pub fn to_state(&self) -> Vec<u8> {
        let mut state = vec![STATE_VERSION];
        state.extend_from_slice(&self.bytes.to_be_bytes());
        state.extend_from_slice(&self.sha256.serialize());
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
        let (head, midstate) = body.split_at_checked(9).ok_or(BadState)?;
        if head[0] != STATE_VERSION || Sha256::digest(body)[..GUARD_BYTES] != *guard {
            return Err(BadState);
        }
        let midstate: &SerializedState<Sha256> = midstate.try_into().map_err(|_| BadState)?;
        let bytes = u64::from_be_bytes(head[1..].try_into().map_err(|_| BadState)?);
        Ok(Self { sha256: Sha256::deserialize(midstate).map_err(|_| BadState)?, bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A state that the first release stored after "backhaul". It must be readable for ever.
    const STORED: &str = "01000000000000000867e6096a85ae67bb72f36e3c3af54fa57f520e518c68059babd9831f19cde0\
        5b0000000000000000086261636b6861756c00000000000000000000000000000000000000000000\
        0000000000000000000000000000000000000000000000000000000000000000005be1c45081891a\
        0b";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

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

    proptest! {
        #[test]
        fn a_hash_that_was_stored_anywhere_is_the_hash_of_the_whole(
            bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0..400_usize,
        ) {
            let cut = cut.min(bytes.len());
            let mut hash = StreamHash::default();
            hash.update(&bytes[..cut]);
            let mut hash = StreamHash::from_state(&hash.to_state()).expect("just stored");
            hash.update(&bytes[cut..]);
            prop_assert_eq!(hash.bytes(), bytes.len() as u64);
            prop_assert_eq!(hash.digest(), Sha256Digest(Sha256::digest(&bytes).into()));
        }
    }
}
