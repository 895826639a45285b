//! What a person reads in the captured answers with WIRE.md §2, §3 and §5 beside them; numbers and ids only.
//!
//! One line an offer:
//! `offer_id | price price_max promotion_price | unit pieces_per_unit pack_source | moq_raw quantity pieces status source |
//! stock_pieces status | sales | repurchase_rate | ladder_status price_source: tiers`.
//!
//! | written | means |
//! |---|---|
//! | `-` | null |
//! | `70+` | sales: at least 70 |
//! | `2-59=150` | a tier of 2 to 59 sale units at 150 each, and the same in pieces |
//! | `2-59=150(?)` | … whose pieces and piece price are not known |
//! | `[7]3-=2.88` | a tier of SKU 7 without an end |

/// Capture 10, a reseller's search: every offer. The unit stands on the ladder's bounds only (`"59双"`), the MOQ is the
/// first start, no stock is given; three offers have neither ladder nor unit.
pub(super) const SEARCH: [&str; 20] = [
    "789972898410 | 150 - - | 双 1 unit_table | - 2 2 ok ladder | - missing | - | 0.5 | ok wholesale: 2-59=150 60-1999=140 2000-=130",
    "702908099881 | 35 - - | 双 1 unit_table | - 2 2 ok ladder | - missing | 70+ | 0.42 | single wholesale: 2-=35",
    "615901338463 | 338 - - | 双 1 unit_table | - 1 1 ok ladder | - missing | - | - | ok wholesale: 1-99=338 100-=330",
    "702148428829 | 35 - - | 双 1 unit_table | - 2 2 ok ladder | - missing | - | - | single wholesale: 2-=35",
    "845391563689 | 132 - - | - - none | - - - missing none | - missing | - | - | single headline: 1-=132(?)",
    "845962405630 | 120 - - | 双 1 unit_table | - 1 1 ok ladder | - missing | - | - | ok wholesale: 1-29=120 30-=118",
    // The headline is a promotion below the first tier; both stay what they are.
    "692796387514 | 52.5 - - | 双 1 unit_table | - 2 2 ok ladder | - missing | 10+ | - | ok wholesale: 2-99=55 100-999=48 1000-=46",
    "773802284337 | 170 - - | 双 1 unit_table | - 2 2 ok ladder | - missing | 200+ | 0.4 | ok wholesale: 2-11=170 12-47=160 48-=150",
    "638480776061 | 35 - - | 双 1 unit_table | - 1 1 ok ladder | - missing | 4200+ | 0.38 | ok wholesale: 1-599=35 600-899=33 900-=31",
    "822652422488 | 63 - - | 双 1 unit_table | - 1 1 ok ladder | - missing | 60+ | 0.28 | ok wholesale: 1-299=63 300-999=58 1000-=53",
    "811618827413 | 50 - - | 双 1 unit_table | - 1 1 ok ladder | - missing | 80+ | 0.28 | ok wholesale: 1-199=50 200-999=45 1000-=40",
    "774924200667 | 215 - - | 双 1 unit_table | - 2 2 ok ladder | - missing | - | - | ok wholesale: 2-19=215 20-99=210 100-=205",
    "841922289451 | 36 - - | 双 1 unit_table | - 1 1 ok ladder | - missing | - | - | ok wholesale: 1-19=36 20-999=35 1000-=34",
    "664537909293 | 48 - - | 件 1 unit_table | - 2 2 ok ladder | - missing | - | - | single wholesale: 2-=48",
    "841246825339 | 69.16 - - | - - none | - - - missing none | - missing | - | - | single headline: 1-=69.16(?)",
    "748415968509 | 200 - - | - - none | - - - missing none | - missing | - | - | single headline: 1-=200(?)",
    "771907869303 | 24.26 - - | 双 1 unit_table | - 2 2 ok ladder | - missing | 20+ | 0.5 | ok wholesale: 2-199=24.5 200-499=23.5 500-=23",
    "645682302965 | 49 - - | 双 1 unit_table | - 2 2 ok ladder | - missing | 800+ | 0.42 | ok wholesale: 2-29=49 30-9999=48 10000-=42",
    "633144227668 | 39.1 - - | 双 1 unit_table | - 2 2 ok ladder | - missing | - | - | ok wholesale: 2-19=39.1 20-=38.3",
    "626141844246 | 53 - - | 双 1 unit_table | - 2 2 ok ladder | - missing | 10+ | - | ok wholesale: 2-299=53 300-1999=51 2000-=48",
];

