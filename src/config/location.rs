//! Where a lake is: a folder, or a prefix of an S3 bucket.
//!
//! Takes an address and an injected environment; gives a [`Location`].
//!
//! Invariant: credentials are never part of an address, and `Debug` of a location prints none.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

use url::Url;

use crate::base::{Error, Result, Secret};

/// What S3 clients take from the environment: the variables that AWS's own tools read.
pub const S3_VARIABLES: [&str; 25] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ALLOW_HTTP",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_EXTERNAL_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_CONTAINER_CREDENTIALS_ENDPOINT",
    "HOME",
    "PATH",
];

/// Where a lake is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder: an absolute path, or one from the working directory.
    Folder(PathBuf),
    /// A prefix of a bucket.
    S3(S3Location),
}

/// A prefix of an S3 bucket, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket.
    pub bucket: String,
    /// Without `/` at either end; empty: the whole bucket.
    pub prefix: String,
    /// Another service than AWS's: `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// Default: that of the environment or profile, else `us-east-1`.
    pub region: Option<String>,
    /// How the bucket is named in a request.
    pub addressing: Addressing,
    /// Whether requests may go over plain HTTP.
    pub allow_http: bool,
    /// Where credentials come from.
    pub environment: Variables,
}

/// How the bucket is named in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// `https://bucket.host/key`: AWS, most clouds.
    Virtual,
    /// `https://host/bucket/key`: MinIO, `SeaweedFS`, most servers of one's own.
    Path,
}

/// Environment variables as they were when the location was read. `Debug` prints their names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Variables(BTreeMap<String, Secret>);

impl Variables {
    /// Those of `names` that are set and not empty.
    pub fn of<'n>(names: impl IntoIterator<Item = &'n str>, env: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| Some((name.to_owned(), Secret::new(env(name).filter(|value| !value.is_empty())?)));
        Self(names.into_iter().filter_map(set).collect())
    }

    /// A variable's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::expose)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Location {
    /// Reads an address as users write it: a path (relative ones start at `folder`), `file:///PATH` or
    /// `s3://BUCKET/PREFIX`. What an S3 location does not say comes from the environment.
    ///
    /// # Errors
    /// [`crate::base::Kind::Config`] for anything else; the message does not repeat what may be a secret.
    pub fn parse(text: &str, folder: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        match text.split_once("://") {
            _ if text.trim().is_empty() => Err(Error::config("the lake's address is empty").with_hint(EXAMPLES)),
            None if names_scheme(text) => {
                Err(Error::config(format!("`{text}` is neither a folder nor an address")).with_hint(EXAMPLES))
            }
            None => Ok(Self::Folder(normal(&folder.join(text)))),
            Some(("file", path)) if path.starts_with('/') => Ok(Self::Folder(normal(Path::new(path)))),
            Some(("s3" | "s3a", rest)) => S3Location::parse(rest, env).map(Self::S3),
            Some((scheme, _)) => Err(Error::config(format!("`{scheme}://` is no lake")).with_hint(EXAMPLES)),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::S3(location) if location.prefix.is_empty() => write!(f, "s3://{}", location.bucket),
            Self::S3(location) => write!(f, "s3://{}/{}", location.bucket, location.prefix),
        }
    }
}

/// What a lake's address looks like.
const EXAMPLES: &str = "a folder (`data/lake`) or a prefix of a bucket (`s3://bucket/prefix`)";

