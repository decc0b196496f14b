//! Stands before a server's services: takes no call, and reads no message, for which there is no room or no time.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{self, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body, codegen::Service, service::Routes};

use crate::{
    held::{Caller, Held, Room},
    items::Items,
    refusals::Reason,
};

/// Memory that an event, or a webhook, is taken to need beside its bytes, with its verdict.
const ITEM_BYTES: usize = 1024;
/// Largest piece of an answer that is handed over at a time. What was handed over is kept until the caller takes it, and is
/// not counted any more.
const PIECE_BYTES: usize = 128 * 1024;
/// The call whose answer never ends.
const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// The routes of a server behind its bounds.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) routes: Routes,
    pub(crate) room: Arc<Room>,
}

impl Service<http::Request<Body>> for Guard {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default();
        let entered = match request.uri().path() {
            WATCH => self.room.enter_watch(&caller),
            _ => self.room.enter(&caller),
        };
        let held = match entered {
            Ok(held) => held,
            Err(refused) => return Box::pin(async move { Ok(refused.into_http()) }),
        };
        request.extensions_mut().insert(held.clone());
        let request = request.map(|body| Body::new(Message::new(body, held.clone())));
        let answer = self.routes.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| Body::new(Answer::new(body, held)))) })
    }
}

/// The body of a call while it comes.
struct Message {
    body: Body,
    held: Held,
    items: Items,
    began: Instant,
    heard: Instant,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Message {
    fn new(body: Body, held: Held) -> Self {
        let now = Instant::now();
        Self { body, held, items: Items::new(), began: now, heard: now, wait: None }
    }

    /// Counts a piece before it is handed on.
    fn take(&mut self, piece: &[u8]) -> Result<(), Status> {
        let (before, announced) = (self.items.count(), self.items.announced_bytes());
        self.items.read(piece);
        let (items, room) = (self.items.count(), self.held.room());
        let most = room.bounds.items;
        if items > most {
            let why = format!("a call may hold {most} events or webhooks, and this one holds more");
            return Err(room.refuse(Reason::Items, &why));
        }
        self.held.add(piece.len() + (items - before) * ITEM_BYTES)?;
        if announced == 0 {
            self.held.look(self.items.announced_bytes())?;
        }
        Ok(())
    }

    /// Waits for the next piece only so long.
    fn poll_late(&mut self, context: &mut task::Context<'_>) -> Poll<Status> {
        let bounds = &self.held.room().bounds;
        let until = (self.heard + bounds.silence).min(self.began + bounds.message);
        let wait = self.wait.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if wait.deadline() != until {
            wait.as_mut().reset(until);
        }
        ready!(wait.as_mut().poll(context));
        let why = format!("the message did not end: its last bytes came {:?} ago", self.heard.elapsed());
        Poll::Ready(self.held.room().refuse(Reason::Silence, &why))
    }
}

impl http_body::Body for Message {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let message = &mut *self;
        match Pin::new(&mut message.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                message.heard = Instant::now();
                let taken = frame.data_ref().map_or(Ok(()), |piece| message.take(piece));
                Poll::Ready(Some(taken.map(|()| frame)))
            }
            Poll::Pending => message.poll_late(context).map(|late| Some(Err(late))),
            ended => ended,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The answer of a call, in pieces; the call is under way until the last of them is handed over, or it took too long.
struct Answer {
    /// None once it took too long. It is apart, since nobody asks for the answer of a caller that takes nothing.
    left: Arc<Mutex<Option<Left>>>,
    /// None of a watch, which may take as long as its connection.
    #[expect(dead_code, reason = "ends the wait when the answer is gone")]
    late: Option<AbortOnDropHandle<()>>,
}

/// What of an answer is still to be handed over.
struct Left {
    body: Body,
    piece: Bytes,
    #[expect(dead_code, reason = "the call holds its place until the answer is gone")]
    held: Held,
}

impl Answer {
    fn new(body: Body, held: Held) -> Self {
        let (room, is_watch) = (held.room().clone(), held.is_watch());
        if is_watch {
            held.give_back_bytes();
        }
        let left = Arc::new(Mutex::new(Some(Left { body, piece: Bytes::new(), held })));
        if is_watch {
            return Self { left, late: None };
        }
        let late = left.clone();
        let late = tokio::spawn(async move {
            sleep(room.bounds.answer).await;
            room.refusals.add(Reason::Silence, &"it did not take its answer in time");
            drop(late.lock().take());
        });
        Self { left, late: Some(AbortOnDropHandle::new(late)) }
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut left = self.left.lock();
        let Some(answer) = left.as_mut() else {
            return Poll::Ready(Some(Err(Status::deadline_exceeded("the answer was not taken in time"))));
        };
        if answer.piece.is_empty() {
            match ready!(Pin::new(&mut answer.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(piece) => answer.piece = piece,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let piece = answer.piece.split_to(answer.piece.len().min(PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left.lock().as_ref().is_some_and(|left| left.piece.is_empty() && left.body.is_end_stream())
    }
}
