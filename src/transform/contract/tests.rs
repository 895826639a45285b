use super::*;

/// `schemas/tables/` against the tables as they were agreed on: names, types and nullability, written by hand.
#[track_caller]
fn check(table: Table, expected: &str) {
    let actual: Vec<String> = table
        .contract()
        .unwrap()
        .columns
        .iter()
        .map(|column| format!("{}{} {}", column.name, if column.nullable { "?" } else { "" }, column.delta_type))
        .collect();
    let expected: Vec<&str> = expected.split(',').map(str::trim).collect();
    let expected: Vec<String> =
        expected.iter().map(|column| column.replace(" dec4", " decimal(18,4)").replace('|', ",")).collect();
    assert_eq!(actual, expected, "{table}");
}

#[test]
fn offers_have_the_agreed_columns() {
    check(
        Table::Offers,
        "dt date, pipeline string, run_id string, gateway string, shop_id? string, shop_name? string, offer_id long, \
         title? string, title_truncated boolean, brand? string, category_id? string, ship_from? string, \
         detail_url? string, image_url? string, image_urls? array<string>, video_url? string, price? dec4, \
         price_max? dec4, promotion_price? dec4, channel_price? dec4, dropship_price? dec4, retail_price? dec4, \
         currency string, quote_type? byte, unit? string, pieces_per_unit? integer, pack_source string, \
         moq_raw? string, moq_quantity? long, moq_pieces? long, moq_status string, moq_source string, \
         stock_raw? string, stock_pieces? long, stock_status string, sales_count? long, sales_is_lower_bound boolean, \
         like_count? long, comment_count? long, favorite_count? long, repurchase_rate? decimal(9|6), \
         min_piece_price? decimal(18|6), max_piece_price? decimal(18|6), tier_count integer, sku_count integer, \
         price_source string, ladder_status string, status string, created_at? timestamp, modified_at? timestamp, \
         fetched_at timestamp, observed_dt date, content_hash long, volatile_hash long, raw_ref string, \
         detail_fetched_at? timestamp, sku_named_count? integer",
    );
}

#[test]
fn price_tiers_and_skus_have_the_agreed_columns() {
    check(
        Table::PriceTiers,
        "dt date, pipeline string, run_id string, shop_id? string, offer_id long, sku_id? long, tier_no integer, \
         min_quantity long, max_quantity? long, min_pieces? long, max_pieces? long, unit_price dec4, \
         piece_price? decimal(18|6), currency string, price_source string, ladder_status string",
    );
    check(
        Table::Skus,
        "dt date, pipeline string, run_id string, shop_id? string, offer_id long, sku_id long, spec? string, \
         price? dec4, promotion_price? dec4, stock_raw? string, stock_pieces? long, stock_status string, \
         cargo_number? string, fetched_at timestamp",
    );
}

#[test]
fn shops_and_quarantine_have_the_agreed_columns() {
    check(
        Table::Shops,
        "dt date, pipeline string, run_id string, gateway string, shop_id string, shop_name? string, shop_url? string, \
         official_count? long, listed_count long, offer_count long, new_count long, changed_count long, \
         carried_count long, delisted_count long, quarantined_count long, sku_complete_rate? decimal(5|4), \
         price_complete_rate? decimal(5|4), is_complete boolean, incomplete_reason? string, watermark_at? timestamp, \
         calls_used long, started_at timestamp, finished_at timestamp",
    );
    check(
        Table::Quarantine,
        "dt date, pipeline string, run_id string, gateway string, shop_id? string, offer_id? long, stage string, \
         reason string, field? string, value? string, raw_ref string, record string",
    );
}

#[test]
fn journals_have_the_agreed_columns() {
    check(
        Table::Runs,
        "dt date, pipeline string, run_id string, attempt integer, status string, error? string, started_at timestamp, \
         finished_at timestamp, received long, loaded long, duplicates long, quarantined long, carried long, \
         calls_used long, calls_saved long, retries long, throttles long, bytes_received long, quota_left? long, \
         publish_seq? long, huopan_version string, contract_version string, config_hash string, \
         kind? string",
    );
    check(
        Table::Calls,
        "dt date, pipeline string, run_id string, number long, account string, endpoint string, shop_id? string, \
         offer_id? long, page? integer, attempt integer, class string, http_status? short, wait_ms long, \
         latency_ms long, bytes long, sent_at timestamp",
    );
    check(
        Table::RawPages,
        "dt date, pipeline string, run_id string, number long, endpoint string, shop_id? string, request string, \
         http_status short, content_type? string, redacted boolean, digest string, body binary, received_at timestamp, \
         header? string",
    );
}

