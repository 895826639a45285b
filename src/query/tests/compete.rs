//! Groups, who is cheapest in them, words in titles, quantities, users' own views.

use super::*;
use crate::config::groups::GroupLine;
use crate::groups::Groups;
use crate::query::UserView;
use crate::store::Store;

fn group(name: &str) -> GroupLine {
    GroupLine { group: name.into(), ..GroupLine::default() }
}

fn opened(lake: &Lake, lines: Vec<GroupLine>, views: Vec<UserView>) -> Session {
    let store = Store::open_existing(lake.folder.path()).unwrap();
    let options = Options { target_partitions: Some(2), views, ..Options::default() };
    let groups = Groups::new("groups.csv", chrono::DateTime::UNIX_EPOCH, lines);
    Session::with_groups(&store, lake.snapshot(), groups, &options).unwrap()
}

/// Four mugs and a pot: ours in boxes of 24, one whose box nobody knows, one that is too dear, one of another currency.
fn mugs() -> Lake {
    let mut lake = Lake::new();
    let offer =
        |id: i64, title: &str, shop: &str| json!({"offer_id": id, "title": title, "shop_id": shop, "shop_name": shop});
    let with = |mut offer: serde_json::Value, more: serde_json::Value| {
        offer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        offer
    };
    lake.rows(
        "offers",
        FRIDAY,
        "nightly",
        &[
            with(
                offer(1, "陶瓷马克杯", "own"),
                json!({"unit": "箱", "pieces_per_unit": 24, "moq_pieces": 24, "moq_quantity": 1}),
            ),
            with(
                offer(2, "马克杯 MUG", "s2"),
                json!({"unit": "箱", "pieces_per_unit": null, "pack_source": "none", "moq_quantity": 2,
                       "moq_status": "unknown_pack"}),
            ),
            with(offer(3, "骨瓷马克杯", "s3"), json!({"moq_pieces": 1000, "moq_quantity": 1000})),
            offer(4, "玻璃马克杯", "s2"),
            with(offer(5, "马克杯", "s4"), json!({"currency": "USD"})),
            offer(6, "茶壶", "s2"),
        ],
    );
    let tier = |id: i64, min: i64, unit_price: &str, piece_price: Option<&str>| json!({"offer_id": id, "min_quantity": min, "unit_price": unit_price, "piece_price": piece_price});
    let dollars = |mut tier: serde_json::Value| {
        tier["currency"] = json!("USD");
        tier
    };
    lake.rows(
        "price_tiers",
        FRIDAY,
        "nightly",
        &[
            tier(1, 1, "48.00", Some("2.000000")),
            tier(1, 20, "36.00", Some("1.500000")),
            tier(2, 1, "50.00", None),
            tier(3, 1, "0.90", Some("0.900000")),
            tier(4, 1, "1.80", Some("1.800000")),
            dollars(tier(5, 1, "0.50", Some("0.500000"))),
            tier(6, 1, "9.00", Some("9.000000")),
        ],
    );
    lake
}

fn mug_groups() -> Vec<GroupLine> {
    vec![
        GroupLine { title: Some("马克杯".into()), quantity: Some(500), ..group("mugs") },
        GroupLine { shop_id: Some("own".into()), ours: true, ..group("mugs") },
        GroupLine { offer_id: Some(2), pack_size: Some(30), ..group("mugs") },
        GroupLine { shop_id: Some("s2".into()), ..group("all of s2") },
    ]
}

