//! How a command reads a connector of Kafka Connect: from the user's machine, with the rights of the user.

use super::clusters::secrets;
use crate::connect::{ConnectorError, ConnectorState};
use crate::controller::ConnectorSource;
use crate::kafka::AddressPolicy;
use crate::kubernetes::scaledconsumer::Validated;

/// The connector that a ScaledConsumer scales, if it scales one by Connect's REST API. The error is a sentence without a
/// period.
pub(super) async fn read(consumer: &Validated) -> Option<Result<ConnectorState, String>> {
    let connect = consumer.connect.as_ref()?;
    let secrets = match secrets(connect.secret.clone(), connect.authority.clone()).await {
        Ok(secrets) => secrets,
        Err(error) => return Some(Err(error.to_string())),
    };
    let source = ConnectorSource::new(&consumer.target.name, connect, AddressPolicy::default(), secrets);
    Some(source.read().await.map_err(|error: ConnectorError| error.to_string()))
}
