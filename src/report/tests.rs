//! The page as a whole: nothing a stranger writes becomes markup, nothing is loaded, both languages say everything.

use chrono::{DateTime, Utc};

use super::model::{
    Changes, Counts, Day, DayPrice, Event, Group, Kind, Line, Move, Need, NeedOf, Offer, PackSize, Prices, Quantity,
    Ranked, Report, Run, Shop, StandsIn, State, Step, StepChange, Tally, What,
};
use super::{Language, Options, limits, page};

const NASTY: &str = "</script><script>alert(1)</script><img src=x onerror=\"alert(1)\">'&amp;\u{202e}";

fn options() -> Options {
    Options {
        groups: vec![],
        titles: vec![],
        pieces: None,
        days: 30,
        language: Language::Chinese,
        now: DateTime::<Utc>::UNIX_EPOCH,
        lake: NASTY.into(),
    }
}

fn nasty_offer() -> Offer {
    let nasty = || Some(NASTY.to_owned());
    Offer {
        pipeline: NASTY.into(),
        offer_id: NASTY.into(),
        sku_id: nasty(),
        shop_id: nasty(),
        shop_name: nasty(),
        title: nasty(),
        url: Some(format!("https://a.example/{NASTY}")),
    }
}

fn nasty_row() -> Ranked {
    let nasty = || Some(NASTY.to_owned());
    let dt = "2026-11-20".parse().unwrap();
    Ranked {
        position: Some(2),
        is_ours: true,
        offer: nasty_offer(),
        unit: nasty(),
        pieces_per_unit: Some(24),
        pack_size: Some(PackSize { pieces: 24, is_used: true }),
        units: Some(21),
        pieces_bought: Some(504),
        unit_price: nasty(),
        piece_price: nasty(),
        total: nasty(),
        currency: NASTY.into(),
        gap: nasty(),
        gap_pct: nasty(),
        moq_pieces: Some(1000),
        buyable: Some(false),
        reason: nasty(),
        spread: nasty().zip(nasty()),
        ladder_status: nasty(),
        stock_pieces: Some(3),
        stock_status: nasty(),
        line: Some(Line {
            place: 0,
            steps: vec![Step { min_pieces: 1, piece_price: NASTY.into() }],
            days: vec![DayPrice { dt, piece_price: NASTY.into(), is_buyable: false }],
        }),
    }
}

fn nasty_events() -> Vec<Event> {
    let nasty = || Some(NASTY.to_owned());
    let quantity = || Quantity { pieces: None, raw: nasty() };
    let step = StepChange { min_quantity: 1, old: nasty(), new: nasty() };
    let at_need = Some(Move { old: NASTY.into(), new: NASTY.into(), change: -100 });
    let prices =
        Prices { at_need, steps: vec![step], count: 2, lowest: Some(-100), highest: None, is_other_unit: true };
    let whats = [
        What::Prices(prices),
        What::New { price: nasty() },
        What::Delisted { last_price: nasty() },
        What::Moq { kind: NASTY.into(), old: quantity(), new: quantity() },
        What::StockOut { spec: nasty(), old_pieces: None },
    ];
    let event = |what| Event { offer: nasty_offer(), is_ours: true, currency: NASTY.into(), unit: nasty(), what };
    whats.into_iter().map(event).collect()
}

fn nasty_state() -> State {
    let nasty = || Some(NASTY.to_owned());
    let dt = "2026-11-20".parse().unwrap();
    let shop = Shop {
        pipeline: NASTY.into(),
        shop_id: NASTY.into(),
        shop_name: nasty(),
        official_count: Some(1),
        offer_count: 1,
        new_count: 0,
        changed_count: 0,
        delisted_count: 0,
        quarantined_count: 0,
        is_complete: false,
        incomplete_reason: nasty(),
        calls_used: 1,
    };
    let run = Run {
        pipeline: NASTY.into(),
        dt: NASTY.into(),
        attempt: 2,
        kind: Some("replay".into()),
        status: NASTY.into(),
        error: nasty(),
        started_at: None,
        seconds: 1,
        received: 1,
        loaded: 1,
        duplicates: 0,
        quarantined: 0,
        calls_used: 1,
        quota_left: None,
    };
    let day = Day { pipeline: NASTY.into(), dt, previous_dt: Some(dt), published: vec![dt], age_days: 9 };
    State { days: vec![day], shops: vec![shop], shop_count: 1, incomplete_count: 1, offer_count: 1, runs: vec![run] }
}

fn nasty_report() -> Report {
    let group = |kind| Group {
        key: NASTY.into(),
        name: NASTY.into(),
        kind,
        need: Need { pieces: 500, of: NeedOf::Nobody },
        counts: Counts { rows: 3, buyable: 1, shops: 1, ours: 1, reasons: [(NASTY.to_owned(), 2)].into() },
        ranked: vec![Ranked { position: Some(1), is_ours: false, ..nasty_row() }, nasty_row()],
        changes: Changes {
            events: nasty_events(),
            tally: Tally { cuts: 9, new: 1, ..Tally::default() },
            is_compared: true,
        },
    };
    Report {
        groups: vec![group(Kind::Named), group(Kind::Shop)],
        state: nasty_state(),
        stands_in: Some(StandsIn { shops: 9 }),
        ..Report::default()
    }
}

