//! Whether the data is whole and fresh: the day of each pipeline, its shops, the last runs.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};

use crate::base::Result;
use crate::base::time::beijing_day;
use crate::query::Session;

use super::limits;
use super::model::{Day, Run, Shop, State};
use super::rows::{Row, each};

/// Reads it as of `now`.
///
/// # Errors
/// What the queries say.
pub(super) async fn read(session: &Session, now: DateTime<Utc>) -> Result<State> {
    let mut state = State { days: days(session, now).await?, ..State::default() };
    shops(session, &mut state).await?;
    state.runs = runs(session).await?;
    Ok(state)
}

async fn days(session: &Session, now: DateTime<Utc>) -> Result<Vec<Day>> {
    let mut days: BTreeMap<String, Day> = BTreeMap::new();
    each(session, "SELECT pipeline, dt, previous_dt FROM days ORDER BY pipeline, dt", vec![], |row| {
        let Ok(dt) = row.word("dt")?.parse::<NaiveDate>() else { return Ok(()) };
        let pipeline = row.word("pipeline")?;
        let day = days.entry(pipeline.clone()).or_insert_with(|| Day {
            pipeline,
            dt,
            previous_dt: None,
            published: Vec::new(),
            age_days: 0,
        });
        day.dt = dt;
        day.previous_dt = row.text("previous_dt")?.and_then(|text| text.parse().ok());
        day.age_days = (beijing_day(now) - dt).num_days();
        day.published.push(dt);
        Ok(())
    })
    .await?;
    Ok(days.into_values().collect())
}

async fn shops(session: &Session, state: &mut State) -> Result<()> {
    // Several pipelines may hold a shop or an offer.
    let counts = "SELECT count(*) AS shops, count(*) FILTER (WHERE NOT is_whole) AS incomplete,
                         (SELECT count(*) FROM latest_offers WHERE status <> 'delisted') AS offers
                  FROM (SELECT shop_id, bool_or(is_complete) AS is_whole FROM latest.shops GROUP BY shop_id)";
    each(session, counts, vec![], |row| {
        let count = |name| Ok::<_, crate::base::Error>(usize::try_from(row.integer(name)?.unwrap_or(0)).unwrap_or(0));
        (state.shop_count, state.incomplete_count) = (count("shops")?, count("incomplete")?);
        state.offer_count = row.integer("offers")?.unwrap_or(0);
        Ok(())
    })
    .await?;
    let sql = format!(
        "SELECT pipeline, shop_id, shop_name, official_count, offer_count, new_count, changed_count, delisted_count,
                quarantined_count, is_complete, incomplete_reason, calls_used
         FROM latest.shops ORDER BY is_complete, offer_count DESC, shop_id LIMIT {}",
        limits::SHOPS
    );
    let shops = &mut state.shops;
    each(session, &sql, vec![], |row| {
        shops.push(shop(&row)?);
        Ok(())
    })
    .await
}

fn shop(row: &Row<'_>) -> Result<Shop> {
    let count = |name| Ok::<_, crate::base::Error>(row.integer(name)?.unwrap_or(0));
    Ok(Shop {
        pipeline: row.word("pipeline")?,
        shop_id: row.word("shop_id")?,
        shop_name: row.text("shop_name")?,
        official_count: row.integer("official_count")?,
        offer_count: count("offer_count")?,
        new_count: count("new_count")?,
        changed_count: count("changed_count")?,
        delisted_count: count("delisted_count")?,
        quarantined_count: count("quarantined_count")?,
        is_complete: row.flag("is_complete")? == Some(true),
        incomplete_reason: row.text("incomplete_reason")?,
        calls_used: count("calls_used")?,
    })
}

async fn runs(session: &Session) -> Result<Vec<Run>> {
    let sql = format!(
        "SELECT pipeline, dt, attempt, kind, status, error, started_at,
                CAST(date_part('epoch', finished_at - started_at) AS BIGINT) AS seconds,
                received, loaded, duplicates, quarantined, calls_used, quota_left
         FROM runs ORDER BY started_at DESC, run_id DESC LIMIT {}",
        limits::RUNS
    );
    let mut runs = Vec::new();
    each(session, &sql, vec![], |row| {
        runs.push(run(&row)?);
        Ok(())
    })
    .await?;
    Ok(runs)
}

fn run(row: &Row<'_>) -> Result<Run> {
    let count = |name| Ok::<_, crate::base::Error>(row.integer(name)?.unwrap_or(0));
    Ok(Run {
        pipeline: row.word("pipeline")?,
        dt: row.word("dt")?,
        attempt: count("attempt")?,
        kind: row.text("kind")?,
        status: row.word("status")?,
        error: row.text("error")?,
        started_at: row.word("started_at")?.parse().ok(),
        seconds: count("seconds")?,
        received: count("received")?,
        loaded: count("loaded")?,
        duplicates: count("duplicates")?,
        quarantined: count("quarantined")?,
        calls_used: count("calls_used")?,
        quota_left: row.integer("quota_left")?,
    })
}
