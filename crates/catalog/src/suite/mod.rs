//! The tests every engine must pass: an engine's crate opens an empty catalog for each and calls [`run`].

mod access;
mod book;
mod custody;
mod nodes;
mod packs;
mod placing;
pub mod postgres;
mod received;
mod search;
mod shredding;
pub(crate) mod support;

use std::future::Future;

pub use support::{node, options, site};

use crate::Catalog;

/// Runs every test, each on a catalog that `open` makes empty.
///
/// # Panics
/// When a test fails.
pub async fn run<F, O>(open: F)
where
    F: Fn() -> O,
    O: Future<Output = Catalog>,
{
    received::arrivals_are_entered_once(&open().await).await;
    received::the_first_arrival_is_served(&open().await).await;
    received::quarantined_arrivals_stay_out_of_sight(&open().await).await;
    received::records_without_identifiers_share_no_patient(&open().await).await;
    received::sites_and_wipes(&open().await).await;
    received::what_is_known_is_not_filed_again(&open().await).await;
    received::what_is_absurdly_long_is_found_by_its_beginning(&open().await).await;
    packs::studies_are_ready_by_quiet_size_and_age(&open().await).await;
    packs::records_come_in_order_and_within_bounds(&open().await).await;
    packs::packing_twice_changes_nothing(&open().await).await;
    packs::a_pack_that_came_too_late_enters_nothing(&open().await).await;
    packs::copies_are_dropped_and_counted(&open().await).await;
    packs::the_road_of_a_pack(&open().await).await;
    packs::a_placement_that_failed_is_uploaded_again(&open().await).await;
    packs::damage_is_an_alarm(&open().await).await;
    placing::one_placement_holds_up_no_other(&open().await).await;
    placing::parts_are_remembered(&open().await).await;
    packs::study_keys_are_remembered(&open().await).await;
    packs::text_is_ordered_by_its_bytes(&open().await).await;
    custody::a_deletion_takes_what_it_named_and_nothing_later(&open().await).await;
    custody::a_deletion_can_be_taken_back(&open().await).await;
    custody::a_hold_wins_however_late_it_comes(&open().await).await;
    custody::what_must_be_kept_is_kept(&open().await).await;
    custody::how_long_a_node_keeps_binds_the_others(&open().await).await;
    custody::records_move_to_another_pack(&open().await).await;
    custody::a_new_index_knows_what_was_deleted(&open().await).await;
    shredding::keys_go_with_the_last_pack_under_them(&open().await).await;
    shredding::places_are_emptied_one_by_one(&open().await).await;
    custody::what_the_logs_say_binds_a_catalog_that_did_not_know_it(&open().await).await;
    custody::packs_leave_as_the_logs_say(&open().await).await;
    nodes::nodes_tell_where_they_are_and_what_they_hold(&open().await).await;
    search::names(&open().await).await;
    search::dates_times_and_numbers(&open().await).await;
    search::lists_levels_and_counts(&open().await).await;
    search::pages_are_stable(&open().await).await;
    search::fuzzy_names(&open().await).await;
    search::moments(&open().await).await;
    search::what_a_study_learns_later_is_found(&open().await).await;
    search::modalities_within_dates(&open().await).await;
    search::the_newest_of_a_modality(&open().await).await;
    search::only_the_studies_of_a_list(&open().await).await;
    search::a_series_without_instances_answers_for_nothing(&open().await).await;
    search::attributes_within_sequences(&open().await).await;
    access::callers_and_their_rules(&open().await).await;
    access::tokens_end(&open().await).await;
    access::the_administrator_is_set_up_by_one_link(&open().await).await;
    book::a_book_is_entered_elsewhere(&open().await, &open().await).await;
    book::books_meet_by_their_own_clocks(&open().await).await;
    book::one_node_makes_an_export(&open().await).await;
}
