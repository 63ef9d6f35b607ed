//! The way out of a connection, for what the HTTP library answers by itself.
//!
//! A head that is too large or cannot be read never becomes a request, and the library answers it with a bare status. Such
//! an answer is taken back here, and the router makes the one that is sent: with a code, logged, and counted. The stream
//! is then emptied for a moment before it closes: closed with bytes unread, the system would tell the client of a reset
//! connection in place of the answer.
//!
//! Only HTTP/1.1: over HTTP/2 the library's refusal of a header list is inside a frame of its own.

use std::io;
use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Uri};
use axum::response::Response;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;
use tower::ServiceExt;

use crate::domain::{Code, Refusal};
use crate::http::endpoint::{UNREADABLE, Unreadable};
use crate::http::observe::REQUEST_ID;
use crate::http::peer::Peer;

/// Most bytes that are read and thrown away before a connection closes.
const DRAINED_BYTES: usize = 4 * 1024 * 1024;

/// Longest that a connection stays open for them.
const DRAINED_FOR: Duration = Duration::from_secs(2);

type Answer = Pin<Box<dyn Future<Output = Bytes> + Send>>;

/// A stream whose bare refusals are replaced.
pub(super) struct Outlet<S> {
    stream: S,
    router: Router,
    peer: Peer,
    passing: Passing,
    closing: Closing,
}

/// What happens to what the library writes.
enum Passing {
    /// It passes.
    All,
    /// It was a bare refusal; the router makes ours.
    Made(Answer),
    /// Ours is being written.
    Written(Bytes),
    /// Ours was written, and is the last.
    Nothing,
}

/// How far the end of the connection has come.
enum Closing {
    /// Nothing of it.
    NotYet,
    /// We write no more; what still comes is thrown away.
    Draining { left: usize, until: Option<Pin<Box<Sleep>>> },
}

impl<S> Outlet<S> {
    pub(super) const fn new(stream: S, router: Router, peer: Peer) -> Self {
        Self { stream, router, peer, passing: Passing::All, closing: Closing::NotYet }
    }

    /// True if `bytes` are swallowed: a bare refusal, or anything after one.
    fn swallows(&mut self, bytes: &[u8]) -> bool {
        if matches!(self.passing, Passing::All)
            && let Some(refusal) = bare_refusal(bytes)
        {
            self.passing = Passing::Made(answer(self.router.clone(), self.peer.clone(), refusal));
        }
        !matches!(self.passing, Passing::All)
    }
}

impl<S: AsyncWrite + Unpin> Outlet<S> {
    /// Makes and writes our own answer, if one is due.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.passing {
                Passing::All | Passing::Nothing => return Poll::Ready(Ok(())),
                Passing::Made(answer) => self.passing = Passing::Written(ready!(answer.as_mut().poll(cx))),
                Passing::Written(bytes) if bytes.is_empty() => self.passing = Passing::Nothing,
                Passing::Written(bytes) => match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    written => bytes.advance(written),
                },
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Outlet<S> {
    /// Throws away what still comes: always after a refused head, and else only what is there already.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let refused = !matches!(self.passing, Passing::All);
        let Closing::Draining { left, until } = &mut self.closing else { return Poll::Ready(()) };
        let mut piece = [0; 8 * 1024];
        while *left > 0 {
            let mut piece = ReadBuf::new(&mut piece);
            match Pin::new(&mut self.stream).poll_read(cx, &mut piece) {
                Poll::Ready(Ok(())) if !piece.filled().is_empty() => {
                    *left = left.saturating_sub(piece.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending if !refused && *left == DRAINED_BYTES => return Poll::Ready(()),
                Poll::Pending => {
                    let until = until.get_or_insert_with(|| Box::pin(tokio::time::sleep(DRAINED_FOR)));
                    return until.as_mut().poll(cx);
                }
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Outlet<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Outlet<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.swallows(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.swallows(slices.first().map_or(&[], |slice| slice)) {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.closing, Closing::NotYet) {
            ready!(self.as_mut().poll_flush(cx))?;
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.closing = Closing::Draining { left: DRAINED_BYTES, until: None };
        }
        self.poll_drain(cx).map(Ok)
    }
}

/// What the library refuses in `bytes`, if it wrote them by itself: every answer of ours carries a request id.
fn bare_refusal(bytes: &[u8]) -> Option<Refusal> {
    let rest = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    let (code, message) = match rest.get(..3)? {
        b"400" => (Code::RequestMalformed, "the request's head is not HTTP/1.1"),
        b"414" | b"431" => {
            (Code::HeadersTooLarge, "the request's head is larger than 64 KiB or has over 64 lines")
        }
        _ => return None,
    };
    let name = REQUEST_ID;
    let id = name.as_str().as_bytes();
    let ours = bytes.windows(id.len()).any(|part| part.eq_ignore_ascii_case(id));
    (!ours && bytes.ends_with(b"\r\n\r\n")).then(|| Refusal::new(code, message))
}

/// The router's answer to a request that nobody could read, as bytes.
fn answer(router: Router, peer: Peer, refusal: Refusal) -> Answer {
    let mut request = Request::new(Body::empty());
    // The log line says that the method is not known.
    *request.method_mut() = Method::from_bytes(b"-").unwrap_or_default();
    *request.uri_mut() = Uri::from_static(UNREADABLE);
    request.extensions_mut().insert(peer);
    request.extensions_mut().insert(Unreadable(refusal));
    Box::pin(async move {
        let response = router.oneshot(request).await.unwrap_or_else(|never| match never {});
        written(response).await
    })
}

async fn written(response: Response) -> Bytes {
    let (parts, body) = response.into_parts();
    // A failure's body is in memory: reading it cannot fail.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let reason = parts.status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", parts.status.as_u16()).into_bytes();
    for (name, value) in &parts.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
        .extend_from_slice(format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(&body);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bytes: &[u8]) -> Option<Code> {
        bare_refusal(bytes).map(|refusal| refusal.code)
    }

    #[test]
    fn takes_back_the_librarys_refusals_and_nothing_of_ours() {
        let bare = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n";
        assert_eq!(code(bare), Some(Code::HeadersTooLarge));
        assert_eq!(code(b"HTTP/1.1 414 URI Too Long\r\n\r\n"), Some(Code::HeadersTooLarge));
        assert_eq!(code(b"HTTP/1.0 400 Bad Request\r\n\r\n"), Some(Code::RequestMalformed));
        assert_eq!(code(b"HTTP/1.1 400 Bad Request\r\nX-Request-Id: 00\r\n\r\n"), None);
        assert_eq!(code(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}"), None);
        assert_eq!(code(b"HTTP/1.1 200 OK\r\n\r\n"), None);
        assert_eq!(code(b"{\"error\":\"HTTP/1.1 400 \"}\r\n\r\n"), None);
        assert_eq!(code(b"HTTP/1.1 4"), None);
    }
}
