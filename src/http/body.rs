//! Bodies: the media type checked exactly, the size enforced while reading, the wait bounded.

use std::error::Error;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use bytes::BytesMut;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use super::arriving::{Full, Held, Room};
use crate::domain::{Code, Refusal};

/// Longest a body may take to arrive; bodies are a few KiB.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// What an endpoint reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum MediaType {
    /// `application/json`.
    Json,
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `application/secevent+jwt` (RFC 8417, section 2.3).
    SecurityEvent,
}

impl MediaType {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Form => "application/x-www-form-urlencoded",
            Self::SecurityEvent => "application/secevent+jwt",
        }
    }
}

/// `request` with its whole body in memory, read before anything is done for it: who sends slowly keeps nobody else
/// waiting. Its bytes take `room` until what they hold of it is dropped.
///
/// # Errors
/// `request_too_large`, `request_incomplete`; `overloaded` without room.
pub(super) async fn buffer(
    request: Request,
    max_bytes: usize,
    room: &Room,
) -> Result<(Request, Held), Refusal> {
    let (parts, body) = request.into_parts();
    check_announced(&parts.headers, max_bytes)?;
    let mut held = Held::default();
    let bytes = collect(body, max_bytes, READ_TIMEOUT, |bytes| room.take(&mut held, bytes)).await?;
    Ok((Request::from_parts(parts, bytes.into()), held))
}

/// The whole body, of at most `max_bytes`.
///
/// # Errors
/// `content_type_unsupported`, `request_too_large`, `request_incomplete`.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    expected: MediaType,
    max_bytes: usize,
) -> Result<Bytes, Refusal> {
    check_type(headers, expected)?;
    // The gate has it in memory already.
    collect(body, max_bytes, READ_TIMEOUT, |_| Ok(())).await
}

/// The whole body; `take` is asked before a piece of it is kept.
async fn collect(
    body: Body,
    max_bytes: usize,
    within: Duration,
    mut take: impl FnMut(usize) -> Result<(), Full>,
) -> Result<Bytes, Refusal> {
    let mut body = Limited::new(body, max_bytes);
    let reading = async {
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|error| broken(&*error, max_bytes))?.into_data() else { continue };
            take(piece.len()).map_err(|Full| no_room())?;
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    };
    let late = |_| Refusal::new(Code::RequestIncomplete, "the request's body came too slowly");
    tokio::time::timeout(within, reading).await.map_err(late)?
}

fn broken(error: &(dyn Error + 'static), max_bytes: usize) -> Refusal {
    if is_too_large(error) {
        too_large(max_bytes)
    } else {
        Refusal::new(Code::RequestIncomplete, "the request's body broke off")
    }
}

fn no_room() -> Refusal {
    Refusal::new(Code::Overloaded, "the server holds as many bytes of requests as it takes")
}

/// Exactly one content type, with no parameter but `charset=utf-8`, and no content encoding: a small compressed body
/// can be a huge one.
fn check_type(headers: &HeaderMap, expected: MediaType) -> Result<(), Refusal> {
    let refused = |message: String| Refusal::new(Code::ContentTypeUnsupported, message);
    if headers.contains_key(CONTENT_ENCODING) {
        return Err(refused("send the body without Content-Encoding".to_owned()));
    }
    let wanted = || refused(format!("send Content-Type: {}", expected.as_str()));
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let line = lines.next().and_then(|line| line.to_str().ok()).ok_or_else(wanted)?;
    let (essence, parameters) = line.split_once(';').unwrap_or((line, ""));
    let essence_fits = essence.trim().eq_ignore_ascii_case(expected.as_str());
    let parameters_fit =
        matches!(parameters.trim().to_ascii_lowercase().as_str(), "" | "charset=utf-8" | "charset=\"utf-8\"");
    if essence_fits && parameters_fit && lines.next().is_none() { Ok(()) } else { Err(wanted()) }
}

/// Refuses by `Content-Length` alone, before a byte is read. What is not announced is counted while reading.
fn check_announced(headers: &HeaderMap, max_bytes: usize) -> Result<(), Refusal> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > max_bytes as u64) {
        return Err(too_large(max_bytes));
    }
    Ok(())
}

fn too_large(max_bytes: usize) -> Refusal {
    Refusal::new(Code::RequestTooLarge, format!("the body has more than {max_bytes} bytes"))
}

fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_too_large)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::{Body as HttpBody, Frame};

    async fn code(types: &[&str], body: Body, expected: MediaType) -> Result<usize, Code> {
        let mut headers = HeaderMap::new();
        for line in types {
            headers.append(CONTENT_TYPE, line.parse().unwrap());
        }
        read(&headers, body, expected, 8).await.map(|bytes| bytes.len()).map_err(|refusal| refusal.code)
    }

    #[tokio::test]
    async fn takes_the_documented_type_with_or_without_charset() {
        for line in
            ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""]
        {
            assert_eq!(code(&[line], Body::from("{}"), MediaType::Json).await, Ok(2), "{line}");
        }
    }

    #[tokio::test]
    async fn refuses_other_types_parameters_and_repetitions() {
        let json = "application/json";
        for lines in [
            &[][..],
            &["text/plain"],
            &["application/json; charset=utf-16"],
            &["application/json; boundary=x"],
            &["application/jsonp"],
            &[json, json],
            &["application/x-www-form-urlencoded"],
        ] {
            let refused = Err(Code::ContentTypeUnsupported);
            assert_eq!(code(lines, Body::from("{}"), MediaType::Json).await, refused, "{lines:?}");
        }
        let refused = Err(Code::ContentTypeUnsupported);
        assert_eq!(code(&[json], Body::from("a=b"), MediaType::Form).await, refused);
    }

    #[tokio::test]
    async fn i_09_request_refuses_compressed_bodies() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        let refused = read(&headers, Body::empty(), MediaType::Json, 8).await.unwrap_err();
        assert_eq!(refused.code, Code::ContentTypeUnsupported);
    }

    #[tokio::test]
    async fn s_07_counts_an_unannounced_body_while_it_arrives() {
        let refused = code(&["application/json"], Body::new(Endless), MediaType::Json).await;
        assert_eq!(refused, Err(Code::RequestTooLarge));
        assert_eq!(code(&["application/json"], Body::from("12345678"), MediaType::Json).await, Ok(8));
    }

    #[tokio::test]
    async fn s_07_refuses_an_announced_size_without_reading() {
        let request = Request::builder().header(CONTENT_LENGTH, "9").body(Body::new(Silent)).unwrap();
        assert_eq!(buffer(request, 8, &Room::new(8)).await.unwrap_err().code, Code::RequestTooLarge);
    }

    #[tokio::test]
    async fn s_07_bodies_share_the_room_that_there_is() {
        let room = Room::new(10);
        let sent = || Request::new(Body::from("12345678"));
        let (_, held) = buffer(sent(), 8, &room).await.unwrap();
        assert_eq!(buffer(sent(), 8, &room).await.unwrap_err().code, Code::Overloaded);
        drop(held);
        assert!(buffer(sent(), 8, &room).await.is_ok());
    }

    #[tokio::test]
    async fn s_07_gives_up_on_a_body_that_does_not_come() {
        let refused = collect(Body::new(Silent), 8, Duration::ZERO, |_| Ok(())).await.unwrap_err();
        assert_eq!(refused.code, Code::RequestIncomplete);
    }

    /// A body that never comes.
    struct Silent;

    impl HttpBody for Silent {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Pending
        }
    }

    /// A body without an end.
    struct Endless;

    impl HttpBody for Endless {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"abc")))))
        }
    }
}
