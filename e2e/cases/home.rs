//! The demo's story, asserted: the same steps, each a case.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use cim_e2e::{
    home::Home,
    story::{STEPS, Scene, Step},
};

use crate::harness::Outcome;

/// Plays one step; it must hold, and must have shown something.
pub(crate) async fn play(home: &Home, steps: &[Step], name: &str) -> Outcome {
    let step = steps.iter().find(|step| step.name == name).ok_or("no such step")?;
    let facts = AtomicUsize::new(0);
    let hear = |_| {
        facts.fetch_add(1, Ordering::Relaxed);
    };
    step.play(&Scene { home, applied: Instant::now(), hear: &hear }).await?;
    assert_ne!(facts.into_inner(), 0, "nothing was seen");
    Ok(())
}

pub(crate) async fn both_machines_run_the_release(home: &Home) -> Outcome {
    play(home, &STEPS, "release").await
}

pub(crate) async fn the_service_answers(home: &Home) -> Outcome {
    play(home, &STEPS, "web").await
}

pub(crate) async fn names_resolve_both_ways(home: &Home) -> Outcome {
    play(home, &STEPS, "names").await
}

pub(crate) async fn credentials_do_what_they_may(home: &Home) -> Outcome {
    play(home, &STEPS, "creds").await
}

pub(crate) async fn an_object_has_its_copies(home: &Home) -> Outcome {
    play(home, &STEPS, "object").await
}

pub(crate) async fn everything_is_ready(home: &Home) -> Outcome {
    play(home, &STEPS, "ready").await
}

pub(crate) async fn a_commit_is_delivered(home: &Home) -> Outcome {
    play(home, &STEPS, "commit").await
}

pub(crate) async fn what_was_meddled_with_is_put_right(home: &Home) -> Outcome {
    play(home, &STEPS, "meddle").await
}

pub(crate) async fn a_crash_in_a_rollout_does_nothing_twice(home: &Home) -> Outcome {
    play(home, &STEPS, "crash").await
}

pub(crate) async fn an_idle_minute_writes_nothing(home: &Home) -> Outcome {
    play(home, &STEPS, "idle").await
}