/// The page without the contents of its scripts and styles, and the scripts' contents.
fn parts(page: &str) -> (String, Vec<&str>) {
    let (mut markup, mut scripts, mut rest) = (String::new(), Vec::new(), page);
    while let Some(at) = rest.find("<script") {
        let body = at + rest[at..].find('>').unwrap() + 1;
        let end = body + rest[body..].find("</script>").unwrap();
        markup.push_str(&rest[..body]);
        scripts.push(&rest[body..end]);
        rest = &rest[end..];
    }
    markup.push_str(rest);
    let style = markup.find("<style>").unwrap()..markup.find("</style>").unwrap();
    markup.replace_range(style, "");
    (markup, scripts)
}

#[test]
fn what_strangers_write_is_text_wherever_it_stands() {
    let page = page::render(&nasty_report(), &options());
    let (markup, scripts) = parts(&page);
    assert_eq!(scripts.len(), 4, "the data and three scripts of our own");
    assert!(!markup.contains("<img") && !markup.contains("alert(1)</script>"));
    assert!(!page.contains('\u{202e}'));
    assert!(markup.matches("&lt;img src=x onerror=&quot;").count() > 40, "every field is shown, as text");
    let data: serde_json::Value = serde_json::from_str(scripts[0]).unwrap();
    assert_eq!(data[0]["lines"][0]["title"].as_str().unwrap(), NASTY.replace('\u{202e}', " "));
    assert!(!scripts[0].contains('<'));
}

#[test]
fn the_page_loads_nothing_and_runs_only_its_own_scripts() {
    let page = page::render(&nasty_report(), &options());
    let (markup, scripts) = parts(&page);
    for loading in
        ["<link", "<iframe", "<object", "<embed", "<img", "<audio", "<video", "<base", "<form", "src=\"", " onclick"]
    {
        assert!(!markup.contains(loading), "{loading}");
    }
    let style = &page[page.find("<style>").unwrap()..page.find("</style>").unwrap()];
    assert!(!style.contains("url(") && !style.contains("@import"));
    let policy = markup.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(policy.starts_with("default-src &#39;none&#39;; script-src &#39;sha256-"), "{policy}");
    assert_eq!(policy.matches("sha256-").count(), scripts.len() - 1);
    assert!(!policy.contains("http"));
}

#[test]
fn every_sentence_is_said_in_both_languages() {
    let page = page::render(&nasty_report(), &options());
    let (markup, _) = parts(&page);
    let (zh, en) = (markup.matches("<span lang=\"zh\">").count(), markup.matches("<span lang=\"en\">").count());
    // The name of the program is written in Chinese beside its own.
    assert_eq!(zh, en + 1);
    assert!(zh > 100, "{zh}");
    assert!(markup.starts_with("<!doctype html>\n<html lang=\"zh-CN\" data-lang=\"zh\">"));
    let english = page::render(&nasty_report(), &Options { language: Language::English, ..options() });
    assert!(english.contains("<html lang=\"en\" data-lang=\"en\">"));
}

#[test]
fn every_table_has_headers_and_every_chart_its_numbers_as_a_table() {
    let page = page::render(&nasty_report(), &options());
    let (markup, _) = parts(&page);
    let count = |what: &str| markup.matches(what).count();
    assert_eq!((count("<table"), count("<caption>")), (count("<thead>"), count("<table")));
    assert_eq!(count("role=\"img\" aria-labelledby="), 4);
    assert_eq!(count("<figure>"), count("<details><summary>"));
}

#[test]
fn whose_the_quantity_and_the_pack_size_are_is_said_where_it_is_not_the_readers() {
    let mut report = nasty_report();
    let said = |report: &Report, text: &str| page::render(report, &options()).matches(text).count();
    let default = "500 pieces is the default: the groups file states no quantity for this group.";
    assert_eq!((said(&report, default), said(&report, "pack size of the groups file")), (1, 4));
    for of in [NeedOf::Asker, NeedOf::Group] {
        report.groups[0].need.of = of;
        assert_eq!(said(&report, " is the default"), 0, "{of:?}");
    }
    report.groups[0].need.of = NeedOf::Nobody;
    report.groups[0].kind = Kind::Title;
    assert_eq!(said(&report, "500 pieces is the default: --pieces asks for another quantity."), 1);
    for row in report.groups.iter_mut().flat_map(|group| &mut group.ranked) {
        row.pack_size = Some(PackSize { pieces: 24, is_used: false });
    }
    assert_eq!(said(&report, "pack size of the groups file"), 0, "the gateway's counts");
}

#[test]
fn an_empty_lake_says_so() {
    let page = page::render(&Report::default(), &options());
    assert!(page.contains("Nothing is published in this lake yet.") && page.contains("这个湖还没有发布任何数据。"));
    assert!(page.contains("No run is recorded.") && page.contains("No shop is published."));
}

#[test]
fn what_is_not_listed_is_counted() {
    let page = page::render(&nasty_report(), &options());
    assert!(page.contains("1 more rows are not listed.") && page.contains("5 more are not listed"));
    assert!(page.contains(&format!("draws up to {} lines", limits::LINES)));
}
