//! The one way to other machines: every request of every store passes here. It is counted, held back by the limits of
//! its region, watched for stalls, and what the answer says beyond what a library passes on is kept.

mod answer;
mod connector;
mod json;
mod retry;
mod secrets;
mod send;

pub(crate) use answer::{Answer, Trouble};
pub(crate) use connector::{AsStored, Connector, client};
pub(crate) use json::{JsonAnswer, JsonRequest, Repeat};
pub(crate) use retry::{Done, GaveUp, Patience};
pub(crate) use send::{Outgoing, Request, Response};
