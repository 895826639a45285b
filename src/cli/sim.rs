//! `huopan sim`: a simulated gateway on this machine.

use std::io::Write;
use std::net::SocketAddr;

use chrono::{NaiveDate, TimeDelta};
use clap::{Args, ValueEnum};

use crate::base::{Clock as _, Result, SystemClock};
use crate::sim::{
    self, Faults, Gateway, History, Import, ListingOrder, ListingTotals, Listings, Options, PageNumbers, QuotaScope,
    RetryAfter, Sim, SlowListing, Spread, Storm, WindowEnd,
};

use super::output::Talk;
use super::run::cancelled_by_signals;
use super::{Outcome, written};

/// `huopan sim`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  huopan sim                                       the world that pipelines/*.toml point at
  huopan sim --faults heavy --seed 7               another world, and a bad day
  huopan sim --shops 5300 --changed-per-mille 10   a large shop of which 1 % changes in a night
  curl http://127.0.0.1:1688/_sim/stats            what was asked
  curl -X POST http://127.0.0.1:1688/_sim/day -d next
  curl -X POST http://127.0.0.1:1688/_sim/storm -d 'calls=20&retry_after=0'

Also under /_sim/: journal, world, reset, secret, clock, expire-tokens (any other name lists them).
Everything it serves is simulated: no shop, offer or price is real.")]
pub(super) struct Arguments {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1688")]
    listen: SocketAddr,
    #[command(flatten)]
    world: World,
    #[command(flatten)]
    weather: Weather,
    #[command(flatten)]
    manners: Manners,
}

/// What there is to ask for.
#[derive(Debug, Args)]
#[command(next_help_heading = "World")]
struct World {
    /// The world: the same seed gives the same shops, offers and days
    #[arg(long, default_value_t = Options::default().seed)]
    seed: u64,
    /// The day the world stands at [default: today in Beijing]
    #[arg(long, value_name = "YYYY-MM-DD")]
    day: Option<NaiveDate>,
    /// Offers per shop, one shop for each number; more than 2000 go past the page cap
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    shops: Option<Vec<usize>>,
    /// Offers of a thousand that change in a night: edited, new, off sale [default: lively shops, some 80]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=200))]
    changed_per_mille: Option<u64>,
    /// Offers of a thousand whose price and stock change in a night while their modified time does not
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=1000))]
    silent_per_mille: Option<u64>,
    /// Of a thousand offers that go, so many are gone without being listed as off sale
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=1000))]
    vanishing_per_mille: Option<u64>,
    /// So many offers of each shop share one modified instant
    #[arg(long, value_name = "N")]
    same_instant: Option<usize>,
    /// … and one category
    #[arg(long, requires = "same_instant")]
    same_category: bool,
}

/// What goes wrong.
#[derive(Debug, Args)]
#[command(next_help_heading = "Weather")]
struct Weather {
    /// How often calls fail for no reason
    #[arg(long, value_enum, default_value_t = FaultLevel::None)]
    faults: FaultLevel,
    /// The first so many calls are answered with HTTP 429
    #[arg(long, value_name = "N")]
    storm: Option<u64>,
    /// … with `Retry-After: N`
    #[arg(long, value_name = "SECONDS", requires = "storm")]
    retry_after: Option<u32>,
    /// Listings of more than so many offers …
    #[arg(long, value_name = "OFFERS", requires = "slow_millis")]
    slow_listing: Option<usize>,
    /// … take this much longer
    #[arg(long, value_name = "MILLIS", requires = "slow_listing")]
    slow_millis: Option<u64>,
    /// How far the gateways' clock is ahead of this machine's
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    clock_offset_seconds: i64,
}

