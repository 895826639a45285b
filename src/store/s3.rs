//! A prefix of an S3 bucket: the client, as the location and its environment say.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use url::Url;

use crate::base::{Error, Result};
use crate::config::location::{Addressing, Location, S3Location};

use super::bucket::Bucket;
use super::credentials::Credentials;

/// Used where nobody says one; most servers of one's own take any.
const REGION: &str = "us-east-1";
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// Longest wait for one request: a file of 128 MiB at 4 Mbit/s.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// A request that fails in passing (a 503, a broken connection) is made again within this time …
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);
/// … and at most this often.
const RETRIES_MAX: usize = 8;

/// Opens the client of a location. Asks nobody yet.
///
/// # Errors
/// `Config` when the location cannot be right.
pub(super) fn open(location: &S3Location) -> Result<Bucket> {
    location.check()?;
    let (name, region) = (Location::S3(location.clone()).to_string(), location.region.as_deref().unwrap_or(REGION));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&location.bucket)
        .with_region(region)
        .with_virtual_hosted_style_request(location.addressing == Addressing::Virtual)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_credentials(Arc::new(Credentials::of(location)))
        .with_client_options(client_options(location))
        .with_retry(RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES_MAX,
            retry_timeout: RETRY_TIMEOUT,
        });
    if let Some(endpoint) = &location.endpoint {
        builder = builder.with_endpoint(host(endpoint, location));
    }
    let unfit = |source| Error::config(format!("`{name}` cannot be reached as configured")).caused_by(source);
    let root = builder.build().map_err(|source| unfit(Box::new(source) as Box<dyn std::error::Error + Send + Sync>))?;
    let url = Url::parse(&format!("{name}/")).map_err(|source| unfit(source.into()))?;
    Bucket::new(Arc::new(root), &location.prefix, url)
}

/// The address that requests go to: object stores with virtual addressing want the bucket in it.
fn host(endpoint: &str, location: &S3Location) -> String {
    match (location.addressing, endpoint.split_once("://")) {
        (Addressing::Virtual, Some((scheme, host))) => format!("{scheme}://{}.{host}", location.bucket),
        _ => endpoint.to_owned(),
    }
}

fn client_options(location: &S3Location) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(location.allow_http)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_timeout(REQUEST_TIMEOUT)
}
