//! The collector: OTLP over HTTP in protobuf (OpenTelemetry protocol specification 1.5, "OTLP/HTTP").

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use prost::Message;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::mpsc::Receiver;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::causes;
use crate::net::{Client, NetError, Request, Rules};
use crate::telemetry::TelemetryError;
use crate::telemetry::metrics::{SpanOutcome, spans};

/// Most spans of one request.
const BATCH: usize = 512;

/// Longest that a span waits for others to share its request.
const GATHER: Duration = Duration::from_secs(1);

/// Why a batch is lost.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("no answer")]
    Net(#[from] NetError),
    #[error("status {0}")]
    Status(http::StatusCode),
}

/// Sends spans.
pub(super) struct Collector {
    client: Client,
    endpoint: Url,
    headers: BTreeMap<String, SecretString>,
    resource: ResourceAttributesWithSchema,
    failing: bool,
}

impl Collector {
    pub(super) fn new(
        endpoint: Url,
        headers: BTreeMap<String, SecretString>,
        rules: Rules,
        resource: &Resource,
    ) -> Result<Self, TelemetryError> {
        let client = Client::new(rules).map_err(TelemetryError::Collector)?;
        Ok(Self { client, endpoint, headers, resource: resource.into(), failing: false })
    }

    /// Sends batch after batch; once `closing`, what is left, and no more.
    pub(super) async fn run(mut self, mut queue: Receiver<SpanData>, closing: CancellationToken) {
        loop {
            let first = tokio::select! {
                first = queue.recv() => first,
                () = closing.cancelled() => queue.try_recv().ok(),
            };
            let Some(first) = first else { return };
            let mut batch = vec![first];
            tokio::select! {
                () = fill(&mut batch, &mut queue) => {}
                () = tokio::time::sleep(GATHER) => {}
                () = closing.cancelled() => {
                    while batch.len() < BATCH && let Ok(span) = queue.try_recv() {
                        batch.push(span);
                    }
                }
            }
            self.export(batch).await;
        }
    }

    /// A batch that is not taken is lost: traces are not worth a queue of their own on disk, and a retry would make the
    /// next ones late.
    async fn export(&mut self, batch: Vec<SpanData>) {
        let count = batch.len();
        match self.send(batch).await {
            Ok(rejected) => {
                let rejected = rejected.min(count);
                spans(SpanOutcome::Exported, count - rejected);
                spans(SpanOutcome::Failed, rejected);
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the collector takes traces again");
                }
            }
            Err(lost) => {
                spans(SpanOutcome::Failed, count);
                // Once: a collector that is down says nothing new with every batch.
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(error = causes::in_full(&lost), "the collector does not take traces");
                }
            }
        }
    }

    /// Returns how many spans the collector rejected of those that it understood.
    async fn send(&self, batch: Vec<SpanData>) -> Result<usize, Lost> {
        let resource_spans = group_spans_by_resource_and_scope(batch, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let mut request = Request::post(self.endpoint.clone(), "application/x-protobuf", body);
        for (name, value) in &self.headers {
            request = request.header(name, value.expose_secret())?;
        }
        let answer = self.client.send(request).await?;
        if !answer.status.is_success() {
            return Err(Lost::Status(answer.status));
        }
        // An answer that is no protobuf is not worth a complaint: the spans were taken.
        let answer = ExportTraceServiceResponse::decode(answer.body).unwrap_or_default();
        let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_spans);
        Ok(usize::try_from(rejected).unwrap_or_default())
    }
}

async fn fill(batch: &mut Vec<SpanData>, queue: &mut Receiver<SpanData>) {
    while batch.len() < BATCH {
        match queue.recv().await {
            Some(span) => batch.push(span),
            None => return,
        }
    }
}