/// How the gateways behave where real ones differ.
#[derive(Debug, Args)]
#[command(next_help_heading = "Gateways")]
struct Manners {
    /// portals knows `end_time`
    #[arg(long)]
    end_time: bool,
    /// portals lists in no order unless `sortType` asks for one
    #[arg(long)]
    unordered: bool,
    /// portals' listing states how many offers it selects
    #[arg(long)]
    totals: bool,
    /// Every page of every listing is page 1
    #[arg(long)]
    ignore_pages: bool,
    /// What a key's calls of a day are counted by
    #[arg(long, value_enum, default_value_t = CountedBy::Account)]
    quota_scope: CountedBy,
    /// Methods that no key has permission for
    #[arg(long, value_name = "METHOD,…", value_delimiter = ',')]
    denied: Vec<String>,
    /// aop's access tokens are good for so long, the first one from now on [default: the first one always]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    token_seconds: Option<u32>,
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

/// What a key's calls of a day are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CountedBy {
    /// All together
    Account,
    /// Each method has its own
    Endpoint,
    /// Each shop has its own
    Shop,
}

pub(super) async fn main(arguments: Arguments, talk: &Talk) -> Result<Outcome> {
    let Arguments { listen, world, weather, manners } = arguments;
    let options = manners.applied(weather.applied(world.applied(Options { listen, ..Options::default() })));
    let introduction = credentials(&options);
    let sim = sim::start(options).await?;
    let page = format!("{}{introduction}{}", addresses(&sim), shops(&sim));
    written(write!(std::io::stdout(), "{page}"))?;
    cancelled_by_signals(talk, "the simulator stops").cancelled().await;
    sim.shutdown().await?;
    Ok(Outcome::Done)
}

impl World {
    fn applied(self, options: Options) -> Options {
        let history = self.history();
        let shop_sizes = self.shops.unwrap_or_else(|| options.shop_sizes.clone());
        let options = Options { seed: self.seed, day: self.day, shop_sizes, ..options };
        match history {
            Some(history) => options.with_history(history),
            None => options,
        }
    }

    /// Any wish about it makes the shops such as have one.
    fn history(&self) -> Option<History> {
        let numbers = [self.changed_per_mille, self.silent_per_mille, self.vanishing_per_mille];
        if numbers.iter().all(Option::is_none) && self.same_instant.is_none() {
            return None;
        }
        let [changed, silent, vanishing] = numbers;
        let spread = if self.same_category { Spread::OneCategory } else { Spread::Categories };
        Some(History {
            changed_per_mille: changed.unwrap_or(History::default().changed_per_mille),
            silent_per_mille: silent.unwrap_or(0),
            vanishing_per_mille: vanishing.unwrap_or(0),
            import: self.same_instant.map(|offers| Import { spread, ..Import::of(offers) }),
        })
    }
}

impl Weather {
    fn applied(self, options: Options) -> Options {
        let retry_after = self.retry_after.map_or(RetryAfter::Absent, RetryAfter::Seconds);
        let slow = self.slow_listing.zip(self.slow_millis).map(|(offers, millis)| SlowListing { offers, millis });
        Options {
            faults: match self.faults {
                FaultLevel::None => Faults::None,
                FaultLevel::Light => Faults::Light,
                FaultLevel::Heavy => Faults::Heavy,
            },
            storm: self.storm.map(|calls| Storm { calls: Some(calls), retry_after }),
            listings: Listings { slow, ..options.listings },
            clock_offset_seconds: self.clock_offset_seconds,
            ..options
        }
    }
}

impl Manners {
    fn applied(self, mut options: Options) -> Options {
        if self.end_time {
            options.window_end = WindowEnd::Honoured;
        }
        if self.unordered {
            options.listings.order = ListingOrder::Unordered;
        }
        if self.totals {
            options.listings.totals = ListingTotals::Stated;
        }
        if self.ignore_pages {
            options.listings.pages = PageNumbers::Ignored;
        }
        let quota_scope = match self.quota_scope {
            CountedBy::Account => QuotaScope::Account,
            CountedBy::Endpoint => QuotaScope::Endpoint,
            CountedBy::Shop => QuotaScope::Shop,
        };
        options.limits.values_mut().for_each(|limits| limits.quota_scope = quota_scope);
        options.keys.iter_mut().for_each(|key| key.denied_methods.clone_from(&self.denied));
        if let Some(seconds) = self.token_seconds {
            options.access_token_seconds = i64::from(seconds);
            // Tokens are held to the gateways' clock.
            let ahead = i64::from(seconds).saturating_add(options.clock_offset_seconds);
            let ahead = TimeDelta::try_seconds(ahead).unwrap_or_default();
            options.access_token_expires_at = SystemClock.now().checked_add_signed(ahead);
        }
        options
    }
}

