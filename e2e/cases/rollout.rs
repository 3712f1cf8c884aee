//! What goes wrong around a rollout: the controller dies, is there twice, is lied to, or must wait.
//!
//! ```text
//! again     what failed is tried once more
//! automatic checks approve where nobody does
//! building  builds that fail, and builds that other machines make
//! journal   what was activated on a host, as the host itself tells it
//! rooted    what the controller's store holds
//! shop      dev and prod, and the moments of a release in them
//! killed    the controller dies after each effect
//! leader    two controllers
//! source    sources that not everybody may read
//! tampered  sources, approvals, machines and stores that are not as they were
//! waiting   windows
//! clock     the controller's clock is set
//! reboot    reboots by policy
//! ```

mod again;
mod automatic;
mod building;
mod clock;
mod journal;
mod killed;
mod leader;
mod reboot;
mod rooted;
mod shop;
mod source;
mod tampered;
mod waiting;

use std::{error::Error, time::Duration};

pub(crate) use self::{
    again::what_goes_back_again_was_tried_once,
    automatic::checks_approve_what_passed_and_nothing_else,
    building::{a_failed_build_is_told_with_its_log, another_machine_builds},
    clock::a_clock_that_jumps_harms_nothing,
    killed::killed_after_every_effect,
    leader::two_controllers_act_as_one,
    reboot::a_reboot_follows_its_policy,
    rooted::what_is_held_goes_with_its_cluster,
    source::a_source_is_read_with_the_right_credentials_only,
    tampered::{what_was_drifted_or_rots_is_seen, what_was_tampered_with_is_refused},
    waiting::windows_and_pause_hold,
};

type Try<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long one thing may take at most, on a machine that does much else.
const DEADLINE: Duration = Duration::from_mins(2);
