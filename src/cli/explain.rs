//! `huopan explain`: where each value of an offer comes from.

use std::io::Write;
use std::path::PathBuf;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int16Type;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate};
use clap::Args;
use datafusion::scalar::ScalarValue;

use crate::base::{Error, Result};
use crate::config::pipeline::Units;
use crate::config::{Gateway, load_gateway};
use crate::extract::{Attempt, Record};
use crate::query::Session;
use crate::transform::inspect::{Inspected, Inspection, inspect};

use super::target::Target;
use super::{Outcome, check, written};

/// `huopan explain`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan explain 661423517640
  huopan explain 661423517640 --dt 2026-11-20
  huopan explain 661423517640 --rules pipelines/nightly.toml    with that pipeline's gateway and units")]
pub(super) struct Arguments {
    /// The offer's id
    offer: i64,
    /// The published day [default: the last one]
    #[arg(long, value_name = "YYYY-MM-DD")]
    dt: Option<NaiveDate>,
    /// Read with the gateway and units of this pipeline [default: the built-in gateway of the row]
    #[arg(long, value_name = "PIPELINE")]
    rules: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn main(arguments: &Arguments) -> Result<Outcome> {
    let session = arguments.target.session().await?;
    let row = find_row(&session, arguments).await?;
    let attempt = find_answer(&session, &row).await?;
    let (gateway, units) = match &arguments.rules {
        Some(path) => {
            let pipeline = check::load(path)?;
            (pipeline.gateway, pipeline.units)
        }
        None => (load_gateway(&row.gateway, std::path::Path::new(""))?, Units::default()),
    };
    let inspected = inspect_row(&gateway, &units, &attempt, arguments.offer)?;
    let mut out = std::io::stdout().lock();
    let head = format!(
        "offer {} · {} · pipeline {} · gateway {} · answer {} (endpoint {}, {})\n",
        arguments.offer,
        row.dt,
        row.pipeline,
        row.gateway,
        row.raw_ref,
        attempt.record.endpoint,
        attempt.record.received_at
    );
    written(if arguments.json {
        let mut json = lines_json(&inspected);
        json["dt"] = row.dt.as_str().into();
        json["pipeline"] = row.pipeline.as_str().into();
        json["gateway"] = row.gateway.as_str().into();
        json["raw_ref"] = row.raw_ref.as_str().into();
        json["is_delisted"] = row.delisted.into();
        json["skus_with_own_answers"] = row.skus.into();
        json["observed_dt"] = row.observed.as_deref().unwrap_or(&row.dt).into();
        writeln!(out, "{json}")
    } else {
        write!(out, "{head}{}\n{}", row.remark(), lines_text(&inspected))
    })?;
    Ok(Outcome::Done)
}

/// The published row.
struct Row {
    dt: String,
    pipeline: String,
    gateway: String,
    raw_ref: String,
    shop_id: Option<String>,
    delisted: bool,
    /// The day its content was fetched, where that is an earlier one.
    observed: Option<String>,
    /// Its rows in `skus` that came with answers of their own.
    skus: i64,
}

impl Row {
    /// What the published row says that the answer below does not.
    fn remark(&self) -> String {
        let carried = match (&self.observed, self.delisted) {
            (Some(day), true) => format!("delisted on {}: below is how it was read on {day}, the last time\n", self.dt),
            (Some(day), false) => format!("carried forward to {}: below is how it was read on {day}\n", self.dt),
            (None, _) => String::new(),
        };
        let skus = match self.skus {
            0 => String::new(),
            skus => {
                format!(
                    "{skus} of its SKUs came with answers of their own: tiers that are made of them are not shown below\n"
                )
            }
        };
        carried + &skus
    }
}

async fn find_row(session: &Session, arguments: &Arguments) -> Result<Row> {
    let query = "select cast(dt as varchar) as day, pipeline, gateway, raw_ref, shop_id, status,
         case when observed_dt < dt then cast(observed_dt as varchar) end as observed, fetched_at, dt from offers
         where offer_id = $1 and ($2 is null or dt = $2) order by dt desc, fetched_at desc limit 1";
    let dt = arguments.dt.map(|dt| (dt - DateTime::UNIX_EPOCH.date_naive()).num_days());
    let values = vec![
        ScalarValue::Int64(Some(arguments.offer)),
        ScalarValue::Date32(dt.and_then(|days| i32::try_from(days).ok())),
    ];
    let batches = session.sql_with(query, values).await?.collect().await?;
    let row = first_row(&batches).ok_or_else(|| {
        let day = arguments.dt.map(|dt| format!(" of {dt}")).unwrap_or_default();
        Error::config(format!("offer {} is in no published picture{day}", arguments.offer))
            .with_hint("`huopan sql -c \"select * from quarantine\"` shows what could not be loaded")
    })?;
    Ok(Row {
        dt: text(row, "day").unwrap_or_default(),
        pipeline: text(row, "pipeline").unwrap_or_default(),
        gateway: text(row, "gateway").unwrap_or_default(),
        raw_ref: text(row, "raw_ref").unwrap_or_default(),
        shop_id: text(row, "shop_id"),
        delisted: text(row, "status").as_deref() == Some("delisted"),
        observed: text(row, "observed"),
        skus: skus_with_own_answers(session, row, arguments.offer).await?,
    })
}

/// SKUs that came with the offer have its time.
async fn skus_with_own_answers(session: &Session, row: &RecordBatch, offer: i64) -> Result<i64> {
    let query = "select count(*) as skus from skus
         where offer_id = $1 and dt = $2 and pipeline = $3 and fetched_at <> $4";
    let value = |name: &str| {
        let column = row.column_by_name(name).ok_or_else(|| Error::internal(format!("no column `{name}`")))?;
        ScalarValue::try_from_array(column, 0)
            .map_err(|source| Error::internal("a value cannot be read").caused_by(source))
    };
    let values = vec![ScalarValue::Int64(Some(offer)), value("dt")?, value("pipeline")?, value("fetched_at")?];
    let batches = session.sql_with(query, values).await?.collect().await?;
    let column = first_row(&batches).and_then(|found| found.column_by_name("skus"));
    let column = column.and_then(|column| column.as_primitive_opt::<arrow::datatypes::Int64Type>());
    Ok(column.map_or(0, |column| column.value(0)))
}

async fn find_answer(session: &Session, row: &Row) -> Result<Attempt> {
    let (run_id, number) = row.raw_ref.rsplit_once('/').unwrap_or((&row.raw_ref, "0"));
    let number: i64 = number.parse().unwrap_or_default();
    let query = "select endpoint, content_type, http_status, shop_id, cast(body as bytea) as body, received_at
         from raw_pages where run_id = $1 and number = $2";
    let values = vec![ScalarValue::Utf8(Some(run_id.to_owned())), ScalarValue::Int64(Some(number))];
    let batches = session.sql_with(query, values).await?.collect().await?;
    let found = first_row(&batches)
        .ok_or_else(|| Error::data(format!("the answer `{}` is no longer kept in `raw_pages`", row.raw_ref)))?;
    let body = found.column_by_name("body").map(bytes).unwrap_or_default();
    let received_at = found
        .column_by_name("received_at")
        .and_then(|column| column.as_primitive_opt::<arrow::datatypes::TimestampMicrosecondType>())
        .and_then(|column| DateTime::from_timestamp_micros(column.value(0)))
        .unwrap_or_default();
    let status = found.column_by_name("http_status").and_then(|column| column.as_primitive_opt::<Int16Type>());
    Ok(Attempt {
        record: Record {
            run_id: run_id.to_owned(),
            number,
            attempt: 1,
            account: String::new(),
            endpoint: text(found, "endpoint").unwrap_or_default(),
            shop_id: row.shop_id.clone().or_else(|| text(found, "shop_id")),
            offer_id: None,
            sku_id: None,
            page: None,
            request: std::collections::BTreeMap::new(),
            http_status: status.and_then(|status| u16::try_from(status.value(0)).ok()),
            content_type: text(found, "content_type"),
            retry_after: None,
            transport_error: None,
            wait_ms: 0,
            latency_ms: 0,
            sent_at: received_at,
            received_at,
            body_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
            digest: String::new(),
            redacted: false,
            ..Record::default()
        },
        body,
    })
}

fn inspect_row(gateway: &Gateway, units: &Units, attempt: &Attempt, offer: i64) -> Result<Inspected> {
    let endpoint = gateway.endpoints.get(&attempt.record.endpoint).ok_or_else(|| {
        Error::config(format!("gateway `{}` has no endpoint `{}`", gateway.name, attempt.record.endpoint))
            .with_hint("name the pipeline that published the row with `--rules FILE`")
    })?;
    match inspect(gateway, endpoint, units, attempt, Some(offer)) {
        Inspection::Records(mut found) if !found.is_empty() => Ok(found.swap_remove(0)),
        other => Err(Error::data(format!("the kept answer does not hold offer {offer}: {}", describe(&other)))),
    }
}

/// One line about an inspection.
pub(super) fn describe(inspection: &Inspection) -> String {
    match inspection {
        Inspection::Fault(fault) => format!(
            "an error answer, class {}: {}{}{}",
            fault.class.name(),
            fault.message,
            fault.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default(),
            fault.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default()
        ),
        Inspection::NoRecords => "no record stands where the definition looks".to_owned(),
        Inspection::Empty => "an empty list".to_owned(),
        Inspection::Records(records) if records.len() == 1 => "1 record".to_owned(),
        Inspection::Records(records) => format!("{} records", records.len()),
    }
}

/// The lines of a record, aligned.
pub(super) fn lines_text(inspected: &Inspected) -> String {
    const BYTES_SHOWN: usize = 60;
    let mut text = String::new();
    for line in &inspected.lines {
        let from = match (&line.pointer, line.field) {
            (Some(pointer), _) => pointer.clone(),
            (None, Some(field)) => format!("({field})"),
            (None, None) => "-".to_owned(),
        };
        // Pretty-printed JSON would break the alignment.
        let bytes = line.bytes.as_deref().unwrap_or("-").split_whitespace().collect::<Vec<_>>().join(" ");
        let mut shown: String = bytes.chars().take(BYTES_SHOWN).collect();
        if shown.len() < bytes.len() {
            shown.push('…');
        }
        text.push_str(&format!(
            "{:<22} = {}\n{:<25}{from}  {shown}\n{:<25}{}\n",
            line.column, line.value, "", "", line.rule
        ));
    }
    text
}

/// The lines of a record as JSON.
pub(super) fn lines_json(inspected: &Inspected) -> serde_json::Value {
    let lines = inspected.lines.iter().map(|line| {
        serde_json::json!({
            "column": line.column, "field": line.field, "pointer": line.pointer,
            "bytes": line.bytes, "rule": line.rule, "value": line.value,
        })
    });
    serde_json::json!({"offer_id": inspected.offer_id, "columns": lines.collect::<Vec<_>>()})
}

fn first_row(batches: &[RecordBatch]) -> Option<&RecordBatch> {
    batches.iter().find(|batch| batch.num_rows() > 0)
}

/// The first value of a text column, whatever its layout.
fn text(batch: &RecordBatch, name: &str) -> Option<String> {
    let column = arrow::compute::cast(batch.column_by_name(name)?, &arrow::datatypes::DataType::Utf8).ok()?;
    let column = column.as_string_opt::<i32>()?;
    column.is_valid(0).then(|| column.value(0).to_owned())
}

fn bytes(column: &arrow::array::ArrayRef) -> Bytes {
    match arrow::compute::cast(column, &arrow::datatypes::DataType::Binary) {
        Ok(column) => {
            column.as_binary_opt::<i32>().map(|column| Bytes::copy_from_slice(column.value(0))).unwrap_or_default()
        }
        Err(_) => Bytes::new(),
    }
}