/// Capture 13, a reseller's global search: the first page and five from later ones. No unit anywhere, a bare MOQ, no
/// ladder; a greatest price above the price makes a spread, which has no tier of its own.
pub(super) const GLOBAL: [&str; 25] = [
    "816731226821 | 13.83 - - | - - none | 1 1 - unknown_unit stated | - missing | 5 | - | single headline: 1-=13.83(?)",
    "891661364281 | 13.94 - - | - - none | 1 1 - unknown_unit stated | - missing | 5 | - | single headline: 1-=13.94(?)",
    "891599984486 | 38.83 - - | - - none | 1 1 - unknown_unit stated | - missing | 0 | - | single headline: 1-=38.83(?)",
    "875402968883 | 91.08 91.92 - | - - none | 1 1 - unknown_unit stated | - missing | 26 | - | sku_spread none:",
    "862986344448 | 41 138 - | - - none | 1 1 - unknown_unit stated | - missing | 10 | - | sku_spread none:",
    "846973136501 | 59 - - | - - none | 1 1 - unknown_unit stated | - missing | 22 | - | single headline: 1-=59(?)",
    "847158458939 | 58 - - | - - none | 1 1 - unknown_unit stated | - missing | 73 | - | single headline: 1-=58(?)",
    "882065030441 | 28 50 - | - - none | 1 1 - unknown_unit stated | - missing | 2 | - | sku_spread none:",
    "891298857457 | 32 - - | - - none | 1 1 - unknown_unit stated | - missing | 0 | - | single headline: 1-=32(?)",
    "848425255084 | 28 55 - | - - none | 1 1 - unknown_unit stated | - missing | 44 | - | sku_spread none:",
    "834999101192 | 52 - - | - - none | 1 1 - unknown_unit stated | - missing | 1 | - | single headline: 1-=52(?)",
    "891253525926 | 13.26 - - | - - none | 1 1 - unknown_unit stated | - missing | 1 | - | single headline: 1-=13.26(?)",
    "890627963120 | 80.56 114.71 - | - - none | 1 1 - unknown_unit stated | - missing | 0 | - | sku_spread none:",
    "844086050612 | 168 - - | - - none | 1 1 - unknown_unit stated | - missing | 4 | - | single headline: 1-=168(?)",
    "862233507028 | 108 - - | - - none | 1 1 - unknown_unit stated | - missing | 21 | - | single headline: 1-=108(?)",
    "890870330231 | 140.71 - - | - - none | 1 1 - unknown_unit stated | - missing | 0 | - | single headline: 1-=140.71(?)",
    "892691995922 | 18.26 - - | - - none | 1 1 - unknown_unit stated | - missing | 0 | - | single headline: 1-=18.26(?)",
    "881411601421 | 39.99 - - | - - none | 1 1 - unknown_unit stated | - missing | 7 | - | single headline: 1-=39.99(?)",
    "861183023386 | 35 - - | - - none | 1 1 - unknown_unit stated | - missing | 2 | - | single headline: 1-=35(?)",
    "666705080453 | 35 - - | - - none | 1 1 - unknown_unit stated | - missing | 7810 | - | single headline: 1-=35(?)",
    "870444270657 | 75 - - | - - none | 3 3 - unknown_unit stated | - missing | 62 | - | single headline: 3-=75(?)",
    "643561071724 | 29.47 - - | - - none | 4 4 - unknown_unit stated | - missing | 3050 | - | single headline: 4-=29.47(?)",
    "732609407746 | 45 - - | - - none | 5 5 - unknown_unit stated | - missing | 135 | - | single headline: 5-=45(?)",
    "732879920664 | 34 40 - | - - none | 2 2 - unknown_unit stated | - missing | 112 | - | sku_spread none:",
    "599784137146 | 50 - - | - - none | 2 2 - unknown_unit stated | - missing | 20438 | - | single headline: 2-=50(?)",
];

