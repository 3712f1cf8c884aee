//! The story of the promotion, asserted: the same steps, each a case.

use cim_e2e::{home::Home, story::PROMOTION};

use crate::{harness::Outcome, home::play};

pub(crate) async fn a_commit_reaches_dev_and_only_dev(home: &Home) -> Outcome {
    play(home, &PROMOTION, "dev").await
}

pub(crate) async fn nobody_approves_who_may_not(home: &Home) -> Outcome {
    play(home, &PROMOTION, "forge").await
}

pub(crate) async fn the_same_closures_reach_prod_and_then_the_public(home: &Home) -> Outcome {
    play(home, &PROMOTION, "approve").await
}

pub(crate) async fn what_fails_in_prod_goes_back(home: &Home) -> Outcome {
    play(home, &PROMOTION, "bad").await
}

pub(crate) async fn a_closure_that_kills_sshd_comes_back(home: &Home) -> Outcome {
    play(home, &PROMOTION, "sshd").await
}
