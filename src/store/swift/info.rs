//! What a cluster can do, as its `/info` says.

use http::{HeaderMap, Method};
use serde::Deserialize;

use super::SwiftStore;
use super::ask::{Ask, At};
use crate::store::{StoreError, StoreErrorKind};

/// Limits of one cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of an object in one piece, and of a segment.
    pub(super) file_size: u64,
    /// Segments of a manifest; none where there are no such manifests.
    pub(super) segments: Option<usize>,
    /// Bytes of each segment but the last.
    pub(super) segment_min: u64,
    pub(super) object_name: usize,
    pub(super) meta_name: usize,
    pub(super) meta_value: usize,
    pub(super) meta_count: usize,
    pub(super) meta_overall: usize,
}

#[derive(Deserialize)]
struct Info {
    swift: Core,
    slo: Option<Slo>,
}

/// What is missing is as in Swift's own defaults; Ceph's gateway says little of metadata.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "as Swift names them")]
struct Core {
    max_file_size: u64,
    max_object_name_length: Option<usize>,
    max_meta_name_length: Option<usize>,
    max_meta_value_length: Option<usize>,
    max_meta_count: Option<usize>,
    max_meta_overall_size: Option<usize>,
}

#[derive(Deserialize)]
struct Slo {
    max_manifest_segments: usize,
    min_segment_size: Option<u64>,
}

impl Limits {
    pub(super) fn of(body: &[u8]) -> Result<Self, serde_json::Error> {
        let Info { swift, slo } = serde_json::from_slice(body)?;
        Ok(Self {
            file_size: swift.max_file_size,
            segments: slo.as_ref().map(|slo| slo.max_manifest_segments),
            segment_min: slo.and_then(|slo| slo.min_segment_size).unwrap_or(1),
            object_name: swift.max_object_name_length.unwrap_or(1024),
            meta_name: swift.max_meta_name_length.unwrap_or(128),
            meta_value: swift.max_meta_value_length.unwrap_or(256),
            meta_count: swift.max_meta_count.unwrap_or(90),
            meta_overall: swift.max_meta_overall_size.unwrap_or(4096),
        })
    }

    /// Compares sizes of segments with what manifests of the cluster may name. A last segment may be empty: that is how
    /// Trove ends some.
    ///
    /// # Errors
    /// Why there is no such manifest.
    pub(super) fn allow_segments(&self, sizes: &[u64]) -> Result<(), String> {
        let Some(most) = self.segments else {
            return Err("the cluster has no static large objects (`slo` is not in its `/info`)".to_owned());
        };
        let small = |(number, size): &(usize, &u64)| **size < self.segment_min && number + 1 < sizes.len();
        if sizes.len() > most {
            return Err(format!("it has {} segments, and a manifest of the cluster at most {most}", sizes.len()));
        }
        if let Some((number, size)) = sizes.iter().enumerate().find(small) {
            let least = self.segment_min;
            return Err(format!(
                "segment {number} has {size} bytes, and the cluster wants {least} of all but the last"
            ));
        }
        match sizes.iter().position(|size| *size > self.file_size) {
            Some(number) => {
                let most = self.file_size;
                Err(format!("segment {number} has {} bytes, and the cluster takes {most} in one piece", sizes[number]))
            }
            None => Ok(()),
        }
    }
}

impl SwiftStore {
    /// The cluster's limits; asked once a process.
    pub(super) async fn limits(&self) -> Result<&Limits, StoreError> {
        let asked = self.inner.limits.get_or_try_init(|| async {
            let attempt = self.attempt("read the limits of", "");
            let unknown = |why: &str| {
                attempt
                    .refused(StoreErrorKind::Refused, format!("its `/info` {why}"))
                    .hint("what this cluster can hold is not known: let its operator set `expose_info = true`")
            };
            let ask = Ask { method: Method::GET, at: At::Info, query: &[], headers: HeaderMap::new(), body: None };
            match self.ask(attempt, &ask).await? {
                Ok(answered) => Limits::of(&answered.body).map_err(|error| {
                    unknown(&format!("is not Swift's (line {}, column {})", error.line(), error.column()))
                }),
                Err(gave_up) if matches!(gave_up.answer.status, Some(401 | 403 | 404 | 405)) => {
                    Err(unknown(&gave_up.answer.in_words().unwrap_or_default()))
                }
                Err(gave_up) => Err(attempt.given_up(&gave_up)),
            }
        });
        asked.await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_info_without_what_decides_is_unknown() {
        assert!(Limits::of(b"{}").is_err());
        assert!(Limits::of(b"<html>").is_err());
        assert!(Limits::of(br#"{"swift": {}}"#).is_err());
        let limits = Limits::of(br#"{"swift": {"max_file_size": 5}}"#).expect("enough");
        assert!(limits.allow_segments(&[1]).is_err_and(|why| why.contains("no static large objects")));
    }

    #[test]
    fn only_a_last_segment_may_be_empty() {
        let info = br#"{"swift": {"max_file_size": 50}, "slo": {"max_manifest_segments": 3, "min_segment_size": 10}}"#;
        let limits = Limits::of(info).expect("readable");
        assert_eq!(limits.allow_segments(&[10, 50, 0]), Ok(()));
        assert!(limits.allow_segments(&[10, 9, 10]).is_err_and(|why| why.starts_with("segment 1 has 9 bytes")));
        assert!(limits.allow_segments(&[51, 1]).is_err_and(|why| why.contains("takes 50 in one piece")));
        assert!(limits.allow_segments(&[10; 4]).is_err_and(|why| why.starts_with("it has 4 segments")));
    }
}
