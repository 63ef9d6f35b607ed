//! Lets the AWS SDK speak through Tollgate's own HTTP client.
//!
//! The SDK's default client takes proxies from the environment and follows no address rules; this one has the caps,
//! the address rules and the trust roots of every other connection.

use aws_sdk_sts::config::RuntimeComponents;
use aws_sdk_sts::config::http::{HttpRequest, HttpResponse};
use aws_sdk_sts::error::ConnectorError;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use bytes::Bytes;
use url::Url;

use crate::net::{Client, NetError, Request};

/// The one HTTP client, in the SDK's shape.
#[derive(Debug, Clone)]
pub(super) struct Connector(pub(super) Client);

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let response = client.send(outgoing(request)?).await.map_err(failed)?;
            let mut incoming = http::Response::new(response.body.into());
            *incoming.status_mut() = response.status;
            *incoming.headers_mut() = response.headers;
            HttpResponse::try_from(incoming).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

fn outgoing(request: HttpRequest) -> Result<Request, ConnectorError> {
    let request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
    let (parts, body) = request.into_parts();
    let url = Url::parse(&parts.uri.to_string()).map_err(|error| ConnectorError::user(error.into()))?;
    let body = body.bytes().map(Bytes::copy_from_slice);
    let body = body.ok_or_else(|| ConnectorError::user("a streamed body".into()))?;
    Ok(Request { method: parts.method, url, headers: parts.headers, body })
}

/// What the SDK may try again: silence, and nothing that would end the same way.
fn failed(error: NetError) -> ConnectorError {
    match error {
        NetError::Timeout(_) => ConnectorError::timeout(error.into()),
        NetError::Unreachable { .. } => ConnectorError::io(error.into()),
        NetError::AddressRefused(_)
        | NetError::InvalidHeader(_)
        | NetError::Redirect
        | NetError::TooLarge(_)
        | NetError::Setup(_) => ConnectorError::user(error.into()),
    }
}