/// Capture 15, a reseller's detail answer: the spread beside the price is that of the ladder.
pub(super) const DETAIL: &str = "859086919394 | 25.9 29.89 - | 件 1 unit_table | 1 1 1 ok stated | 44732 ok | 175 | - | ok wholesale: 1-99=29.89 100-299=27.6 300-=25.9";

/// Its two SKUs: `sku_id price promotion_price stock_pieces stock_status`.
pub(super) const DETAIL_SKUS: [&str; 2] = ["5674557541667 29.89 - 4996 ok", "5674557541674 29.89 - 4975 ok"];

/// Capture 20, a page's state in SKU-price mode: its "ranges" are the least and the greatest SKU price at one start,
/// flagged and left as received (WIRE §2).
pub(super) const PAGE: &str = "597090034012 | 2.3 20.52 - | 套 1 unit_table | 3 3 3 ok stated | 18982 ok | 35960 | - | duplicate_start wholesale: 3-=2.3 3-=20.52";

/// Its ten SKUs: the price of the day and the promotion's, apart.
pub(super) const PAGE_SKUS: [&str; 10] = [
    "4617141236580 13.38 10.7 481 ok",
    "5100364005692 6.25 5 8933 ok",
    "5194598109456 25.65 20.52 404 ok",
    "5236968993682 4.88 3.9 2745 ok",
    "5360661557245 23.38 18.7 1636 ok",
    "5365195718476 7.78 6.22 169 ok",
    "5377588775819 2.88 2.3 426 ok",
    "5430796454798 4.75 3.8 892 ok",
    "5430796454799 5.38 4.3 1195 ok",
    "5488312778943 21.38 17.1 2101 ok",
];

/// Capture 32, the official structure with placeholders: empty units, so `batchNumber` is ignored and no piece is known;
/// a stock of 1.23; quote type 123 is none.
pub(super) const STRUCTURE: &str = "584051070147 | - - - | - - none | 123 123 - unknown_unit stated | - unparsable | - | - | single wholesale: 123-=1.23(?)";

/// Its SKU.
pub(super) const STRUCTURE_SKUS: [&str; 1] = ["4469920756190 10 - - unknown_unit"];

/// Capture 41, another reseller's detail answer: `[[3, 35], …]`.
pub(super) const ARRAYS: &str = "582896733162 | 35 - - | 个 1 unit_table | 3 3 3 ok stated | 7288 ok | 7288 | - | ok wholesale: 3-49=35 50-999=30 1000-=25";

/// Its SKU.
pub(super) const ARRAYS_SKUS: [&str; 1] = ["4531173224811 35 - 866 ok"];

/// Capture 30, the official example of a cross-border detail: 盒 without a pack size (`batchNumber` needs `sellunit`),
/// a text for the SKU's price.
pub(super) const CROSS_BORDER: &str = "34513534353434 | - - - | 盒 - none | 1 1 - unknown_pack stated | - unknown_pack | 12342 | 0.4666 | single wholesale: 10-=10(?)";

/// Its SKU.
pub(super) const CROSS_BORDER_SKUS: [&str; 1] = ["123 - 1 - unknown_pack"];

/// Capture 31, the official example of a cross-border listing.
pub(super) const CROSS_BORDER_LISTING: &str =
    "2 | 10 - - | - - none | - - - missing none | - missing | 1213 | 0.1 | single headline: 1-=10(?)";

/// Capture 34 with numbers for its ids: SKU ladders (quote type 3); without a unit a quantity is no number of pieces.
pub(super) const OWN_SHOP: &str = "700000000034 | - - - | - - none | - 2 - unknown_unit ladder | - missing | - | - | single sku: [4000000000034]2-=11(?)";

/// Its SKU.
pub(super) const OWN_SHOP_SKUS: [&str; 1] = ["4000000000034 12.5 - - missing"];