#[tokio::test]
async fn a_group_ranks_what_can_be_bought_and_says_why_the_rest_cannot() {
    let lake = mugs();
    let session = opened(&lake, mug_groups(), Vec::new());
    let sql =
        "SELECT group_name, position, offer_id, is_ours, quantity, units, price_per_piece, total, currency, cheapest,
                      gap, gap_pct, moq_pieces, buyable, reason
               FROM competitor_position() ORDER BY group_name DESC, currency, position NULLS LAST, offer_id";
    check(
        &session,
        sql,
        "group_name,position,offer_id,is_ours,quantity,units,price_per_piece,total,currency,cheapest,gap,gap_pct,moq_pieces,buyable,reason\n\
         mugs,1,1,true,500,21,1.500000,756.0000,CNY,1.500000,0.000000,0.00,24,true,\n\
         mugs,2,2,false,500,17,1.666667,850.0000,CNY,1.500000,0.166667,11.11,60,true,\n\
         mugs,3,4,false,500,500,1.800000,900.0000,CNY,1.500000,0.300000,20.00,1,true,\n\
         mugs,,3,false,500,500,0.900000,,CNY,1.500000,,,1000,false,below_moq\n\
         mugs,1,5,false,500,500,0.500000,250.0000,USD,0.500000,0.000000,0.00,1,true,\n\
         all of s2,,2,false,,,,,CNY,,,,,false,unknown_pack\n\
         all of s2,,4,false,,,1.800000,,CNY,,,,1,,no_quantity\n\
         all of s2,,6,false,,,9.000000,,CNY,,,,1,,no_quantity\n",
    )
    .await;
    let asked = "SELECT offer_id, position, price_per_piece FROM competitor_position(24)
                 WHERE group_name = 'mugs' AND currency = 'CNY' ORDER BY position NULLS LAST, offer_id";
    check(&session, asked, "offer_id,position,price_per_piece\n4,1,1.800000\n1,2,2.000000\n2,,1.666667\n3,,0.900000\n")
        .await;
    let message = error(&session, "SELECT * FROM competitor_position(0)").await.to_string();
    assert!(message.contains("`competitor_position` wants 1 to"), "{message}");
    assert!(
        error(&session, "SELECT * FROM competitor_position(1, 2)").await.to_string().contains("one argument or none")
    );
}

/// A join on less than the offer would compare all steps of a lake, or of a group, with each other.
#[tokio::test]
async fn every_join_of_the_prices_is_on_the_offer() {
    let lake = mugs();
    let session = opened(&lake, mug_groups(), Vec::new());
    for function in ["price_at(500)", "competitor_position()"] {
        let plan = plan(&session, &format!("SELECT * FROM {function}")).await;
        let joins: Vec<&str> = plan.lines().filter(|line| line.contains("HashJoinExec")).collect();
        assert!(joins.len() >= 4, "{plan}");
        for join in joins {
            let on = join.split("on=[").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
            assert!(on.contains("offer_id"), "{join}");
        }
    }
}

#[tokio::test]
async fn the_groups_are_a_table_and_their_offers_a_view() {
    let lake = mugs();
    let session = opened(&lake, mug_groups(), Vec::new());
    check(
        &session,
        "SELECT * FROM groups ORDER BY group_name, offer_id NULLS LAST, shop_id NULLS LAST",
        "group_name,shop_id,offer_id,title_pattern,is_ours,quantity,pack_size\n\
         all of s2,s2,,,false,,\nmugs,,2,,false,,30\nmugs,own,,,true,,\nmugs,,,马克杯,false,500,\n",
    )
    .await;
    check(
        &session,
        "SELECT group_name, count(*) AS offers FROM group_offers GROUP BY group_name ORDER BY offers",
        "group_name,offers\nall of s2,3\nmugs,5\n",
    )
    .await;
    check(
        &session,
        "SELECT offer_id, offer_groups(shop_id, offer_id, title)[1]['group_name'] AS g FROM offers WHERE offer_id IN (5, 6)
         ORDER BY 1",
        "offer_id,g\n5,mugs\n6,all of s2\n",
    )
    .await;
    let none = lake.session();
    check(&none, "SELECT count(*) AS n FROM group_offers", "n\n0\n").await;
    check(&none, "SELECT count(*) AS n FROM competitor_position(5)", "n\n0\n").await;
}

#[tokio::test]
async fn titles_are_searched_for_many_words_at_once() {
    let lake = mugs();
    let session = opened(&lake, Vec::new(), Vec::new());
    check(
        &session,
        "SELECT keyword, offer_id FROM title_matches('mug，陶瓷, 壶, it''s') ORDER BY keyword, offer_id",
        "keyword,offer_id\nmug,2\n壶,6\n陶瓷,1\n",
    )
    .await;
    check(
        &session,
        "SELECT title_matches('陶瓷马克杯', '马克杯, 陶瓷,没有') AS m, title_matches('茶壶', '马克杯') AS n,
                title_matches(NULL, '马克杯') AS o",
        "m,n,o\n\"[马克杯, 陶瓷]\",,\n",
    )
    .await;
    check(
        &session,
        "SELECT offer_id FROM latest_offers WHERE title_fits(title, '马克杯 陶瓷|骨瓷') ORDER BY 1",
        "offer_id\n1\n3\n",
    )
    .await;
    let message = error(&session, "SELECT title_fits(title, 'a||b') FROM offers").await.to_string();
    assert!(message.contains("lacks a word"), "{message}");
    assert!(error(&session, "SELECT * FROM title_matches(5)").await.to_string().contains("one text of keywords"));
}

