//! A model of target stores and catalogs: objects are published where there is none, records are created once by their
//! id, and whoever comes second is told that it is there.

use crate::case::Mutant;

/// What a runner may ask of stores and catalogs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Request {
    /// One more part of the source's object, into an upload that nobody sees yet.
    Part,
    /// The whole object under its name.
    Publish,
    /// The record of the backup.
    Record,
}

/// What they answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Said {
    Done,
    /// Try again.
    Busy,
    /// Never.
    Refused,
}

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) is_published: bool,
    pub(crate) records: u32,
}

/// By row.
pub(crate) struct World {
    mutant: Option<Mutant>,
    pub(crate) places: Vec<Place>,
    /// Bytes read of each source, whoever asked.
    pub(crate) read: Vec<u64>,
    /// Rows whose source is gone.
    pub(crate) gone: Vec<bool>,
}

/// Bytes in a part.
pub(crate) const PART: u64 = 1;

impl World {
    pub(crate) fn new(gone: Vec<bool>, mutant: Option<Mutant>) -> Self {
        Self { mutant, places: vec![Place::default(); gone.len()], read: vec![0; gone.len()], gone }
    }

    pub(crate) fn take(&mut self, row: usize, request: Request) -> Said {
        let place = &mut self.places[row];
        match request {
            Request::Part if self.gone[row] => return Said::Refused,
            Request::Part => self.read[row] += PART,
            Request::Publish => place.is_published = true,
            Request::Record if place.records > 0 && self.mutant != Some(Mutant::RecordedTwice) => {}
            Request::Record => place.records += 1,
        }
        Said::Done
    }
}
