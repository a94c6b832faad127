//! Copies when nothing goes wrong.

use super::bed::{Bed, Options, Route, large, small};

#[test]
fn copies_go_every_way() {
    for route in [Route::Between, Route::ToS3, Route::FromS3] {
        for objects in [small(), large()] {
            let bed = Bed::with(route, objects, Options::default());
            bed.run().expect(0);
            bed.is_complete(&format!("{route:?}"));
            bed.bytes_at_most(0, &format!("{route:?}"));
        }
    }
}
