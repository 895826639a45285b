//! Where the keys of a bucket come from: the sources of AWS's own tools, in their order (environment, profile, SSO, web
//! identity, process, container, instance).
//!
//! Invariant: reads no environment of its own, and keys never reach a log or an error.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use reqsign_aws_v4::{Credential, DefaultCredentialProvider};
use reqsign_command_execute_tokio::TokioCommandExecute;
use reqsign_core::{Context, ProvideCredential, SigningCredential, StaticEnv};
use reqsign_file_read_tokio::TokioFileRead;
use reqsign_http_send_reqwest::ReqwestHttpSend;
use tokio::sync::Mutex;

use crate::config::location::S3Location;

/// The keys of a bucket, asked for when they are needed and kept until they expire.
pub(super) struct Credentials {
    context: Context,
    sources: DefaultCredentialProvider,
    known: Mutex<Option<Credential>>,
    profile: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(***)")
    }
}

impl Credentials {
    /// The sources that a location's environment leads to.
    pub(super) fn of(location: &S3Location) -> Self {
        let variables = &location.environment;
        let envs: HashMap<String, String> =
            variables.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let home_dir = variables.get("HOME").map(PathBuf::from);
        let context = Context::new()
            .with_file_read(TokioFileRead)
            .with_http_send(ReqwestHttpSend::default())
            .with_command_execute(TokioCommandExecute)
            .with_env(StaticEnv { home_dir, envs });
        let sources = DefaultCredentialProvider::builder();
        // Whoever names another service is not on a machine of AWS's that would know its keys.
        let sources = if location.endpoint.is_some() { sources.no_imds() } else { sources };
        let profile = variables.get("AWS_PROFILE").map(str::to_owned);
        Self { context, sources: sources.build(), known: Mutex::default(), profile }
    }
}

impl Credentials {
    /// What is missing where no source has keys.
    fn missing(&self) -> String {
        let at = self.profile.as_deref().map(|name| format!(": profile `{name}` is not there, or has none"));
        format!("no keys were found{}", at.unwrap_or_default())
    }
}

#[async_trait::async_trait]
impl CredentialProvider for Credentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut known = self.known.lock().await;
        let credential = match known.as_ref().filter(|known| known.is_valid()) {
            Some(known) => known.clone(),
            None => {
                let failed = |source| object_store::Error::Unauthenticated { path: String::new(), source };
                let found = self.sources.provide_credential(&self.context).await;
                let found = found.map_err(|source| failed(source.into()))?;
                known.insert(found.ok_or_else(|| failed(self.missing().into()))?).clone()
            }
        };
        Ok(Arc::new(AwsCredential {
            key_id: credential.access_key_id,
            secret_key: credential.secret_access_key,
            token: credential.session_token,
        }))
    }
}
