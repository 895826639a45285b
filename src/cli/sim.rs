//! `huopan sim`: a simulated gateway on this machine.

use std::io::Write;
use std::net::SocketAddr;

use chrono::NaiveDate;
use clap::{Args, ValueEnum};

use crate::base::Result;
use crate::sim::{self, Faults, Gateway, Options};

use super::output::Talk;
use super::run::cancelled_by_signals;
use super::{Outcome, written};

/// `huopan sim`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan sim                                       the world that pipelines/*.toml point at
  huopan sim --faults heavy --seed 7               another world, and a bad day
  curl http://127.0.0.1:1688/_sim/stats            what was asked
  curl -X POST http://127.0.0.1:1688/_sim/day -d 2026-11-20

Everything it serves is simulated: no shop, offer or price is real.")]
pub(super) struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1688")]
    listen: SocketAddr,
    /// The world: the same seed gives the same shops, offers and days
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
    /// The day the world stands at [default: today in Beijing]
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<NaiveDate>,
    /// How often calls fail for no reason
    #[arg(long, value_enum, default_value_t = FaultLevel::None)]
    faults: FaultLevel,
    /// Offers per shop, one shop for each number; more than 2000 go past the page cap
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    shops: Option<Vec<usize>>,
}

/// How often calls fail for no reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FaultLevel {
    /// Never
    None,
    /// One call in 25
    Light,
    /// One call in 5
    Heavy,
}

pub(super) async fn main(arguments: Arguments, talk: &Talk) -> Result<Outcome> {
    let defaults = Options::default();
    let options = Options {
        listen: arguments.listen,
        seed: arguments.seed,
        day: arguments.day,
        faults: match arguments.faults {
            FaultLevel::None => Faults::None,
            FaultLevel::Light => Faults::Light,
            FaultLevel::Heavy => Faults::Heavy,
        },
        shop_sizes: arguments.shops.unwrap_or_else(|| defaults.shop_sizes.clone()),
        ..defaults
    };
    let (keys, token) = (options.keys.clone(), options.access_token.clone());
    let sim = sim::start(options).await?;
    let mut page = format!("simulated gateways on http://{} (day {}); Ctrl-C stops them\n\n", sim.addr(), sim.day());
    for gateway in Gateway::ALL {
        page.push_str(&format!("  {:<12} {}\n", gateway.name(), sim.url(gateway)));
    }
    page.push_str("\napp keys and calls a day:\n");
    for key in &keys {
        page.push_str(&format!("  {:<12} {:>9}\n", key.app_key, key.calls_per_day));
    }
    if let Some(key) = keys.first() {
        page.push_str(&format!(
            "\nfor pipelines/*.toml:\n  export HUOPAN_APP_SECRET={}\n  export HUOPAN_ACCESS_TOKEN={token}\n",
            key.app_secret
        ));
    }
    page.push_str("\nshops:\n");
    for shop in &sim.world(Gateway::Portals).shops {
        page.push_str(&format!("  {:<28} {}  {} offers\n", shop.shop_id, shop.shop_url, shop.on_sale));
    }
    written(write!(std::io::stdout(), "{page}"))?;
    cancelled_by_signals(talk, "the simulator stops").cancelled().await;
    sim.shutdown().await?;
    Ok(Outcome::Done)
}
