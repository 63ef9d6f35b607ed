//! Splunk's HTTP Event Collector (Splunk Enterprise manual "Get data in", pages "Format events for HTTP Event Collector"
//! and "Troubleshoot HTTP Event Collector").
//!
//! Without indexer acknowledgement: "taken" means that the collector answered for it, as it does to every client of a
//! token that does not ask for acknowledgements.

use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use url::Url;

use super::http::{endpoint, http_client};
use super::message::Message;
use super::send::{SendError, Verdict, all_taken, failed};
use crate::config::{SinkFormat, SplunkSink};
use crate::net::{Client, NetError, Request};

/// A collector.
pub(super) struct Splunk {
    client: Client,
    url: Url,
    token: SecretString,
    index: Option<String>,
    host: String,
    source_type: &'static str,
}

/// One event as the collector reads it.
#[derive(Serialize)]
struct Envelope<'a> {
    /// Unix seconds with a fraction.
    time: f64,
    host: &'a str,
    source: &'static str,
    sourcetype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<&'a str>,
    event: &'a RawValue,
}

/// The collector's answer. Its text is not read: the code says the same.
#[derive(Deserialize)]
struct Answer {
    code: u32,
    #[serde(rename = "invalid-event-number")]
    invalid: Option<usize>,
}

impl Splunk {
    /// A collector as configured; `host` is what its events are said to come from.
    ///
    /// # Errors
    /// No client can be made.
    pub(super) fn new(settings: &SplunkSink, format: SinkFormat, host: &str) -> Result<Self, NetError> {
        Ok(Self {
            client: http_client(&settings.reach)?,
            url: endpoint(&settings.url, &["services", "collector", "event"]),
            token: settings.token.clone(),
            index: settings.index.clone(),
            host: host.to_owned(),
            source_type: match format {
                SinkFormat::Tollgate => "tollgate:audit",
                SinkFormat::Ocsf => "tollgate:ocsf",
            },
        })
    }

    pub(super) async fn send(&self, batch: &[Message]) -> Result<Vec<Verdict>, SendError> {
        let body = self.body(batch).map_err(|_| SendError::Answer("a record is not JSON"))?;
        let request = Request::post(self.url.clone(), "application/json", body)
            .header("authorization", &format!("Splunk {}", self.token.expose_secret()))?;
        let response = self.client.send(request).await?;
        let answer: Option<Answer> = serde_json::from_slice(&response.body).ok();
        match (response.status, answer) {
            (StatusCode::OK, Some(Answer { code: 0, .. })) => Ok(all_taken(batch)),
            (StatusCode::OK, _) => Err(SendError::Answer("status 200 without code 0")),
            (StatusCode::BAD_REQUEST, Some(answer)) => Err(refused(&answer, batch.len())),
            _ => Err(failed(&response)),
        }
    }

    /// Events one after the other, which is how the collector takes many.
    fn body(&self, batch: &[Message]) -> Result<Vec<u8>, serde_json::Error> {
        let mut body = Vec::new();
        for message in batch {
            let envelope = Envelope {
                time: seconds(message),
                host: &self.host,
                source: "tollgate",
                sourcetype: self.source_type,
                index: self.index.as_deref(),
                event: serde_json::from_str(&message.json)?,
            };
            serde_json::to_writer(&mut body, &envelope)?;
            body.push(b'\n');
        }
        Ok(body)
    }
}

fn seconds(message: &Message) -> f64 {
    // Milliseconds of this millennium fit the 53 bits exactly.
    message.at.as_duration().as_secs_f64()
}

/// What a refusal's code is about: an event (5, 6, 12, 13, 15), or the token, index or channel.
fn refused(answer: &Answer, events: usize) -> SendError {
    let why = format!("code {}", answer.code);
    match answer {
        Answer { code: 5 | 6 | 12 | 13 | 15, invalid: Some(index) } if *index < events => {
            SendError::Invalid { index: *index, why }
        }
        Answer { code: 5 | 6 | 12 | 13 | 15, .. } => SendError::Together(why),
        Answer { .. } => SendError::Unwelcome(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_codes_about_an_event_blame_the_event() {
        let refused = |code, invalid| refused(&Answer { code, invalid }, 3);
        assert!(matches!(refused(6, Some(2)), SendError::Invalid { index: 2, .. }));
        assert!(matches!(refused(6, Some(3)), SendError::Together(_)), "there is no such event");
        assert!(matches!(refused(12, None), SendError::Together(_)));
        for token_or_index in [2, 3, 4, 7, 10, 11, 14, 16] {
            assert!(matches!(refused(token_or_index, Some(0)), SendError::Unwelcome(_)), "{token_or_index}");
        }
    }
}
