//! The upstream's body on its way to the client: passed on as it comes, counted, and settled when it has left.
//!
//! Promise: back-pressure reaches the upstream, since nothing is read before the client's socket has room. A body that
//! ends whole is charged once its last byte has left; one that breaks off is released, and its client sees a broken
//! connection, never a short answer that looks whole.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use keyledger_events::ReleaseCause;

use super::count::{Count, Counted};
use super::headers::{self, CREDITS_CHARGED, CREDITS_REMAINING, set};
use super::hold::{Hold, Settlement};
use super::idle::Idle;
use super::line::Line;
use super::parcel::Parcel;
use super::stream::Stream;
use super::upstream::Place;

/// Why a body broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum DeliveryFault {
    #[error("the upstream's body broke off")]
    Broken,
    #[error("the upstream's body stood still")]
    Stalled,
    #[error("the body has to end")]
    Cut,
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
    /// Those of the upstream, where the client takes any.
    trailers: Option<HeaderMap>,
    idle: Idle,
    /// There where other bodies share the connection.
    stream: Option<Arc<Stream>>,
    _place: Place,
}

impl Delivery {
    /// Called in the task of its stream, where there is one.
    pub(super) fn new(inner: Incoming, payment: Option<Payment>, idle_max: Duration, place: Place) -> Delivery {
        let mut delivery = Delivery {
            unsized_: payment.as_ref().is_some_and(|payment| payment.trailers),
            inner,
            payment,
            ended: false,
            trailers: None,
            idle: Idle::new(idle_max),
            stream: Stream::current(),
            _place: place,
        };
        // The server never asks for the frames of a body without any.
        if delivery.inner.is_end_stream() && !delivery.unsized_ {
            delivery.ends_whole();
        }
        delivery
    }

    /// Lets the upstream's trailers pass, as far as they are harmless.
    pub(super) fn with_trailers(mut self, taken: bool) -> Delivery {
        self.trailers = taken.then(HeaderMap::new);
        self
    }

    /// The last byte goes to the server now: the charge follows when it has left.
    fn ends_whole(&mut self) -> Option<HeaderMap> {
        self.ended = true;
        let mut payment = self.payment.take()?;
        let counted = payment.count.end();
        let trailers = payment.trailers.then(|| {
            let mut trailers = HeaderMap::new();
            tell_credits(&mut trailers, &payment.hold, counted);
            trailers
        });
        let Counted { quantity, more } = counted;
        let charge = Settlement::Charge { quantity, more };
        match &self.stream {
            Some(stream) => stream.ended(payment.hold, charge),
            None => payment.line.settle_when_flushed(payment.hold, charge),
        }
        trailers
    }

    /// Nothing more leaves. What is unsaid is said by the hold: whether its key was deleted, or its client left.
    fn gives_up(&mut self) {
        let Some(mut payment) = self.payment.take() else {
            return;
        };
        let stream = self.stream.as_ref();
        let cut = stream.map_or_else(|| payment.line.is_cut(), |stream| stream.is_cut());
        if cut {
            payment.hold.nobody_hung_up();
        }
    }

    fn breaks_off(&mut self, fault: DeliveryFault) -> Poll<Option<Result<Frame<Parcel>, DeliveryFault>>> {
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
        self.gives_up();
    }
}

/// Says in headers or trailers what an answer costs, its top-up included, and what is left.
pub(super) fn tell_credits(headers: &mut HeaderMap, hold: &Hold, counted: impl Into<Counted>) {
    if let Some((charged, remaining)) = hold.after_charge(counted.into()) {
        set(headers, CREDITS_CHARGED, charged.to_string());
        set(headers, CREDITS_REMAINING, remaining.to_string());
    }
}

impl Body for Delivery {
    type Data = Parcel;
    type Error = DeliveryFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Parcel>, DeliveryFault>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.stream.as_ref().is_some_and(|stream| stream.has_to_end()) {
            self.ended = true;
            self.gives_up();
            return Poll::Ready(Some(Err(DeliveryFault::Cut)));
        }
        loop {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(None) => {
                    let mut trailers = self.trailers.take().unwrap_or_default();
                    trailers.extend(self.ends_whole().unwrap_or_default());
                    let any = !trailers.is_empty();
                    return Poll::Ready(any.then(|| Ok(Frame::trailers(trailers))));
                }
                Poll::Ready(Some(Err(_))) => return self.breaks_off(DeliveryFault::Broken),
                Poll::Ready(Some(Ok(frame))) => {
                    let data = match frame.into_data() {
                        Ok(data) => data,
                        Err(frame) => {
                            if let (Some(kept), Ok(sent)) = (&mut self.trailers, frame.into_trailers()) {
                                *kept = headers::trailers_for_client(&sent);
                            }
                            continue;
                        }
                    };
                    let mut tally = None;
                    if let Some(payment) = &mut self.payment {
                        payment.count.feed(&data);
                        tally = Some(payment.hold.ride.passing(data.len()));
                    }
                    self.idle.moved();
                    let parcel = Parcel::new(data, tally, self.stream.clone());
                    // With a length, the server stops asking at the last byte: this is the end.
                    if self.inner.is_end_stream() && !self.unsized_ {
                        self.ends_whole();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(parcel))));
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
