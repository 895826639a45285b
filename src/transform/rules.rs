//! What normalising needs to know besides the record: the unit table, the definition's scales, the pipeline's packs.

use std::collections::HashMap;

use crate::config::Pointer;
use crate::config::gateway::{Gateway, Mapping, Scale};
use crate::config::pipeline::Units;

use super::text::Pairs;
use super::unit::{UnitId, UnitTable};

/// Built once per run.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) units: UnitTable,
    /// The sale unit where an answer states none.
    pub(super) default_unit: Option<String>,
    pub(super) repurchase_scale: Option<Scale>,
    pub(super) attributes: Pairs,
    pub(super) spec: Pairs,
    /// Where the address stands in a picture's record.
    pub(super) image_urls: Vec<Pointer>,
    /// The pipeline's pack sizes by shop.
    packs: HashMap<String, Vec<ConfiguredPack>>,
}

#[derive(Debug, Clone, Copy)]
struct ConfiguredPack {
    offer_id: Option<i64>,
    unit: UnitId,
    pieces: i64,
}

impl Rules {
    /// From a gateway definition and the pipeline's `[units]`.
    #[must_use]
    pub fn new(gateway: &Gateway, units: &Units) -> Self {
        Self {
            repurchase_scale: gateway.offer.get("repurchase_rate").and_then(|source| source.scale),
            attributes: pairs(&gateway.offer, "attributes"),
            spec: pairs(&gateway.sku, "spec"),
            image_urls: pairs(&gateway.offer, "image_urls").value,
            ..Self::of_units(gateway.unit.as_deref(), units)
        }
    }

    /// Without anything of a definition but its default unit.
    pub(crate) fn of_units(default_unit: Option<&str>, units: &Units) -> Self {
        // A pack size makes a unit known that the table does not have.
        let mut pieces = units.pieces.clone();
        let known = UnitTable::new(&pieces);
        for pack in units.packs.iter().filter(|pack| known.find(&pack.unit).is_none()) {
            pieces.entry(pack.unit.clone()).or_insert(None);
        }
        let table = UnitTable::new(&pieces);
        let mut packs: HashMap<String, Vec<ConfiguredPack>> = HashMap::new();
        for pack in &units.packs {
            if let Some(unit) = table.find(&pack.unit).filter(|_| pack.pieces > 0) {
                let pack_of_shop = ConfiguredPack { offer_id: pack.offer_id, unit, pieces: i64::from(pack.pieces) };
                packs.entry(pack.shop_id.clone()).or_default().push(pack_of_shop);
            }
        }
        Self {
            units: table,
            default_unit: default_unit.map(str::to_owned),
            repurchase_scale: None,
            attributes: Pairs::default(),
            spec: Pairs::default(),
            image_urls: Vec::new(),
            packs,
        }
    }

    /// The unit table with the pipeline's changes.
    #[must_use]
    pub fn units(&self) -> &UnitTable {
        &self.units
    }

    /// The pipeline's pack sizes for an offer into `out`: its own before its shop's.
    pub(super) fn configured(&self, shop_id: Option<&str>, offer_id: i64, out: &mut Vec<(UnitId, i64)>) {
        let Some(packs) = shop_id.and_then(|shop_id| self.packs.get(shop_id)) else { return };
        let own = packs.iter().filter(|pack| pack.offer_id == Some(offer_id));
        let shops = packs.iter().filter(|pack| pack.offer_id.is_none());
        out.extend(own.chain(shops).map(|pack| (pack.unit, pack.pieces)));
    }
}

fn pairs(mapping: &Mapping, field: &str) -> Pairs {
    let source = mapping.get(field).cloned().unwrap_or_default();
    Pairs { name: source.name, value: source.value }
}
