//! The bulk interface of Elasticsearch and OpenSearch (Elasticsearch reference, "Bulk API").
//!
//! Each record is created under an id of its own, so that one that is sent twice is there once.

use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::http::{endpoint, http_client};
use super::message::Message;
use super::send::{SendError, Verdict, all_taken, failed};
use crate::config::ElasticSink;
use crate::net::{Client, NetError, Request};

/// What of the answer is asked for: a server otherwise repeats much of each record's metadata.
const FILTER: &str = "errors,items.create.status,items.create.error.type";

/// An index or data stream.
pub(super) struct Elastic {
    client: Client,
    url: Url,
    api_key: SecretString,
}

/// The line before each document.
#[derive(Serialize)]
struct Action<'a> {
    create: Create<'a>,
}

#[derive(Serialize)]
struct Create<'a> {
    #[serde(rename = "_id")]
    id: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    errors: bool,
    #[serde(default)]
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    create: Created,
}

#[derive(Deserialize)]
struct Created {
    status: u16,
    error: Option<Cause>,
}

#[derive(Deserialize)]
struct Cause {
    #[serde(rename = "type")]
    kind: String,
}

impl Elastic {
    /// An index as configured.
    ///
    /// # Errors
    /// No client can be made.
    pub(super) fn new(settings: &ElasticSink) -> Result<Self, NetError> {
        let mut url = endpoint(&settings.url, &[&settings.index, "_bulk"]);
        url.query_pairs_mut().append_pair("filter_path", FILTER);
        Ok(Self { client: http_client(&settings.reach)?, url, api_key: settings.api_key.clone() })
    }

    pub(super) async fn send(&self, batch: &[Message]) -> Result<Vec<Verdict>, SendError> {
        let content = body(batch).map_err(|_| SendError::Answer("a record is not JSON"))?;
        let request = Request::post(self.url.clone(), "application/x-ndjson", content)
            .header("authorization", &format!("ApiKey {}", self.api_key.expose_secret()))?;
        let response = self.client.send(request).await?;
        match response.status {
            StatusCode::OK => verdicts(&response.body, batch),
            StatusCode::BAD_REQUEST => Err(SendError::Together("status 400".to_owned())),
            _ => Err(failed(&response)),
        }
    }
}

/// An action and a document per record, each on its line.
fn body(batch: &[Message]) -> Result<Vec<u8>, serde_json::Error> {
    let mut body = Vec::new();
    for message in batch {
        let create = Create { id: &message.uid };
        serde_json::to_writer(&mut body, &Action { create })?;
        // A data stream takes only documents with a time under this name.
        let fields = message.json.strip_prefix('{').unwrap_or_default();
        body.extend_from_slice(format!("\n{{\"@timestamp\":\"{}\",{fields}\n", message.at).as_bytes());
    }
    Ok(body)
}

fn verdicts(body: &[u8], batch: &[Message]) -> Result<Vec<Verdict>, SendError> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| SendError::Answer("no bulk response"))?;
    if !answer.errors {
        return Ok(all_taken(batch));
    }
    if answer.items.len() != batch.len() {
        return Err(SendError::Answer("another number of items than records"));
    }
    Ok(answer.items.into_iter().map(|item| verdict(&item.create)).collect())
}

fn verdict(created: &Created) -> Verdict {
    // The type is a word of a fixed list; the reason, which quotes the record, is not read.
    let word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let kind = created.error.as_ref().map(|cause| cause.kind.as_str()).unwrap_or_default();
    let kind = if kind.len() <= 80 && kind.bytes().all(word) { kind } else { "" };
    let why = format!("status {} {kind}", created.status).trim_end().to_owned();
    match created.status {
        // 409: it is there already, by an attempt whose answer was lost.
        200..=299 | 409 => Verdict::Taken,
        // Busy, or not our record's fault: no right, no index.
        401 | 403 | 404 | 408 | 429 | 500.. => Verdict::Again(why),
        _ => Verdict::Refused(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sinks::testing::message;

    #[test]
    fn every_item_is_judged_by_itself() {
        let batch: Vec<_> = (1..=5).map(|seq| message(1, seq)).collect();
        let body = br#"{"errors":true,"items":[
            {"create":{"status":201}},
            {"create":{"status":409,"error":{"type":"version_conflict_engine_exception"}}},
            {"create":{"status":429,"error":{"type":"es_rejected_execution_exception"}}},
            {"create":{"status":400,"error":{"type":"document_parsing_exception"}}},
            {"create":{"status":404,"error":{"type":"<b>a secret</b>"}}}]}"#;
        let verdicts = verdicts(body, &batch).unwrap();
        assert_eq!(verdicts[..2], [Verdict::Taken, Verdict::Taken]);
        assert_eq!(verdicts[2], Verdict::Again("status 429 es_rejected_execution_exception".into()));
        assert_eq!(verdicts[3], Verdict::Refused("status 400 document_parsing_exception".into()));
        assert_eq!(verdicts[4], Verdict::Again("status 404".into()), "what is no word is not repeated");
    }

    #[test]
    fn an_answer_for_other_records_is_none() {
        let batch = [message(1, 1), message(1, 2)];
        assert_eq!(verdicts(br#"{"errors":false}"#, &batch).unwrap(), all_taken(&batch));
        let short = br#"{"errors":true,"items":[{"create":{"status":201}}]}"#;
        for bad in [&short[..], b"{}", b"<html>", b"{\"errors\":true}"] {
            assert!(matches!(verdicts(bad, &batch), Err(SendError::Answer(_))));
        }
    }
}
