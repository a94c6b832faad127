//! The S3 server of the tests does what S3 does, and every fault does what it says.

#[path = "support/s3/mod.rs"]
mod s3;

#[test]
fn starts() {
    let server = s3::S3Server::start(s3::Options::default());
    assert!(server.endpoint().starts_with("http://127.0.0.1:"));
}