fn addresses(sim: &Sim) -> String {
    let mut page = format!("simulated gateways on http://{} (day {}); Ctrl-C stops them\n\n", sim.addr(), sim.day());
    for gateway in Gateway::ALL {
        page.push_str(&format!("  {:<12} {}\n", gateway.name(), sim.url(gateway)));
    }
    page
}

fn credentials(options: &Options) -> String {
    let mut page = "\napp keys and calls a day:\n".to_owned();
    for key in &options.keys {
        page.push_str(&format!("  {:<12} {:>9}\n", key.app_key, key.calls_per_day));
    }
    if let Some(key) = options.keys.first() {
        page.push_str(&format!(
            "\nfor pipelines/*.toml:\n  export HUOPAN_APP_SECRET={}\n  export HUOPAN_ACCESS_TOKEN={}\n",
            key.app_secret, options.access_token
        ));
    }
    page.push_str(&format!("aop's refresh token: {}\n", options.refresh_token));
    page
}

fn shops(sim: &Sim) -> String {
    let mut page = "\nshops:\n".to_owned();
    for shop in &sim.world(Gateway::Portals).shops {
        page.push_str(&format!("  {:<28} {}  {} offers\n", shop.shop_id, shop.shop_url, shop.on_sale));
    }
    page
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn options(line: &str) -> Options {
        let line = Line::try_parse_from(std::iter::once("sim").chain(line.split_whitespace())).expect("a command line");
        let Arguments { listen, world, weather, manners } = line.arguments;
        manners.applied(weather.applied(world.applied(Options { listen, ..Options::default() })))
    }

    #[test]
    fn without_flags_it_is_the_default_world_on_its_usual_port() {
        let default = Options { listen: "127.0.0.1:1688".parse().expect("an address"), ..Options::default() };
        assert_eq!(format!("{:?}", options("")), format!("{default:?}"));
    }

    #[test]
    fn flags_make_a_large_shop_with_a_shared_instant_and_quiet_nights() {
        let options = options("--shops 5300,40 --changed-per-mille 5 --same-instant 3000 --same-category");
        let history = options.histories[&1];
        assert_eq!((options.shop_sizes.as_slice(), history.changed_per_mille), (&[5300, 40][..], 5));
        assert_eq!(history.import.map(|import| (import.offers, import.spread)), Some((3000, Spread::OneCategory)));
    }

    #[test]
    fn flags_make_bad_weather_and_other_manners() {
        let options = options(
            "--storm 9 --retry-after 0 --slow-listing 100 --slow-millis 7 --clock-offset-seconds -400 --end-time \
             --unordered --totals --ignore-pages --quota-scope shop --denied a,b --token-seconds 60",
        );
        assert_eq!(options.storm, Some(Storm { calls: Some(9), retry_after: RetryAfter::Seconds(0) }));
        let slow = Some(SlowListing { offers: 100, millis: 7 });
        let (order, totals, pages) = (ListingOrder::Unordered, ListingTotals::Stated, PageNumbers::Ignored);
        assert_eq!(options.listings, Listings { order, totals, pages, slow });
        assert_eq!((options.clock_offset_seconds, options.window_end), (-400, WindowEnd::Honoured));
        assert!(options.limits.values().all(|limits| limits.quota_scope == QuotaScope::Shop));
        assert!(options.keys.iter().all(|key| key.denied_methods == ["a", "b"]));
        assert!(options.access_token_expires_at.is_some() && options.access_token_seconds == 60);
    }
}
