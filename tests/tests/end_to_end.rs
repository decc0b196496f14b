//! Real processes between two emulators. Each file shows one promise from the outside.
#![expect(clippy::print_stdout, reason = "a seeded round says its seed")]

mod end_to_end {
    mod a_bad_event_costs_itself;
    mod a_body_at_fault_is_told;
    mod a_body_that_kills_costs_itself;
    mod a_compressed_body_is_answered_as_the_plain_one;
    mod a_connectors_body_arrives_once;
    mod a_destination_that_refuses_costs_nothing;
    mod a_hang_up_reads_files_again;
    mod a_held_destination_stops_its_own_lane;
    mod a_lost_answer_is_retried_byte_for_byte;
    mod a_mapping_file_is_followed;
    mod a_newer_journal_is_refused;
    mod a_persons_last_set_wins;
    mod a_receipt_tells_the_whole_story;
    mod a_redelivery_is_one_event;
    mod a_rule_picks_the_project;
    mod a_snapshot_is_delivered_again_as_the_same_events;
    mod a_start_waits_for_a_file_to_be_right;
    mod a_test_event_is_followed;
    mod dead_letters_are_listed_and_shown;
    mod dead_letters_are_tried_again;
    mod disks;
    mod every_mutated_body_is_kept;
    mod every_reason_is_told_as_the_transformer_gave_it;
    mod history_travels_apart;
    mod kill_9_loses_nothing;
    mod kills_rolls_and_scaling_lose_nothing;
    mod load_balancers_are_told_the_truth;
    mod no_secret_is_printed;
    mod nothing_sent_breaks_it;
    mod odd_bytes_are_kept;
    mod one_trace_crosses_three_services;
    mod outages_are_ridden_out;
    mod replicas_come_and_go;
    mod secrets_are_read_again;
    mod strangers_cost_nothing;
    mod the_disk_fills_and_recovers;
    mod the_examples_work;
    mod the_pages_lead_somewhere;
    mod the_readmes_commands_work;
    mod the_runbooks_name_what_is_there;
    mod the_tutorials_bodies_arrive;
    mod the_whole_request_reaches_the_mapping;
    mod versions_work_together;
    mod webhooks_are_answered_in_time;
    mod what_dies_is_seen_everywhere;
    mod what_sdks_send_arrives;
    mod what_was_changed_is_said;
    mod world;
}
