//! The cases: tests against the real servers of one lab, which all of them share.
//!
//! `cargo test --package cim-e2e --test cases [-- FILTER]`. To add a case, write
//! `async fn(&Lab) -> Outcome` in a module here and name it in [`all`]. A case leaves the lab as it
//! found it, or uses names of its own in it.

mod approval;
mod checks;
mod cimctl;
mod crds;
mod dns;
mod first_install;
mod harness;
mod hold;
mod home;
mod home_refusals;
mod install;
mod isolation;
mod nats;
mod nix_lib;
mod nixos;
mod nixos_source;
mod objects;
mod promotion;
mod rights;
mod rollout;
mod servers;
mod took;

use std::process::ExitCode;

use harness::{Case, at_bare, at_home, at_shop, cases};

/// Every case, in the order in which they run.
fn all() -> Vec<Case> {
    let in_domains = in_the_home().into_iter().chain(in_the_shop());
    let in_domains = on_bare_metal().into_iter().chain(in_domains);
    in_the_lab().into_iter().chain(deliveries()).chain(in_domains).collect()
}

/// Those that need no more than the servers.
fn in_the_lab() -> Vec<Case> {
    cases![
        servers::kubernetes_answers,
        servers::kubernetes_keeps_an_audit_log,
        servers::nats_answers_in_a_cluster,
        servers::dns_answers_and_takes_updates,
        servers::hosts_let_the_deploy_user_do_one_thing,
        servers::a_host_boots_again,
        servers::who_is_stopped_and_goes_on_is_heard,
        servers::the_controllers_container_is_like_its_pod,
        servers::a_flake_becomes_a_running_closure,
        dns::records_are_made_repaired_and_foreign_ones_left_alone,
        dns::a_name_changes_its_type_without_a_gap,
        dns::a_name_of_a_signed_zone_changes_its_type_without_a_gap,
        dns::wrong_keys_are_told_apart,
        dns::a_server_that_is_away_loses_nothing,
        dns::a_large_zone_is_read_whole_or_not_at_all,
        dns::a_record_that_changed_meanwhile_is_not_overwritten,
        dns::deletions_wait_for_a_person_and_strangers_are_safe,
        dns::an_answer_too_large_for_udp_is_read_by_tcp,
        nats::an_account_is_made_equal_on_all_servers,
        nats::creds_do_what_they_may_and_nothing_else,
        nats::a_request_tells_nobody_from_silence_and_may_do_nothing_else,
        nats::a_changed_role_reaches_a_live_client,
        nats::an_account_deleted_by_hand_comes_back,
        nats::a_jwt_changed_by_hand_is_put_right,
        nats::another_operator_is_refused_before_anything_is_pushed,
        nats::a_server_that_is_down_is_unverified_and_catches_up,
        nats::nobody_there_is_an_error_that_names_whom_we_tried,
        nats::a_deleted_account_stays_deleted_though_a_server_was_away,
        nats::streams_are_made_repaired_and_those_of_others_left_alone,
        approval::nobody_approves_without_the_right_or_in_anothers_name,
        approval::an_approval_cannot_be_gone_around,
        approval::a_release_is_approved_on_the_command_line,
        approval::what_changed_meanwhile_is_not_approved,
        approval::a_cluster_goes_back_and_forth,
        cimctl::it_shows_what_the_cluster_holds,
        cimctl::it_requests_a_reconciliation_and_waits_for_the_echo,
        cimctl::it_has_what_failed_tried_again,
        cimctl::it_shows_logs_and_follows_them,
        cimctl::it_says_which_right_is_missing,
        objects::copies_are_made_and_anybody_can_read_them,
        objects::an_object_of_another_client_gets_its_copies,
        objects::a_damaged_copy_is_repaired_from_a_good_one,
        objects::a_missing_copy_is_made_again,
        objects::when_no_good_copy_is_left_nothing_is_removed,
        objects::a_stopped_server_is_unknown_and_nothing_is_trimmed,
        objects::a_copy_that_another_controller_relies_on_stays,
        objects::rot_on_the_disk_is_found_by_reading,
        objects::large_messages_travel_by_reference,
        isolation::two_labs_live_side_by_side,
        isolation::nothing_outlives_a_killed_lab,
        isolation::a_lab_acts_on_a_cluster_outside,
        isolation::ctrl_c_ends_a_lab_in_order,
        crds::every_rule_is_kept_by_the_api_server,
        crds::a_misspelt_field_is_refused,
    ]
}

