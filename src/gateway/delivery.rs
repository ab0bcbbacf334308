//! The upstream's body on its way to the client: passed on as it comes, counted, and settled when it has left.
//!
//! Promise: back-pressure reaches the upstream, since nothing is read before the client's socket has room. A body that
//! ends whole is charged once its last byte has left; one that breaks off is released, and its client sees a broken
//! connection, never a short answer that looks whole.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use keyledger_events::ReleaseCause;

use super::count::{Count, Counted};
use super::headers::{CREDITS_CHARGED, CREDITS_REMAINING, set};
use super::hold::{Hold, Settlement};
use super::idle::Idle;
use super::line::Line;

/// Why a body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeliveryFault {
    #[error("the upstream's body broke off")]
    Broken,
    #[error("the upstream's body stood still")]
    Stalled,
}

/// What is paid for the body when it ends whole.
#[derive(Debug)]
pub(super) struct Payment {
    pub hold: Hold,
    pub count: Count,
    /// Charge and rest come as trailers: the client takes them, and the head could not say.
    pub trailers: bool,
    pub line: Line,
}

/// A body on its way.
#[derive(Debug)]
pub(super) struct Delivery {
    inner: Incoming,
    /// `None` where nothing is charged, and once the end was reached.
    payment: Option<Payment>,
    ended: bool,
    /// The length is not told, so that the server sends chunks and can write trailers after them.
    unsized_: bool,
    idle: Idle,
}

impl Delivery {
    pub(super) fn new(inner: Incoming, payment: Option<Payment>, idle_max: Duration) -> Delivery {
        let mut delivery = Delivery {
            unsized_: payment.as_ref().is_some_and(|payment| payment.trailers),
            inner,
            payment,
            ended: false,
            idle: Idle::new(idle_max),
        };
        // The server never asks for the frames of a body without any.
        if delivery.inner.is_end_stream() && !delivery.unsized_ {
            delivery.ends_whole();
        }
        delivery
    }

    /// The last byte goes to the server now: the charge follows when it has left.
    fn ends_whole(&mut self) -> Option<HeaderMap> {
        self.ended = true;
        let mut payment = self.payment.take()?;
        let Counted { quantity, more } = payment.count.end();
        let trailers = payment.trailers.then(|| credits(&payment.hold, quantity));
        payment
            .line
            .settle_when_flushed(payment.hold, Settlement::Charge { quantity, more });
        trailers
    }

    fn breaks_off(&mut self, fault: DeliveryFault) -> Poll<Option<Result<Frame<Bytes>, DeliveryFault>>> {
        self.ended = true;
        if let Some(payment) = self.payment.take() {
            tracing::debug!(reservation = %payment.hold.held().reservation, %fault, "an answer broke off");
            payment.hold.settle(Settlement::Release(ReleaseCause::Error));
        }
        Poll::Ready(Some(Err(fault)))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(payment) = self.payment.as_mut().filter(|payment| payment.line.is_cut()) {
            payment.hold.nobody_hung_up();
        }
    }
}

/// The headers or trailers that say what a quantity costs and what is left.
pub(super) fn credits(hold: &Hold, quantity: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some((charged, remaining)) = hold.after_charge(quantity) {
        set(&mut headers, CREDITS_CHARGED, &charged.to_string());
        set(&mut headers, CREDITS_REMAINING, &remaining.to_string());
    }
    headers
}

impl Body for Delivery {
    type Data = Bytes;
    type Error = DeliveryFault;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, DeliveryFault>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(None) => {
                    let trailers = self.ends_whole();
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                Poll::Ready(Some(Err(_))) => return self.breaks_off(DeliveryFault::Broken),
                Poll::Ready(Some(Ok(frame))) => {
                    // The upstream's trailers are not passed on: they could speak for us.
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if let Some(payment) = &mut self.payment {
                        payment.count.feed(&data);
                        payment.hold.ride.pass(data.len());
                    }
                    self.idle.moved();
                    // With a length, the server stops asking at the last byte: this is the end.
                    if self.inner.is_end_stream() && !self.unsized_ {
                        self.ends_whole();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Poll::Pending => {
                    return match self.idle.poll_over(cx) {
                        Poll::Ready(()) => self.breaks_off(DeliveryFault::Stalled),
                        Poll::Pending => Poll::Pending,
                    };
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        if self.unsized_ {
            SizeHint::default()
        } else {
            self.inner.size_hint()
        }
    }
}
