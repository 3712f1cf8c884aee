//! The cases: tests against the real servers of one lab, which all of them share.
//!
//! `cargo test --package cim-e2e --test cases [-- FILTER]`. To add a case, write
//! `async fn(&Lab) -> Outcome` in a module here and name it in [`all`]. A case leaves the lab as it
//! found it, or uses names of its own in it.

mod dns;
mod harness;
mod hold;
mod isolation;
mod servers;

use std::process::ExitCode;

use harness::{Case, cases};

/// Every case, in the order in which they run.
fn all() -> Vec<Case> {
    cases![
        servers::kubernetes_answers,
        servers::kubernetes_keeps_an_audit_log,
        servers::nats_answers_in_a_cluster,
        servers::dns_answers_and_takes_updates,
        servers::hosts_let_the_deploy_user_do_one_thing,
        servers::a_host_boots_again,
        servers::a_flake_becomes_a_running_closure,
        dns::records_are_made_repaired_and_foreign_ones_left_alone,
        dns::a_name_changes_its_type_without_a_gap,
        dns::wrong_keys_are_told_apart,
        dns::a_server_that_is_away_loses_nothing,
        dns::a_large_zone_is_read_whole_or_not_at_all,
        dns::a_record_that_changed_meanwhile_is_not_overwritten,
        dns::deletions_wait_for_a_person_and_strangers_are_safe,
        dns::an_answer_too_large_for_udp_is_read_by_tcp,
        isolation::two_labs_live_side_by_side,
        isolation::nothing_outlives_a_killed_lab,
        isolation::ctrl_c_ends_a_lab_in_order,
    ]
}

fn main() -> ExitCode {
    harness::main(all())
}
