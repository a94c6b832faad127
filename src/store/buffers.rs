//! Large buffers, used again: the system zeroes and maps each new one page by page, which costs as much as hashing it,
//! and what is freed in odd sizes stays with the process.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::Seen;

/// Smaller buffers are left to the allocator.
const POOLED_MIN: usize = 1 << 20;

/// Buffers that nobody uses now. Together with those in use they are never more than were in use at some time: before a
/// new one is made, idle ones of the same size in all are let go.
static IDLE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// A buffer of `len` bytes, whatever they are: whoever takes it overwrites them all before anybody reads them.
pub(super) fn of_len(len: usize) -> Vec<u8> {
    if len < POOLED_MIN {
        return vec![0; len];
    }
    let mut idle = idle();
    let fitting = idle.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= len);
    if let Some((at, _)) = fitting.min_by_key(|(_, buffer)| buffer.capacity()) {
        let mut buffer = idle.swap_remove(at);
        drop(idle);
        buffer.resize(len, 0);
        return buffer;
    }
    let mut freed = 0;
    while freed < len
        && let Some(buffer) = idle.pop()
    {
        freed += buffer.capacity();
    }
    drop(idle);
    vec![0; len]
}

/// The bytes of a buffer; when the last of them is dropped the buffer is used again.
pub(super) fn freeze(buffer: Vec<u8>) -> Bytes {
    if buffer.capacity() < POOLED_MIN { buffer.into() } else { Bytes::from_owner(Pooled(buffer)) }
}

/// Puts exactly `length` bytes of a stream together; another number of them is an error that `wrong` makes of its text.
/// `seen` is told of the bytes as they come.
pub(super) async fn collect<E>(
    mut stream: impl Stream<Item = Result<Bytes, E>> + Unpin,
    length: usize,
    seen: Seen<'_>,
    wrong: impl Fn(String) -> E,
) -> Result<Bytes, E> {
    let wrong = |came: usize| wrong(format!("{came} bytes came instead of {length}"));
    let mut buffer = Vec::new();
    let mut came = 0;
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        seen(chunk.len() as u64);
        // A small object comes in one piece, which needs no copy.
        if came == 0 && chunk.len() == length {
            return match stream.next().await {
                None => Ok(chunk),
                Some(more) => Err(wrong(length + more?.len())),
            };
        }
        if came == 0 {
            buffer = of_len(length);
        }
        let Some(room) = buffer.get_mut(came..came + chunk.len()) else { return Err(wrong(came + chunk.len())) };
        room.copy_from_slice(&chunk);
        came += chunk.len();
    }
    if came == length { Ok(freeze(buffer)) } else { Err(wrong(came)) }
}

struct Pooled(Vec<u8>);

impl AsRef<[u8]> for Pooled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        idle().push(std::mem::take(&mut self.0));
    }
}

fn idle() -> MutexGuard<'static, Vec<Vec<u8>>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_the_last_of_its_bytes_is_gone() {
        // A size that no other test uses.
        let len = 3 * POOLED_MIN + 12_345;
        let mut buffer = of_len(len);
        buffer[..100].fill(7);
        let place = buffer.as_ptr();
        let bytes = freeze(buffer);
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(slice, [7; 10][..]);
        let idle_now = |place: *const u8| idle().iter().any(|buffer| buffer.as_ptr() == place);
        assert!(!idle_now(place), "a slice still uses it");
        drop(slice);
        assert_eq!(of_len(len).len(), len);
    }
}