/// Whether a text without `://` was meant as an address: `s3:/bucket`, `S3:bucket`, `file:/lake`.
fn names_scheme(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    ["s3", "s3a", "s3n", "gs", "az", "abfs", "abfss", "file", "http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
}

impl S3Location {
    /// Reads what follows `s3://`.
    fn parse(rest: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        if rest.contains('@') {
            let error = Error::config("the lake's address holds a user or a key");
            return Err(
                error.with_hint("keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role")
            );
        }
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(|byte| plain(byte.to_ascii_lowercase())) {
            return Err(Error::config(format!("`{bucket}` is no name of a bucket")).with_hint(EXAMPLES));
        }
        let prefix = prefix.trim_end_matches('/');
        // Tables and tools spell other characters in several ways; a name that all spell alike is worth more.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'=');
        let is_part = |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain);
        if !prefix.is_empty() && !prefix.split('/').all(is_part) {
            return Err(Error::config(format!("`{prefix}` is no prefix for a lake"))
                .with_hint("parts of letters, digits, `.`, `_`, `-` and `=`, with one `/` between two"));
        }
        let environment = Variables::of(S3_VARIABLES, env);
        let stated = |names: &[&str]| names.iter().find_map(|name| environment.get(name)).map(str::to_owned);
        let endpoint = stated(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]);
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            addressing: if endpoint.is_some() { Addressing::Path } else { Addressing::Virtual },
            endpoint,
            region: stated(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
            allow_http: environment.get("AWS_ALLOW_HTTP").is_some_and(|value| value.eq_ignore_ascii_case("true")),
            environment,
        })
    }

    /// Whether the endpoint can be used: an address, and over HTTP only where that is allowed.
    ///
    /// # Errors
    /// [`crate::base::Kind::Config`].
    pub fn check(&self) -> Result<()> {
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let url = Url::parse(endpoint).ok().filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"));
        let Some(url) = url else {
            return Err(Error::config("the endpoint of the lake is no address")
                .with_hint("for example `https://minio.example:9000`"));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Error::config("the endpoint of the lake holds a user or a password")
                .with_hint("keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"));
        }
        if self.addressing == Addressing::Virtual && !matches!(url.host(), Some(url::Host::Domain(_))) {
            return Err(Error::config(format!(
                "the lake's endpoint `{endpoint}` is a number: a bucket's name cannot stand before it"
            ))
            .with_hint("say `addressing = \"path\"` in `[lake]`, or give the endpoint by its name"));
        }
        if url.path().trim_end_matches('/').ends_with(&format!("/{}", self.bucket)) {
            return Err(Error::config(format!("the lake's endpoint `{endpoint}` ends with the bucket"))
                .with_hint("give the server's address alone: the bucket is in the lake's"));
        }
        if url.scheme() == "http" && !self.allow_http {
            return Err(Error::config(format!("the lake's endpoint `{endpoint}` is not encrypted")).with_hint(
                "use `https://`, or say `allow_http = true` in `[lake]` (AWS_ALLOW_HTTP=true without a pipeline)",
            ));
        }
        Ok(())
    }
}

/// The path without `.` and `..`, by its text alone.
#[must_use]
pub fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "AWS_SECRET_ACCESS_KEY" => Some("hush-hush".into()),
            "AWS_REGION" => Some("cn-north-1".into()),
            _ => None,
        }
    }

    fn parse(text: &str) -> Result<Location> {
        Location::parse(text, Path::new("/etc/huopan"), &env)
    }

    #[test]
    fn paths_start_at_the_folder_and_buckets_end_without_a_slash() {
        for (text, shown) in [
            ("../lake", "/etc/lake"),
            ("/srv/lake", "/srv/lake"),
            ("file:///srv/lake", "/srv/lake"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3a://bucket/a/b=1/", "s3://bucket/a/b=1"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn what_is_no_lake_is_refused_with_a_hint() {
        for text in [
            "",
            " ",
            "gs://bucket/x",
            "s3://",
            "s3://ab",
            "s3://key:secret@bucket/x",
            "s3://bucket//x",
            "s3://bucket/货盘",
            "s3:/bucket/x",
            "s3:bucket/x",
            "S3:/bucket/x",
            "S3://bucket/x",
            "file:/srv/lake",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.kind(), crate::base::Kind::Config, "{text}");
            assert!(error.hint().is_some() && !error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn secrets_of_the_environment_are_not_shown() {
        let Location::S3(location) = parse("s3://bucket/x").unwrap() else { panic!() };
        assert_eq!(location.region.as_deref(), Some("cn-north-1"));
        assert_eq!(location.environment.get("AWS_SECRET_ACCESS_KEY"), Some("hush-hush"));
        let shown = format!("{location:?}");
        assert!(!shown.contains("hush") && shown.contains("AWS_SECRET_ACCESS_KEY"), "{shown}");
    }

    #[test]
    fn plain_http_wants_to_be_allowed() {
        let Location::S3(mut location) = parse("s3://bucket/x").unwrap() else { panic!() };
        location.addressing = Addressing::Path;
        for (endpoint, allow_http, fits) in [
            ("http://127.0.0.1:9000", false, false),
            ("http://127.0.0.1:9000", true, true),
            ("https://minio.example", false, true),
            ("https://user:pass@minio.example", true, false),
            ("minio.example", true, false),
            ("https://minio.example/bucket/", true, false),
            ("https://example/minio", true, true),
        ] {
            (location.endpoint, location.allow_http) = (Some(endpoint.to_owned()), allow_http);
            assert_eq!(location.check().is_ok(), fits, "{endpoint}");
        }
    }

    #[test]
    fn a_bucket_has_no_name_before_a_number() {
        let Location::S3(mut location) = parse("s3://bucket/x").unwrap() else { panic!() };
        for (endpoint, fits) in [("127.0.0.1:9000", false), ("[::1]:9000", false), ("minio.example", true)] {
            location.endpoint = Some(format!("https://{endpoint}"));
            for addressing in [Addressing::Virtual, Addressing::Path] {
                location.addressing = addressing;
                assert_eq!(location.check().is_ok(), fits || addressing == Addressing::Path, "{endpoint}");
            }
        }
    }
}
