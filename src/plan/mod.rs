//! Plan: which work a pipeline asks for and what it costs, before anything is sent.
//!
//! Takes a [`Pipeline`]; gives [`Work`]: the shops to list, the offers to ask for one by one. With what is known of the
//! shops and accounts, [`price`] says what that costs.
//!
//! Invariant: pure. What cannot be asked of the gateway is found here, before a call is spent.

pub mod known;
pub mod price;

pub use known::{Known, KnownOffer, KnownOffers, KnownShop};

use crate::base::Error;
use crate::config::Pipeline;
use crate::config::pipeline::{FetchDetails, Shop};

/// The work of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The shops to list, in pipeline order.
    pub shops: Vec<ShopWork>,
    /// The offers to ask for one by one, in pipeline order.
    pub items: Vec<i64>,
    /// For which offers the SKUs they name are asked for.
    pub skus: FetchDetails,
    /// For which listed offers details are asked for.
    pub details: FetchDetails,
}

/// What has to be asked about one shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShopWork {
    /// The shop as the pipeline names it.
    pub shop: Shop,
    /// Where its id comes from.
    pub id: ShopIdFrom,
    /// Where its official count comes from.
    pub count: CountFrom,
}

/// Where a shop's id comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShopIdFrom {
    /// The pipeline gives it, or the shop's address shows it.
    Pipeline,
    /// Endpoint `shop` resolves the address.
    Gateway,
}

/// Where a shop's official count comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountFrom {
    /// Endpoint `count`.
    Endpoint,
    /// The total that listing pages state, if they do.
    Listing,
}

/// What a pipeline asks for that its gateway cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Something needs an endpoint that the definition lacks.
    #[error("gateway `{gateway}` has no endpoint `{endpoint}`, which {needed_by} needs")]
    NoEndpoint {
        /// The gateway.
        gateway: String,
        /// The endpoint it lacks.
        endpoint: &'static str,
        /// What in the pipeline needs it.
        needed_by: String,
    },
    /// A shop with neither id nor address.
    #[error("shop {number} of the pipeline has neither an id nor an address")]
    NamelessShop {
        /// Its place in the pipeline, from 1.
        number: usize,
    },
    /// Nobody to ask as.
    #[error("the pipeline has no account")]
    NoAccount,
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        let hint = match &error {
            PlanError::NoEndpoint { .. } => {
                "choose another gateway, or add the endpoint in a definition that `extends` it"
            }
            PlanError::NamelessShop { .. } => "give the shop's address or its member id",
            PlanError::NoAccount => "add an `[[accounts]]` block",
        };
        Error::config(error.to_string()).with_hint(hint)
    }
}

/// The work that `pipeline` asks for.
///
/// # Errors
/// [`PlanError`], the first that is found.
pub fn work(pipeline: &Pipeline) -> Result<Work, PlanError> {
    let gateway = &pipeline.gateway;
    let need = |endpoint: &'static str, needed_by: &str| {
        if gateway.endpoints.contains_key(endpoint) {
            return Ok(());
        }
        Err(PlanError::NoEndpoint { gateway: gateway.name.clone(), endpoint, needed_by: needed_by.to_owned() })
    };
    if pipeline.accounts.is_empty() {
        return Err(PlanError::NoAccount);
    }
    if !pipeline.shops.is_empty() {
        need("listing", "`shops`")?;
    }
    if !pipeline.items.is_empty() && pipeline.details.is_none() {
        need("item", "`items`")?;
    }
    // Details that carry their SKUs need no call for them.
    let carries_skus = gateway.offer.contains_key("skus");
    if pipeline.fetch.skus != FetchDetails::Off && !carries_skus {
        need("sku", "`fetch.skus`")?;
    }
    if pipeline.fetch.details != FetchDetails::Off && pipeline.details.is_none() {
        need("item", "`fetch.details`")?;
    }
    let skus = if gateway.endpoints.contains_key("sku") { pipeline.fetch.skus } else { FetchDetails::Off };
    let count = if gateway.endpoints.contains_key("count") { CountFrom::Endpoint } else { CountFrom::Listing };
    let mut shops = Vec::with_capacity(pipeline.shops.len());
    for (index, shop) in pipeline.shops.iter().enumerate() {
        let id = match (&shop.id, &shop.url) {
            (Some(_), _) => ShopIdFrom::Pipeline,
            (None, Some(url)) => {
                need("shop", &format!("the shop address `{url}`"))?;
                ShopIdFrom::Gateway
            }
            (None, None) => return Err(PlanError::NamelessShop { number: index + 1 }),
        };
        shops.push(ShopWork { shop: shop.clone(), id, count });
    }
    Ok(Work { shops, items: pipeline.items.clone(), skus, details: pipeline.fetch.details })
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