#[tokio::test]
async fn quantities_and_titles_are_read_as_the_tables_are() {
    let lake = mugs();
    let session = opened(&lake, Vec::new(), Vec::new());
    check(
        &session,
        "SELECT moq_pieces('2箱(24件/箱)') AS a, moq_pieces('2箱') AS b, to_pieces(3, '箱', 24) AS c,
                to_pieces(3, '打', NULL) AS d, to_pieces(NULL, '件', 1) AS e, char_length(title_200(repeat('杯', 300))) AS f",
        "a,b,c,d,e,f\n48,,72,36,,200\n",
    )
    .await;
    check(&session, "SELECT to_pieces(moq_quantity, unit, 10) AS p FROM offers WHERE offer_id = 1", "p\n10\n").await;
}

#[tokio::test]
async fn users_views_are_tables_like_any_other() {
    let view = |name: &str, sql: &str| UserView { name: name.into(), sql: sql.into(), file: format!("{name}.sql") };
    let views = vec![
        view("cups", "-- cups: what holds tea\nSELECT * FROM latest_offers WHERE title_fits(title, '杯')"),
        view("cup_count", "SELECT count(*) AS n FROM cups"),
        view("broken", "SELECT nothing FROM cups"),
    ];
    let lake = mugs();
    let session = opened(&lake, Vec::new(), views);
    check(&session, "SELECT n FROM cup_count", "n\n5\n").await;
    assert!(session.table_names().contains(&"cups".to_owned()));
    let error = error(&session, "SELECT * FROM broken").await;
    assert_eq!(error.to_string(), "view `broken` (`broken.sql`): there is no column `nothing`");
    let place = std::error::Error::source(&error).map(ToString::to_string);
    assert_eq!(
        place.as_deref(),
        Some("1 | SELECT nothing FROM cups\n  |        ^^^^^^^"),
        "in the view, not in the query"
    );
}

#[tokio::test]
async fn an_error_shows_its_place_in_the_query() {
    let lake = mugs();
    let session = opened(&lake, Vec::new(), Vec::new());
    let cases = [
        ("SELECT offer_id,\n       shop_nam FROM offers", "2 |        shop_nam FROM offers\n  |        ^^^^^^^^"),
        ("SELECT o.titel FROM offers AS o", "1 | SELECT o.titel FROM offers AS o\n  |        ^^^^^^^"),
        ("SELECT * FROM offer", "1 | SELECT * FROM offer\n  |               ^^^^^"),
        ("SELEKT 1", "1 | SELEKT 1\n  | ^^^^^^"),
        ("SELECT 1 FROM", "1 | SELECT 1 FROM\n  |              ^"),
        ("SELECT prise_at(1)", "1 | SELECT prise_at(1)\n  |        ^^^^^^^^"),
    ];
    for (sql, expected) in cases {
        let error = error(&session, sql).await;
        let place = std::error::Error::source(&error).map(ToString::to_string);
        assert_eq!(place.as_deref(), Some(expected), "{sql}: {error}");
    }
}

#[tokio::test]
async fn a_function_that_is_misspelt_or_misplaced_is_told_apart() {
    let lake = mugs();
    let session = opened(&lake, Vec::new(), Vec::new());
    let cases = [
        ("SELECT moq_piece('1件')", "there is no function `moq_piece`", "did you mean `moq_pieces`?"),
        ("SELECT price_at(500)", "`price_at` is a table function", "write it after FROM: `SELECT * FROM price_at(…)`"),
        ("SELECT * FROM prise_at(500)", "there is no table function `prise_at`", "did you mean `price_at`?"),
    ];
    for (sql, message, hint) in cases {
        let error = error(&session, sql).await;
        assert_eq!((error.to_string().as_str(), error.hint()), (message, Some(hint)), "{sql}");
    }
}
