//! A release goes from dev to prod: what dev ran and a person approved reaches prod, wave by wave, and
//! nothing else does.
//!
//! ```text
//! dev       a commit reaches dev, and only dev
//! forge     who may not approve cannot, nor in another's name
//! approve   an approval takes the same closures to prod, and then the public may see it
//! bad       a release that fails in prod goes back, and changes no record
//! sshd      a closure that shuts everybody out comes back by itself
//! ```

mod people;
mod steps;

use super::{Step, step};

pub use people::{People, Person};
pub use steps::{complete, phase};

/// The steps, in order.
pub const PROMOTION: [Step; 5] = [
    step!("dev", "a commit reaches dev, and only dev", steps::dev),
    step!("forge", "who may not approve cannot, nor in another's name", steps::forge),
    step!("approve", "the same closures reach prod, then the public sees it", steps::approve),
    step!("bad", "what fails in prod goes back, and changes no record", steps::bad),
    step!("sshd", "a closure that shuts everybody out comes back by itself", steps::sshd),
];
