"""Failures that users of systems like this one have reported: each row has tests here that would catch it."""

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
TABLE = {
    "last unit sold twice": ["postgres/test_writer.py::test_last_unit_goes_to_one_of_sixty_four_in_a_thousand_drops"],
    "two lines of one order share a SKU and each passes the check": [
        "postgres/test_failures.py::test_lines_of_one_sku_are_one_demand",
        "unit/test_settlement.py::test_lines_of_one_sku_are_summed_before_they_are_checked",
    ],
    "code redeemed above its limit": [
        "postgres/test_failures.py::test_a_code_is_redeemed_no_more_often_than_its_limit",
        "postgres/test_failures.py::test_a_viewer_redeems_a_code_once_however_many_taps",
    ],
    "a retry counted zero times": [
        "postgres/test_crashes.py::test_process_killed_in_the_middle_of_a_batch_loses_nothing",
        "postgres/test_failures_payments.py::test_killed_between_the_money_and_the_goods_it_gives_the_goods",
        "postgres/test_failures_payments.py::test_a_message_whose_effect_was_killed_still_settles_when_it_comes_again",
    ],
    "a retry counted twice": [
        "postgres/test_crashes.py::test_process_killed_between_commit_and_answer_settles_nothing_twice",
        "postgres/test_settlements.py::test_same_claim_id_for_another_content_is_a_conflict_and_changes_nothing",
        "postgres/test_failures_payments.py::test_a_provider_that_fails_is_asked_again_under_the_same_key",
    ],
    "webhook and browser both complete an order": [
        "postgres/test_failures_payments.py::test_webhook_and_browser_both_complete_an_order",
    ],
    "webhook before the order exists": ["postgres/test_failures_payments.py::test_webhook_before_the_order_exists"],
    "paid, no goods": [
        "postgres/test_failures_payments.py::test_killed_at_any_call_to_the_provider_it_ends_in_goods",
        "postgres/test_failures_payments.py::test_of_many_viewers_who_pay_for_the_last_units_each_has_goods_or_money",
    ],
    "payment arrives after the hold lapsed": [
        "postgres/test_failures_payments.py::test_a_late_payment_is_honoured_while_units_are_left",
        "postgres/test_failures_payments.py::test_a_late_payment_is_let_go_where_the_drop_says_so",
    ],
    "a shopper locked out by their own hold": [
        "postgres/test_holds.py::test_a_viewer_is_not_locked_out_by_their_own_hold",
    ],
    "cancel frees nothing": [
        "postgres/test_failures_payments.py::test_a_cancel_in_each_state_restores_exactly_what_was_taken",
        "postgres/test_returns.py::test_a_cancelled_claim_gives_its_unit_back_once",
    ],
    "expiry depends on a sweeper": [
        "postgres/test_holds.py::test_what_has_lapsed_is_free_for_others_though_nobody_wrote_it_down",
        "postgres/test_allotments.py::test_stock_is_told_the_same_before_and_after_it_is_written_down",
    ],
    "wrong person promoted": [
        "postgres/test_failures.py::test_a_unit_that_is_free_again_goes_to_who_asks_first_as_the_trail_shows",
    ],
    "a fast path skips the lock": [
        "postgres/test_failures.py::test_nothing_that_writes_stock_or_decisions_does_so_without_the_lock",
        "postgres/test_failures.py::test_without_the_lock_the_database_itself_refuses_what_does_not_add_up",
    ],
    "daylight saving and zones": [
        "unit/test_zones.py::test_a_window_is_two_instants",
        "unit/test_zones.py::test_a_time_that_comes_twice_must_say_which",
    ],
    "currencies without minor digits": [
        "unit/test_splits.py::test_an_amount_is_split_by_the_largest_remainder",
        "property/test_split_properties.py::test_parts_sum_to_the_amount_and_each_is_its_share_within_one_minor_unit",
        "postgres/test_shares.py::test_shares_of_a_sale_are_posted_to_the_last_minor_unit_and_taken_back_to_the_last",
        "unit/test_stripe.py::test_amounts_are_counted_as_stripe_counts_them",
        "property/test_input_properties.py::test_a_price_can_be_read_back",
    ],
    "offline scanning": [
        "browser/test_scanner.py::test_without_network_the_page_opens_takes_a_pass_once_and_tells_it_when_it_is_back",
        "browser/test_scanner.py::test_two_phones_without_network_that_took_one_pass_are_found_with_both_scans",
    ],
    "guessable codes": ["unit/test_passes.py::test_a_code_has_eighty_bits_and_its_first_is_pinned"],
    "a claim that is shared with somebody else": [
        "postgres/test_bad_presentations.py::test_decision_is_not_told_without_a_proof",
    ],
    "hash over joined fields without separators; compared with !=": [
        "unit/test_encoding.py::test_where_a_field_ends_is_part_of_what_is_hashed",
        "property/test_claim_properties.py::test_one_changed_byte_is_refused",
    ],
}


@cache
def named_in(file: str) -> frozenset[str]:
    """Return the tests of a file."""
    tree = ast.parse((TESTS / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("failure", TABLE)
def test_failure_that_others_shipped_has_its_test(failure: str) -> None:
    for entry in TABLE[failure]:
        file, name = entry.split("::")
        assert name in named_in(file), entry
