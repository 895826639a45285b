//! Every trap and every row of the trouble tables that the gateways' guides tell, each with a test named after it.
//!
//! A test shows its row end to end: real HTTP against the simulator, which signs and refuses by rules of its own, or
//! against a scripted gateway ([`ask::Server`]) where the simulator cannot be as odd. What stands in a definition only
//! (limits, rests) is held to the guide's number.
//!
//! | S0 `item-get` | [`item_get`] |
//! |---|---|
//! | GET loses parameters | `s0_get_loses_parameters` |
//! | a time more than 3 minutes off | `s0_a_clock_more_than_three_minutes_off_is_refused_and_corrected` |
//! | over quota: blocked for 24 hours | `s0_over_the_quota_an_account_is_blocked_for_24_hours` |
//! | 100 and 5 000 calls a day; QPS 10 and 8 | `s0_licences_and_their_pace_are_those_of_the_guide` · `s0_a_company_makes_no_more_than_eight_calls_a_second` · `s0_a_person_makes_no_more_than_ten_calls_a_second` |
//! | 3001 · 3002 · 4001 | `s0_code_3001_is_a_wrong_parameter` · `s0_code_3002_is_a_wrong_signature` · `s0_code_4001_is_a_missing_permission` |
//! | fewer `fields` are faster | `s0_fewer_fields_are_asked_for_where_a_definition_names_fewer` |
//! | `lang` zh, `country` CN | `s0_lang_and_country_are_zh_and_cn_unless_a_pipeline_chooses` |
//! | no captured envelope | `s0_an_item_may_stand_in_any_of_four_envelopes` |
//! | several offers: all or nothing | `s0_a_call_for_several_offers_is_halved_until_the_bad_one_stands_alone` · `s0_an_offer_that_a_call_for_several_leaves_out_is_asked_for_alone_and_then_gone` |
//!
//! | S1 `product-get` | [`product_get`] |
//! |---|---|
//! | seconds, not milliseconds | `s1_the_time_is_in_seconds_not_milliseconds` |
//! | JSON or XML, errors too | `s1_an_answer_is_json_or_xml` · `s1_lists_in_xml_come_with_or_without_a_wrapper` · `s1_errors_in_xml_are_read` |
//! | QPS limited | `s1_a_call_too_many_in_a_second_is_tried_again` |
//!
//! | S2 `portals` | [`portals`], [`shares`] |
//! |---|---|
//! | `pageSize` 41 | `s2_a_page_size_of_41_is_a_parameter_error` |
//! | nothing past page 50 | `s2_past_page_50_nothing_is_asked_and_what_is_missing_is_said` (and how a shop is covered all the same: `cover`) |
//! | null values | `s2_null_values_are_neither_sent_nor_signed` |
//! | values percent-encoded | `s2_values_are_percent_encoded_by_rfc_3986_before_signing` |
//! | 13 digits | `s2_the_time_has_13_digits` · `s2_a_start_time_has_13_digits` · `s2_a_start_time_in_seconds_loses_data_and_is_found_out_by_the_count` |
//! | misspelt page parameter | `s2_a_misspelt_page_parameter_is_named` |
//! | `memberId` or `member_id` | `s2_the_spelling_of_parameters_is_data` · `s2_a_member_id_is_a_text_whatever_it_looks_like` |
//! | `fields` must name SKUs, prices, MOQ | `s2_fields_that_are_not_named_are_absent_and_the_shop_incomplete` |
//! | three forms of address; cached 24 h | `s2_a_shop_has_three_forms_of_address` · `s2_an_address_is_resolved_once_in_24_hours` · `s2_an_address_is_resolved_again_after_24_hours` |
//! | `volume_desc`, `offline=false` | `s2_a_listing_is_of_what_is_on_sale_sorted_by_volume` |
//! | 4 workers; 0.8, 4, 10 s | `s2_at_most_four_calls_are_made_at_once` · `s2_a_worker_rests_0_8_4_and_10_seconds` |
//! | test licence: 30 calls | `s2_a_test_licence_has_30_calls_and_the_31st_is_not_made` · `s2_a_shop_that_30_calls_cannot_hold_is_not_begun` |
//! | time-outs 5–8 and 10–20 s | `s2_connecting_takes_5_to_8_seconds_and_reading_10_to_20` · `s2_a_call_without_an_answer_in_time_is_tried_again` |
//! | 1001 · 10002 · 5002 · 429 | `s2_code_1001_is_a_wrong_parameter` · `s2_code_10002_is_a_wrong_signature` · `s2_code_5002_is_tried_again` · `s2_code_429_is_tried_again_as_a_throttle` |
//! | the official gateway answers | `s2_an_answer_of_the_official_gateway_names_aop` · `s2_an_official_gateway_that_is_busy_is_asked_again_and_denies_no_key` |
//! | 97 % SKUs, 97 % prices, ±5 | `s2_97_percent_of_a_shops_offers_need_sku_data` · `s2_97_percent_of_a_shops_offers_need_a_wholesale_price` · `s2_a_channel_price_stands_for_a_wholesale_price` · `s2_the_official_count_may_differ_by_5` |
//! | B2B permission missing | `s2_without_any_wholesale_price_and_moq_the_b2b_permission_is_named` |
//!
//! | S3 `shop-search`, TOP | [`shop_search`] |
//! |---|---|
//! | prose or sample code | `s3_the_signature_of_the_prose_is_the_default` · `s3_the_signature_of_the_sample_code_is_selectable` |
//! | `method`, `sign_method` unsigned | `s3_method_and_sign_method_may_be_sent_unsigned` |
//! | `page_size` at most 100 | `s3_a_page_holds_at_most_100` |
//! | numbers as texts, `real_total_results` | `s3_page_numbers_and_totals_may_be_texts` · `s3_the_real_total_goes_before_the_other_one` · `s3_fewer_offers_than_the_real_total_are_incomplete` |
//! | QPS 10 | `s3_no_more_than_ten_calls_are_made_a_second` |
//! | the last page | `s3_without_a_total_an_empty_or_short_page_ends_the_listing` |
//! | `q`, `start_price`, `end_price`, `sort` | `s3_words_and_prices_narrow_the_listing` · `s3_what_leaves_a_price_range_is_not_called_delisted` · `s3_the_order_is_by_price_either_way_or_by_sales` |
//! | nick or id | `s3_a_shop_is_a_nick_or_an_id` |
//! | `isv.*` · `isp.*`, 8 · 25 | `s3_isv_invalid_permission_names_the_permission` · `s3_isv_param_error_names_the_parameters` · `s3_isp_codes_and_code_8_are_tried_again` · `s3_code_25_is_a_wrong_signature` |
//! | code 7: retry, bans | `top_code_7_without_a_ban_is_tried_again` · `top_a_ban_of_at_most_120_seconds_is_waited_for` · `top_a_ban_of_more_than_120_seconds_ends_the_accounts_day` |
//!
//! | `aop` | [`aop`], [`tokens`] |
//! |---|---|
//! | the path is signed, `_aop_signature` | `aop_the_path_is_signed_without_host_and_openapi` · `aop_the_signature_is_in_its_own_parameter` |
//! | `_aop_timestamp` is optional | `aop_the_time_may_be_left_out` |
//! | `gw.*` | `aop_gw_…` (four), `aop_an_unknown_gw_code_is_a_failure_never_an_empty_page` |
//! | 401 | `aop_401_asks_for_a_token` |
//! | frequency limit: 10 → 120 s | `aop_a_frequency_limit_backs_off_from_10_to_120_seconds` |
//! | `success` flag or text, inner | `aop_success_may_be_a_text_or_a_flag` · `aop_the_inner_success_counts_too` |
//! | JSON parameters | `aop_json_parameters_are_signed_as_they_are_sent` |
//! | own shop: `pageSize` ≤ 20 | `aop_a_page_of_the_own_shop_holds_at_most_20` |
//! | connection test | `aop_the_connection_test_needs_neither_token_nor_permission` |
//! | access token: fetched, expired, refused | all of [`tokens`] |
//!
//! | resellers | [`resellers`] |
//! |---|---|
//! | no signature; addresses are secrets | `onebound_key_and_secret_travel_in_the_address_unsigned` · `a_resellers_address_is_a_secret_…` (two) |
//! | GBK | `onebound_bodies_may_be_gbk` · `general::an_error_in_gbk_is_read` |
//! | codes | `onebound_code…`, `tmapi_code…` |
//!
//! Everything else is in [`general`]: errors under HTTP 200, lists of none and one, codes in messages, secrets copied
//! with white space or echoed with escapes, clocks, `Retry-After`, paths; and proxies are in [`proxies`].

mod aop;
mod ask;
mod batches;
mod general;
mod item_get;
mod portals;
mod product_get;
pub(crate) mod proxies;
mod resellers;
mod shares;
mod shop_search;
mod tokens;
