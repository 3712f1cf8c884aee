//! What the demo shows, step by step, and the cases assert: each step makes something happen, waits
//! until it is seen to hold, and fails with the last state seen if it does not.
//!
//! ```text
//! truth    what was applied has become true outside
//! commit   a new commit is delivered
//! meddle   somebody changes what is outside; it is seen, and put right
//! crash    the controller is killed in the middle of a rollout
//! idle     nothing happens, and nothing is written
//! console  how people see it
//! promotion/  the other story: from dev to prod
//! ```

mod commit;
mod console;
mod crash;
mod idle;
mod meddle;
mod promotion;
mod truth;

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

pub use self::{
    console::{Console, table},
    idle::{Idle, observe as observe_idle},
    promotion::{PROMOTION, People, Person, complete, phase},
};
use crate::{home::Home, lab::Result};

/// How long one thing may take at most, on a machine that does much else.
const DEADLINE: Duration = Duration::from_mins(3);

/// Something that was seen to hold.
#[derive(Clone, Debug)]
pub struct Fact {
    /// What, in one line.
    pub what: String,
    /// From its cause to when the controller first knew of it.
    pub seen: Option<Duration>,
    /// From its cause to when it was true outside.
    pub holds: Option<Duration>,
}

/// What a step gets: the Domain, when it was applied, and somebody to tell.
pub struct Scene<'s> {
    /// The Domain.
    pub home: &'s Home,
    /// When it was applied: the cause of all that becomes true by itself.
    pub applied: Instant,
    /// Hears each fact when it is seen to hold.
    pub hear: &'s dyn Fn(Fact),
}

impl Scene<'_> {
    /// Tells what has become true, `since` its cause.
    fn holds(&self, what: impl Into<String>, since: Instant) {
        self.tell(what, None, Some(since.elapsed()));
    }

    fn tell(&self, what: impl Into<String>, seen: Option<Duration>, holds: Option<Duration>) {
        (self.hear)(Fact { what: what.into(), seen, holds });
    }
}

type Run = for<'s> fn(&'s Scene<'s>) -> Pin<Box<dyn Future<Output = Result<()>> + 's>>;

/// One step of the story.
#[derive(Clone, Copy)]
pub struct Step {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it shows, in one line.
    pub shows: &'static str,
    run: Run,
}

impl Step {
    /// Plays it.
    ///
    /// # Errors
    /// What did not hold, with the last state seen.
    pub async fn play(&self, scene: &Scene<'_>) -> Result<()> {
        (self.run)(scene).await
    }
}

macro_rules! step {
    ($name:literal, $shows:literal, $path:path) => {
        $crate::story::Step { name: $name, shows: $shows, run: |scene| Box::pin($path(scene)) }
    };
}
use step;

/// The steps, in order.
pub const STEPS: [Step; 10] = [
    step!("release", "both machines run the closure of the flake's commit", truth::release),
    step!("web", "the service answers over HTTP", truth::web),
    step!("names", "forward and reverse names resolve", truth::names),
    step!("creds", "credentials do what they may, and nothing else", truth::creds),
    step!("object", "an object has three verified copies", truth::object),
    step!("ready", "every object is Ready", truth::ready),
    step!("commit", "a new commit is picked up and activated", commit::commit),
    step!("meddle", "somebody meddles; it is seen and put right", meddle::meddle),
    step!("crash", "SIGKILL in the middle of a rollout", crash::crash),
    step!("idle", "an idle minute", idle::idle),
];