#[test]
fn statuses_are_limited_to_the_agreed_values() {
    let allowed = |table: Table, name: &str| {
        let columns = &table.contract().unwrap().columns;
        columns.iter().find(|column| column.name == name).unwrap().allowed_values.join(" ")
    };
    let ladder = "ok single duplicate_start unordered overlap gap rising sku_spread unparsable missing";
    let stock = "ok missing unlimited unknown_unit unknown_pack not_countable conflict unparsable";
    for (table, column, expected) in [
        (
            Table::Offers,
            "pack_source",
            "unit_table moq_text stock_text title attribute batch_number config none conflict",
        ),
        (Table::Offers, "moq_status", "ok missing unknown_unit unknown_pack not_countable conflict unparsable"),
        (Table::Offers, "moq_source", "stated ladder none"),
        (Table::Offers, "stock_status", stock),
        (Table::Skus, "stock_status", stock),
        (Table::Offers, "price_source", "wholesale channel sku headline none"),
        (Table::Offers, "ladder_status", ladder),
        (Table::PriceTiers, "ladder_status", ladder),
        (Table::Offers, "status", "on_sale off_sale delisted"),
        (Table::Offers, "quote_type", "0 1 2 3"),
        (Table::Runs, "status", "published published_incomplete held stopped failed"),
        (Table::Runs, "kind", "run replay"),
        (Table::Offers, "title", ""),
    ] {
        assert_eq!(allowed(table, column), expected, "{table}.{column}");
    }
}

#[test]
fn keys_are_the_agreed_ones() {
    for (table, expected) in [
        (Table::Offers, "dt pipeline offer_id"),
        (Table::PriceTiers, "dt pipeline offer_id sku_id tier_no"),
        (Table::Skus, "dt pipeline offer_id sku_id"),
        (Table::Shops, "dt pipeline shop_id"),
        (Table::Quarantine, ""),
        (Table::Runs, "dt pipeline run_id attempt"),
        (Table::Calls, "dt pipeline run_id number"),
        (Table::RawPages, "dt pipeline run_id number"),
    ] {
        let mut key: Vec<&Column> =
            table.contract().unwrap().columns.iter().filter(|column| column.key_position.is_some()).collect();
        key.sort_by_key(|column| column.key_position);
        let key: Vec<&str> = key.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(key.join(" "), expected, "{table}");
    }
}

#[test]
fn every_column_is_explained_in_both_languages_and_has_an_example() {
    for table in Table::ALL {
        for column in &table.contract().unwrap().columns {
            assert!(column.description.ends_with('.'), "{table}.{}", column.name);
            assert!(!column.business_name.is_empty(), "{table}.{}", column.name);
            assert!(column.example.is_some() || column.data_type == DataType::Binary, "{table}.{}", column.name);
        }
    }
}

#[test]
fn examples_are_allowed_values() {
    for table in Table::ALL {
        for column in &table.contract().unwrap().columns {
            if let (Some(example), false) = (&column.example, column.allowed_values.is_empty()) {
                assert!(column.allowed_values.contains(example), "{table}.{}", column.name);
            }
        }
    }
}

#[test]
fn the_file_schema_is_the_schema_without_the_partition_columns() {
    for table in Table::ALL {
        let (schema, file_schema) = (table.schema().unwrap(), table.file_schema().unwrap());
        let names: Vec<&str> = schema.fields()[..2].iter().map(|field| field.name().as_str()).collect();
        assert_eq!(names, PARTITION_COLUMNS);
        assert_eq!(schema.fields()[2..], file_schema.fields()[..]);
    }
}

#[test]
fn a_table_is_a_picture_or_a_journal_and_runs_come_last() {
    let mut split: Vec<Table> = Table::PICTURES.into_iter().chain(Table::JOURNALS).collect();
    assert_eq!(split, Table::ALL);
    assert_eq!(split.pop(), Some(Table::Runs));
    for table in Table::ALL {
        assert_eq!(table.is_journal(), Table::JOURNALS.contains(&table));
        assert_eq!(table.name().parse::<Table>().unwrap(), table);
    }
}

#[test]
fn a_broken_document_is_refused_with_its_reason() {
    let good = Table::Offers.document();
    assert!(wire::parse(good).is_ok());
    for (from, to, reason) in [
        ("version: 1.3.0", "version: 9.9.9", "the contract's is"),
        ("physicalType: boolean", "physicalType: bool", "unknown type `bool`"),
        ("logicalType: boolean", "logicalType: string", "does not fit"),
        ("required: true", "requred: true", "requred"),
        ("partitionKeyPosition: 2", "partitionKeyPosition: 3", "partitioning of `pipeline`"),
        ("primaryKeyPosition: 3", "primaryKeyPosition: 4", "key positions"),
        ("name: shop_name", "name: shop_id", "two columns `shop_id`"),
        ("tags: [picture]", "tags: [photo]", "not one of"),
    ] {
        assert!(good.contains(from), "{from}");
        let error = wire::parse(&good.replacen(from, to, 1)).unwrap_err();
        assert!(error.contains(reason), "{to}: {error}");
    }
}
