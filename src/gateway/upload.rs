//! The client's body on its way to the upstream: bounded, and not allowed to stand still.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::idle::Idle;
use super::line::Line;

/// Why a body did not arrive whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum UploadFault {
    #[error("the request's body is too large")]
    TooLarge,
    #[error("the request's body stood still")]
    Stalled,
    #[error("the request's body is broken")]
    Broken,
}

/// Why the upload failed, for the exchange that waits for the upstream's answer.
pub(super) type Fault = Arc<OnceLock<UploadFault>>;

/// The body, passed on piece by piece as the upstream takes it. Trailers are dropped.
#[derive(Debug)]
pub(super) struct Upload {
    /// `None`: there is no body.
    inner: Option<Incoming>,
    left: u64,
    idle: Idle,
    fault: Fault,
    /// Is told when the body has been read to its end.
    line: Option<Line>,
}

impl Upload {
    pub(super) fn new(inner: Incoming, bytes_max: u64, idle_max: Duration, line: Line) -> (Upload, Fault) {
        let fault = Fault::default();
        let upload = Upload {
            inner: Some(inner),
            left: bytes_max,
            idle: Idle::new(idle_max),
            fault: Arc::clone(&fault),
            line: Some(line),
        };
        (upload, fault)
    }

    /// No body at all, for a request that is sent once more.
    pub(super) fn nothing() -> Upload {
        Upload {
            inner: None,
            left: 0,
            idle: Idle::new(Duration::ZERO),
            fault: Fault::default(),
            line: None,
        }
    }

    /// There may be a body, and only its end will tell how long it is.
    pub(super) fn has_no_length(&self) -> bool {
        !self.is_end_stream() && self.size_hint().exact().is_none()
    }

    fn all_read(&mut self) {
        if let Some(line) = self.line.take() {
            line.all_read();
        }
    }

    fn fail(&self, fault: UploadFault) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        Poll::Ready(Some(Err(*self.fault.get_or_init(|| fault))))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UploadFault>>> {
        loop {
            let Some(inner) = &mut self.inner else {
                return Poll::Ready(None);
            };
            match Pin::new(&mut *inner).poll_frame(cx) {
                Poll::Ready(None) => {
                    self.all_read();
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(_))) => return self.fail(UploadFault::Broken),
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    // With a length, nobody asks for more after the last byte.
                    let ends = inner.is_end_stream();
                    let Some(left) = self.left.checked_sub(length) else {
                        return self.fail(UploadFault::TooLarge);
                    };
                    self.left = left;
                    self.idle.moved();
                    if ends {
                        self.all_read();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Pending => {
                    return match self.idle.poll_over(cx) {
                        Poll::Ready(()) => self.fail(UploadFault::Stalled),
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let nothing = || SizeHint::with_exact(0);
        self.inner.as_ref().map_or_else(nothing, Incoming::size_hint)
    }
}
