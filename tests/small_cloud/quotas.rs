//! What a container takes, against what a plan puts into it.

use crate::bed::Bed;

const MIB: usize = 1 << 20;

#[test]
fn segments_count_in_a_quota_of_objects() {
    let bed = Bed::new();
    std::fs::create_dir(bed.folder.path().join("dumps")).expect("a folder");
    bed.write("dumps/large", vec![7; 3 * MIB]);
    bed.write("dumps/small", "bytes");
    let dumps = "\n  dumps: { store: { type: file, path: dumps } }";
    let two = "\n  two: { store: { type: swift, cloud: two, container: copies, segment_size: 1MiB } }";
    bed.plan(
        &[dumps, two],
        &["{ location: large, from: dumps, to: [two] }", "{ location: small, from: dumps, to: [two] }"],
    );
    let quota = |most: u32| {
        let headers =
            vec![("x-container-meta-quota-count", most.to_string()), ("x-container-object-count", "2".to_owned())];
        bed.cloud.region("two").containers.insert("AUTH_alpha/copies".to_owned(), headers);
        bed.backhaul(&["plan", "plan.yaml"])
    };
    // Three segments, their manifest, and the small one, beside the two that are there.
    quota(7).expect(0);
    let said = quota(6).expect(3);
    let words = "takes 4 more objects, and the plan needs 5 for 2 backups: each segment is one";
    assert!(said.stdout.contains(words), "{said}");
}
