//! What is run and killed: worlds, pipelines on them, the days before.

use chrono::NaiveDate;
use huopan::sim::{self, Faults, Gateway, Options, Sim, WindowEnd};

use crate::support::{Place, day, huopan, item_lines, quick, shop_lines};

/// Calls in flight at one gateway.
const WORKERS: u64 = 4;

/// Pages of ten, three at most: a small shop is past the cap.
const SMALL_PAGES: &str = "[endpoints.listing]\npage = { last = 3, size_max = 10 }\n";
const WINDOW_END: &str = "window = { end = \"end_time\" }\n";

/// What is run.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    gateway: Gateway,
    options: Options,
    /// Lines of the pipeline.
    lines: fn(&Sim) -> String,
    /// Lines of the gateway's definition.
    definition: String,
    /// The world's days; all but the last are published undisturbed.
    pub(super) days: Vec<NaiveDate>,
    /// Calls in flight.
    pub(super) workers: u64,
    /// Attempts that one call needs at most.
    pub(super) attempts: u64,
    /// How often it is run and killed at calls.
    pub(super) runs: u64,
}

fn scenario(name: &'static str, gateway: Gateway, shop_sizes: Vec<usize>, lines: fn(&Sim) -> String) -> Scenario {
    Scenario {
        name,
        gateway,
        options: Options { shop_sizes, ..quick() },
        lines,
        definition: String::new(),
        days: vec![day(20)],
        workers: WORKERS,
        attempts: 1,
        runs: 10,
    }
}

fn portals(name: &'static str, shop_sizes: Vec<usize>, lines: fn(&Sim) -> String) -> Scenario {
    scenario(name, Gateway::Portals, shop_sizes, lines)
}

fn windows(name: &'static str, definition: String, window_end: WindowEnd) -> Scenario {
    let scenario = portals(name, vec![260, 20], |sim| shop_lines(&sim.world(Gateway::Portals)));
    Scenario { definition, options: Options { window_end, ..scenario.options.clone() }, ..scenario }
}

/// Shops by address, and a call for each SKU.
pub(super) fn sku_details(shop_sizes: Vec<usize>) -> Scenario {
    portals("shops by address, SKU details", shop_sizes, |sim| {
        let world = sim.world(Gateway::Portals);
        let urls: Vec<String> = world.shops.iter().map(|shop| format!("{:?}", shop.shop_url)).collect();
        format!("shops = [{}]\n[fetch]\nskus = \"missing\"", urls.join(", "))
    })
}

/// A third night that lists what changed and carries the rest on.
pub(super) fn night_of_changes() -> Scenario {
    Scenario {
        days: vec![day(18), day(19), day(20)],
        ..portals("a night of changes", vec![420, 210], |sim| {
            format!("{}\n[fetch]\nlisting = \"changed\"", shop_lines(&sim.world(Gateway::Portals)))
        })
    }
}

/// One call in five fails; none more than three times in a row.
fn faults() -> Scenario {
    let scenario = portals("heavy faults", vec![90, 60], |sim| shop_lines(&sim.world(Gateway::Portals)));
    let options = Options { faults: Faults::Heavy, ..scenario.options.clone() };
    Scenario { definition: SMALL_PAGES.replace("last = 3, ", ""), options, attempts: 4, runs: 6, ..scenario }
}

/// Listings from one gateway, the details of each offer from another.
fn two_gateways() -> Scenario {
    let scenario = portals("details from a second gateway", vec![14, 9], |sim| {
        format!(
            "{}\n[fetch]\ndetails = \"all\"\ndetails_gateway = \"./item-get-at-once.toml\"\ndetails_url = \"{}\"\n\
             [[accounts]]\nname = \"details\"\ngateway = \"./item-get-at-once.toml\"\nlicence = \"company\"\n\
             credentials = {{ app_key = \"sim-app\", app_secret = \"env:SECRET\" }}",
            shop_lines(&sim.world(Gateway::Portals)),
            sim.url(Gateway::ItemGet)
        )
    });
    Scenario { workers: 2 * WORKERS, runs: 6, ..scenario }
}

pub(super) fn all() -> Vec<Scenario> {
    vec![
        sku_details(vec![14, 9, 11]),
        windows("past the cap, windows with ends", format!("{SMALL_PAGES}{WINDOW_END}"), WindowEnd::Honoured),
        windows("past the cap, windows without ends", SMALL_PAGES.to_owned(), WindowEnd::Ignored),
        night_of_changes(),
        scenario("single items", Gateway::ItemGet, vec![40, 30], |sim| item_lines(&sim.world(Gateway::ItemGet))),
        faults(),
        two_gateways(),
    ]
}

impl Scenario {
    pub(super) async fn simulator(&self) -> Sim {
        sim::start(self.options.clone()).await.unwrap()
    }

    /// A machine that has the pipeline, and nothing else.
    pub(super) fn place(&self, sim: &Sim) -> Place {
        let place = Place::new();
        let limited = |gateway: Gateway, definition: &str| {
            let file = format!("{}-at-once.toml", gateway.name());
            let text = std::fs::read_to_string(place.path().join(&file)).unwrap();
            let text = text.replace("[limits]\n", &format!("[limits]\ncalls_in_flight = {WORKERS}\n"));
            place.write(&file, format!("{text}{definition}"));
        };
        // The second gateway's definition stands beside the pipeline, whether or not it is asked.
        place.pipeline_file(sim, Gateway::ItemGet, "");
        limited(Gateway::ItemGet, "");
        place.pipeline_file(sim, self.gateway, &(self.lines)(sim));
        limited(self.gateway, &self.definition);
        place
    }

    pub(super) fn dt(&self) -> NaiveDate {
        *self.days.last().unwrap()
    }

    /// The days before, undisturbed.
    pub(super) async fn begin(&self, sim: &Sim) -> Place {
        let place = self.place(sim);
        for &dt in self.days.split_last().unwrap().1 {
            sim.set_day(dt);
            publish(&place, dt).await;
        }
        sim.set_day(self.dt());
        sim.reset();
        place
    }
}

/// A start that nobody kills.
pub(super) async fn publish(place: &Place, dt: NaiveDate) {
    let ended = huopan(place.path(), &["run", "pipeline.toml", "--dt", &dt.to_string()]).await;
    assert_eq!(ended.code, 0, "{ended:?}");
}

/// Numbers from a seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// From 1 to `most`.
    pub(super) fn throw(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % most.max(1) + 1
    }
}
