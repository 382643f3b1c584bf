//! The tokens of an installation: made once, kept in a Secret of the manager's namespace.

use std::collections::BTreeMap;

use engine_config::SecretString;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use kube::{Api, Client};
use rand::RngExt;

use crate::input::Tokens;
use crate::settings::TOKENS_SECRET;

const AGENTS: &str = "agents";
const STATUS: &str = "status";
const CONFLICT: u16 = 409;

/// The tokens of the installation in a namespace; makes them where there are none.
pub(super) async fn obtain(client: &Client, namespace: &str) -> Result<Tokens, kube::Error> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    loop {
        if let Some(found) = secrets.get_opt(TOKENS_SECRET).await?
            && let Some(tokens) = read(&found)
        {
            return Ok(tokens);
        }
        match secrets.create(&PostParams::default(), &made()).await {
            Ok(made) => {
                if let Some(tokens) = read(&made) {
                    return Ok(tokens);
                }
            }
            // Another one was faster, or somebody has emptied it: what is there is replaced as a whole then.
            Err(kube::Error::Api(status)) if status.code == CONFLICT => {
                if let Some(mut found) = secrets.get_opt(TOKENS_SECRET).await?
                    && read(&found).is_none()
                {
                    found.data = made().data;
                    secrets.replace(TOKENS_SECRET, &PostParams::default(), &found).await?;
                }
            }
            Err(error) => return Err(error),
        }
    }
}

fn read(secret: &Secret) -> Option<Tokens> {
    let data = secret.data.as_ref()?;
    let token = |key: &str| {
        let text = std::str::from_utf8(&data.get(key)?.0).ok()?;
        (!text.is_empty()).then(|| SecretString::new(text))
    };
    Some(Tokens { agents: token(AGENTS)?, status: token(STATUS)? })
}

fn made() -> Secret {
    let labels = BTreeMap::from([("app.kubernetes.io/part-of".to_owned(), "telemetry".to_owned())]);
    let metadata = ObjectMeta { name: Some(TOKENS_SECRET.to_owned()), labels: Some(labels), ..ObjectMeta::default() };
    let data = [AGENTS, STATUS].map(|key| (key.to_owned(), ByteString(token().into_bytes())));
    Secret { metadata, data: Some(data.into()), ..Secret::default() }
}

/// 256 random bits.
fn token() -> String {
    let bytes: [u8; 32] = rand::rng().random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
