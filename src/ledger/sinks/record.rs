//! From a stored row to a record of the stream: what a sink's formats are made of.

use jiff::Timestamp;
use serde_json::value::{RawValue, to_raw_value};

use super::cursor::Place;
use super::row::{Content, StoredRecord, StreamRow};
use crate::domain::{BlockId, DecisionId, LeaseId};
use crate::ledger::event::{About, Event, Line};
use crate::ledger::explained::time;
use crate::ledger::kind::{BlockMarkedText, Kind};
use crate::secret::Fingerprint;

/// One record of the stream.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) place: Place,
    pub(super) at: Timestamp,
    pub(super) line: Line,
    /// Who asked, and for what, if it is about a decision or came from one.
    pub(super) party: Option<Party>,
}

/// Who asked, and for what.
#[derive(Debug, Clone)]
pub(super) struct Party {
    pub(super) principal: String,
    pub(super) role: String,
}

/// A row of which no record can be made: verification of the chain names it too.
#[derive(Debug, thiserror::Error)]
#[error("the record is damaged, or was written by a newer version")]
pub(super) struct Unreadable;

impl Record {
    /// Names this record and no other, whenever it is sent: its place, and the beginning of its hash. The place alone comes
    /// again with another content after a store was restored from a backup, or in another store with the same receiver.
    pub(super) fn uid(&self) -> String {
        let hash = match &self.line {
            Line::Event(event) => event.hash.clone(),
            Line::Checkpoint { jws, .. } => Fingerprint::of(jws.as_bytes()).to_string(),
            Line::Dropped { .. } => String::new(),
        };
        let Place { writer, seq } = self.place;
        format!("{writer}-{seq}-{hash:.16}")
    }

    /// Reads a row.
    pub(super) fn read(row: StreamRow) -> Result<Self, Unreadable> {
        let StreamRow { place, at, content } = row;
        let at = time(at);
        match content {
            Content::Checkpoint { jws } => {
                Ok(Self { place, at, line: Line::Checkpoint { kind: "checkpoint", at, jws }, party: None })
            }
            Content::Record(stored) => {
                let kind = Kind::parse(&stored.kind).ok_or(Unreadable)?;
                let about = about(kind, &stored)?;
                let hash = Fingerprint::from_bytes(stored.hash).to_string();
                let Place { writer, seq } = place;
                let event = Event { writer, seq, at, kind, tenant: stored.tenant, hash, about };
                let party =
                    stored.decision.map(|parts| Party { principal: parts.principal, role: parts.role });
                Ok(Self { place, at, line: Line::Event(Box::new(event)), party })
            }
        }
    }
}

fn about(kind: Kind, stored: &StoredRecord) -> Result<About, Unreadable> {
    let subject = || <[u8; 16]>::try_from(stored.subject.as_slice()).map_err(|_| Unreadable);
    let data = || {
        let body = stored.body.clone().ok_or(Unreadable)?;
        RawValue::from_string(body).map_err(|_| Unreadable)
    };
    match kind {
        Kind::Authorised | Kind::WouldAllow | Kind::Permitted | Kind::Refused => {
            let parts = stored.decision.as_ref().ok_or(Unreadable)?;
            Ok(About::Decision {
                decision: DecisionId::from_bytes(subject()?),
                principal: parts.principal.clone(),
                role: parts.role.clone(),
                operation: parts.operation.clone().into(),
                result: parts.outcome.clone().into(),
            })
        }
        Kind::Leased => {
            let (decision, dies_at) = stored.lease.ok_or(Unreadable)?;
            Ok(About::Lease {
                lease: LeaseId::from_bytes(subject()?),
                decision: DecisionId::from_bytes(decision),
                dies_at: time(dies_at),
            })
        }
        Kind::Abandoned | Kind::Superseded | Kind::Resolved | Kind::Expired => {
            Ok(About::Authorisation { decision: DecisionId::from_bytes(subject()?), data: data()? })
        }
        // A lease, or an authorisation that has none.
        Kind::EndGivenUp if stored.lease.is_none() => {
            Ok(About::Authorisation { decision: DecisionId::from_bytes(subject()?), data: data()? })
        }
        Kind::EndAsked | Kind::Ended | Kind::Renewed | Kind::EndGivenUp => {
            Ok(About::Change { lease: LeaseId::from_bytes(subject()?), data: data()? })
        }
        Kind::BlockMarked => {
            let (block, (leases, authorisations)) = (BlockId::from_bytes(subject()?), stored.marked);
            let text = BlockMarkedText { block: block.to_string(), leases, authorisations };
            Ok(About::Server { data: to_raw_value(&text).map_err(|_| Unreadable)? })
        }
        Kind::Started | Kind::Revision | Kind::Key | Kind::BlockSet | Kind::BlockLifted | Kind::Sealed => {
            Ok(About::Server { data: data()? })
        }
        Kind::Counted => Ok(About::Server { data: to_raw_value(&stored.counted).map_err(|_| Unreadable)? }),
    }
}