/// From a commit to what machines run.
fn deliveries() -> Vec<Case> {
    cases![
        nixos::a_commit_becomes_what_the_host_runs,
        nixos::a_host_refuses_what_is_not_signed_for_it,
        nixos::what_the_deploy_user_made_does_not_run_as_root,
        nixos::a_broken_machine_does_not_stop_the_others,
        nixos::a_flake_that_pins_nothing_is_refused,
        nixos::a_host_that_is_not_the_pinned_one_is_not_touched,
        nixos::an_activation_outlives_its_controller,
        nixos::an_activation_outlives_its_connection,
        nixos::each_end_of_an_activation_is_told,
        nixos::what_is_not_confirmed_goes_back,
        nixos::a_closure_that_kills_sshd_comes_back,
        nixos::checks_are_made_over_a_new_connection,
        nixos::a_closure_tells_what_it_would_do,
        nixos::what_needs_a_reboot_gets_it_by_policy,
        nixos::a_loss_of_power_leaves_the_old_closure_or_the_new_one,
        nixos::a_connection_that_is_cut_harms_nothing,
        nixos::an_activation_that_hangs_is_ended,
        nixos::a_full_disk_is_told_and_harms_nothing,
        nixos::rot_in_the_store_is_found,
        nixos::two_controllers_do_it_once,
        install::a_bare_machine_comes_to_take_deliveries,
        install::nothing_is_destroyed_that_nobody_named,
        install::a_kexec_that_does_not_come_back_is_told,
        install::images_are_made_of_the_machines_own_configuration,
        nixos_source::a_repository_is_read_with_a_key_by_a_known_host,
        nixos_source::a_repository_is_read_with_a_password,
        nixos_source::a_tag_that_moves_is_seen_and_moves_no_release,
        nixos_source::a_working_tree_with_changes_is_refused,
        nixos_source::what_was_evaluated_stays_usable_without_its_repository,
        nixos_source::a_flake_makes_its_configurations_from_the_inventory,
        nixos_source::a_configuration_that_eats_memory_stands_alone,
        nixos_source::a_configuration_that_never_ends_stands_alone,
        nixos_source::a_failed_build_leaves_its_log,
        nixos_source::a_copy_tells_how_many_bytes_it_has_brought,
        nixos_source::a_builder_that_dies_is_named_and_used_again,
        nixos_source::what_has_a_root_stays_until_it_is_let_go,
        nixos_source::a_path_tells_its_content_and_its_signers,
        nix_lib::names_mean_the_same_as_to_the_controller,
        nix_lib::an_inventory_becomes_configurations,
        nix_lib::what_is_not_known_is_refused_and_nothing_else,
        nix_lib::the_controllers_evaluator_gives_it_the_inventory,
        nix_lib::a_service_of_another_repository_is_an_input,
        nix_lib::the_template_passes_flake_check,
        nix_lib::localhost_leads_into_the_domain,
        nix_lib::the_modules_fit_the_real_lib,
    ]
}

/// Those in which the controller installs a machine. They come before those of the home, which has
/// the same host.
fn on_bare_metal() -> Vec<Case> {
    at_bare![
        first_install::a_bare_machine_is_installed_once_somebody_confirms,
        first_install::a_killed_controller_goes_on_and_repeats_nothing,
        first_install::what_nobody_named_is_not_destroyed,
        first_install::what_takes_deliveries_is_not_installed,
        first_install::a_disk_layout_that_fails_waits_for_a_person,
        first_install::a_phase_that_fails_unseen_is_told,
        first_install::a_phase_that_hangs_is_ended_by_its_deadline,
        first_install::a_kexec_that_does_not_come_back_says_what_to_do,
    ]
}

/// Those that need a Domain which the controller keeps.
fn in_the_home() -> Vec<Case> {
    at_home![
        home::both_machines_run_the_release,
        home::the_service_answers,
        home::names_resolve_both_ways,
        home::credentials_do_what_they_may,
        home::an_object_has_its_copies,
        home::everything_is_ready,
        home::a_commit_is_delivered,
        home::what_was_meddled_with_is_put_right,
        home::a_crash_in_a_rollout_does_nothing_twice,
        home::an_idle_minute_writes_nothing,
        home_refusals::what_cannot_be_done_is_said_and_harms_nothing_else,
        home_refusals::a_finalizer_follows_the_deletion_policy,
        home_refusals::a_new_role_gets_credentials_of_its_own,
        checks::each_kind_says_what_it_found,
        checks::a_release_is_kept_only_if_a_request_is_answered_well,
        checks::the_next_wave_waits_for_the_services,
        rights::the_chart_is_clean,
        rights::every_right_is_used_and_none_is_missing,
    ]
}

/// Those that need the Domain with dev and prod.
fn in_the_shop() -> Vec<Case> {
    at_shop![
        promotion::a_commit_reaches_dev_and_only_dev,
        promotion::nobody_approves_who_may_not,
        promotion::the_same_closures_reach_prod_and_then_the_public,
        promotion::what_fails_in_prod_goes_back,
        promotion::a_closure_that_kills_sshd_comes_back,
        rollout::killed_after_every_effect,
        rollout::two_controllers_act_as_one,
        rollout::what_was_tampered_with_is_refused,
        rollout::what_was_drifted_or_rots_is_seen,
        rollout::windows_and_pause_hold,
        rollout::a_reboot_follows_its_policy,
        rollout::a_clock_that_jumps_harms_nothing,
        rollout::a_failed_build_is_told_with_its_log,
        rollout::a_source_is_read_with_the_right_credentials_only,
        rollout::checks_approve_what_passed_and_nothing_else,
        rollout::what_goes_back_again_was_tried_once,
        rollout::another_machine_builds,
        rollout::what_is_held_goes_with_its_cluster,
    ]
}

fn main() -> ExitCode {
    harness::main(all())
}
