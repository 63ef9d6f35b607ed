//! Blocks that machines set: alerts of a webhook, and security events of an issuer.
//!
//! Both come verified. What is left is how often, and what of an alert names whom.

use std::sync::Arc;

use serde_json::Value;

use super::Broker;
use crate::config::Webhook;
use crate::domain::{BlockReason, BlockSubject, Code, Refusal};
use crate::identity::{Revoked, SecurityEvent};
use crate::ledger::{BlocksSet, NewBlock, Once};

impl Broker {
    /// Sets the blocks that a verified alert of `webhook` asks for.
    ///
    /// # Errors
    /// `rate_limited`; `request_malformed` if the alert names nobody; `blocks_full`, `store_unavailable`.
    pub async fn alert(
        self: &Arc<Self>,
        webhook: &Webhook,
        alert: &Value,
        once: Option<Once>,
    ) -> Result<BlocksSet, Refusal> {
        self.limiter.alert(&format!("webhook {}", webhook.name))?;
        let reason = reason(webhook, alert)?;
        let new = |subject| NewBlock {
            tenant: webhook.tenant.clone(),
            subject,
            reason: reason.clone(),
            by: format!("webhook {}", webhook.name),
            lasts: Some(webhook.duration),
        };
        let blocks = subjects(webhook, alert)?.into_iter().map(new).collect();
        self.block(blocks, once).await
    }

    /// Sets the block that a security event token (RFC 8417) of a configured issuer asks for.
    ///
    /// # Errors
    /// One of the `token_*` and `issuer_*` codes; `request_malformed` for an event that is not understood;
    /// `rate_limited`, `blocks_full`, `store_unavailable`.
    pub async fn security_event(self: &Arc<Self>, token: &str) -> Result<(), Refusal> {
        let event = self.loaded().identity.security_event(token).await?;
        let Revoked { issuer, tenant, subject, lasts, reason, key, until } = match event {
            SecurityEvent::SessionRevoked(revoked) => *revoked,
            SecurityEvent::Verification => return Ok(()),
        };
        self.limiter.alert(&format!("issuer {issuer}"))?;
        let said = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        let reason = BlockReason::lossy(&format!("session revoked{said}"));
        let reason = reason.ok_or_else(|| Refusal::new(Code::Internal, "the block has no reason"))?;
        let by = format!("issuer {issuer}");
        let new = NewBlock { tenant, subject, reason, by, lasts: Some(lasts) };
        self.block(vec![new], Some(Once { key, until })).await.map(drop)
    }
}

/// Whom the alert names, at the pointers that the webhook's settings give.
fn subjects(webhook: &Webhook, alert: &Value) -> Result<Vec<BlockSubject>, Refusal> {
    let malformed = |message: String| Refusal::new(Code::RequestMalformed, message);
    let mut subjects = Vec::new();
    for (kind, pointer) in &webhook.subjects {
        let Some(value) = alert.pointer(pointer).filter(|value| !value.is_null()) else { continue };
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_u64() => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                return Err(malformed(format!("{pointer}: expected text or a whole number")));
            }
        };
        let subject =
            BlockSubject::of(*kind, &text).map_err(|error| malformed(format!("{pointer}: {error}")))?;
        subjects.push(subject);
    }
    if subjects.is_empty() {
        let pointers: Vec<&str> = webhook.subjects.values().map(String::as_str).collect();
        return Err(malformed(format!("the alert names nobody: nothing at {}", pointers.join(", "))));
    }
    Ok(subjects)
}

fn reason(webhook: &Webhook, alert: &Value) -> Result<BlockReason, Refusal> {
    let said = webhook.reason.as_ref().and_then(|pointer| alert.pointer(pointer)?.as_str());
    let said = said.map(|said| format!(": {said}")).unwrap_or_default();
    BlockReason::lossy(&format!("alert of webhook {}{said}", webhook.name))
        .ok_or_else(|| Refusal::new(Code::Internal, "the block has no reason"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WebhookAuth;
    use crate::domain::BlockKind;
    use serde_json::json;

    fn webhook() -> Webhook {
        Webhook {
            name: "siem".to_owned(),
            auth: WebhookAuth::Hmac("x".repeat(32).into()),
            subjects: [
                (BlockKind::Repository, "/fields/repository".to_owned()),
                (BlockKind::Principal, "/fields/principal".to_owned()),
            ]
            .into(),
            reason: Some("/output".to_owned()),
            duration: std::time::Duration::from_hours(1),
            tenant: None,
        }
    }

    fn found(alert: &Value) -> Result<Vec<String>, Code> {
        let found = subjects(&webhook(), alert).map_err(|refusal| refusal.code)?;
        Ok(found.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_alert_blocks_what_its_settings_point_at_and_nothing_else() {
        let alert = json!({ "fields": { "repository": 70_107_786, "tenant": "acme", "principal": null } });
        assert_eq!(found(&alert), Ok(vec!["repository:70107786".to_owned()]));
        let both = json!({ "fields": { "repository": "acme/shop", "principal": "github:repository:1" } });
        assert_eq!(found(&both).unwrap().len(), 2);
        for bad in [
            json!({}),
            json!({ "repository": "acme/shop" }),
            json!({ "fields": { "repository": ["acme/shop"] } }),
            json!({ "fields": { "repository": "acme\nshop" } }),
            json!({ "fields": { "repository": "" } }),
            json!({ "fields": { "repository": "acme/shop", "principal": "not printable \u{7f}" } }),
        ] {
            assert_eq!(found(&bad), Err(Code::RequestMalformed), "{bad}");
        }
    }

    #[test]
    fn the_reason_is_the_alerts_text_made_printable() {
        let reason = reason(&webhook(), &json!({ "output": "shell\nspawned" })).unwrap();
        assert_eq!(reason.as_str(), "alert of webhook siem: shell spawned");
    }
}
