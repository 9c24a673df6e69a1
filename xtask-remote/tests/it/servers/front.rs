//! An HTTP server on a thread of its own, which can also do to a connection what a broken network does.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio_rustls::TlsAcceptor;

/// One request, whole.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// One answer, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn new(status: u16, kind: &'static str, body: impl Into<Bytes>) -> Self {
        Answer { status, headers: HeaderMap::new(), body: body.into() }.with("content-type", kind)
    }

    pub fn with(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        self.headers.insert(name, value.as_ref().parse().unwrap());
        self
    }
}

/// What becomes of a request.
pub enum Outcome {
    Answer(Answer),
    /// The body comes in pieces over that time.
    Slow(Answer, Duration),
    /// The body ends in the middle, and the connection with it.
    Cut(Answer),
    /// The connection is reset without an answer.
    Reset,
    /// The same, and for that time nobody listens.
    Refuse(Duration),
}

type Answering = Pin<Box<dyn Future<Output = Outcome> + Send>>;
type Handler = dyn Fn(Asked) -> Answering + Send + Sync;

/// A running server.
pub struct Front {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Front {
    /// Listens at these addresses; each has a handler.
    pub fn start(sites: Vec<(SocketAddr, Arc<Handler>)>, tls: Option<TlsAcceptor>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel();
        let (ready, listens) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                for (address, handler) in sites {
                    let listener = listen(address).await;
                    let (refused, told, tls) = (Mutex::default(), Notify::new(), tls.clone());
                    tokio::spawn(accept(listener, Arc::new(Site { handler, refused, told, tls })));
                }
                ready.send(()).unwrap();
                // The runtime ends with this block, and every connection with it.
                stopped.await.ok();
            });
        });
        listens.recv().unwrap();
        Front { stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Boxes what answers one request.
pub fn handler<F: Future<Output = Outcome> + Send + 'static>(
    answer: impl Fn(Asked) -> F + Send + Sync + 'static,
) -> Arc<Handler> {
    Arc::new(move |asked| Box::pin(answer(asked)))
}

/// Both loopback addresses, as far as the machine has them.
pub fn loopback(port: u16) -> Vec<SocketAddr> {
    let both = [SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))];
    both.into_iter().filter(|address| std::net::TcpListener::bind((address.ip(), 0)).is_ok()).collect()
}

/// A child that is being started has what this process had open, and gives it up a moment later.
async fn listen(address: SocketAddr) -> TcpListener {
    const ATTEMPTS: usize = 100;
    for _ in 0..ATTEMPTS {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            listening => return listening.unwrap(),
        }
    }
    panic!("{address} stays in use")
}

struct Site {
    handler: Arc<Handler>,
    refused: Mutex<Option<Duration>>,
    told: Notify,
    tls: Option<TlsAcceptor>,
}

async fn accept(mut listener: TcpListener, site: Arc<Site>) {
    let address = listener.local_addr().unwrap();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(converse(stream, Arc::clone(&site)));
                }
            }
            () = site.told.notified() => {
                let pause = site.refused.lock().unwrap().take().unwrap_or_default();
                drop(listener);
                tokio::time::sleep(pause).await;
                listener = listen(address).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, site: Arc<Site>) {
    stream.set_nodelay(true).ok();
    let reset = Arc::new(AtomicBool::new(false));
    let line = Line { stream, reset: Arc::clone(&reset) };
    match &site.tls {
        None => talk(line, &site, reset).await,
        Some(tls) => {
            if let Ok(session) = tls.accept(line).await {
                talk(session, &site, reset).await;
            }
        }
    }
}

async fn talk(line: impl AsyncRead + AsyncWrite + Unpin, site: &Arc<Site>, reset: Arc<AtomicBool>) {
    let service = hyper::service::service_fn(|request| respond(request, Arc::clone(site), Arc::clone(&reset)));
    // A client may go at any time.
    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(line), service).await.ok();
}

async fn respond(request: Request<Incoming>, site: Arc<Site>, reset: Arc<AtomicBool>) -> io::Result<Response<Pieces>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let path = head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let asked = Asked { method: head.method.to_string(), path, headers: head.headers, body };
    let head_only = asked.method == "HEAD";
    match (site.handler)(asked).await {
        Outcome::Answer(answer) => Ok(response(answer, head_only, Pieces::whole)),
        Outcome::Slow(answer, time) if head_only || answer.body.is_empty() => {
            tokio::time::sleep(time).await;
            Ok(response(answer, head_only, Pieces::whole))
        }
        Outcome::Slow(answer, time) => Ok(response(answer, head_only, |body| Pieces::slow(&body, time))),
        Outcome::Cut(answer) => Ok(response(answer, head_only, |body| Pieces::cut(&body))),
        Outcome::Reset => {
            reset.store(true, Ordering::SeqCst);
            Err(io::ErrorKind::ConnectionReset.into())
        }
        Outcome::Refuse(time) => {
            site.refused.lock().unwrap().replace(time);
            site.told.notify_one();
            // The listener goes first, so that whoever sees the reset and comes back is refused.
            tokio::time::sleep(Duration::from_millis(20)).await;
            reset.store(true, Ordering::SeqCst);
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
}

fn response(answer: Answer, head_only: bool, pieces: impl FnOnce(Bytes) -> Pieces) -> Response<Pieces> {
    let length = answer.body.len();
    let mut response = Response::new(if head_only { Pieces::whole(Bytes::new()) } else { pieces(answer.body) });
    *response.status_mut() = answer.status.try_into().unwrap();
    *response.headers_mut() = answer.headers;
    let headers = response.headers_mut();
    for name in [CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    if !head_only && answer.status != 204 && answer.status != 304 {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    response
}

/// Sends a request to a server of ours as it came: the host and every signed header stay.
pub async fn forward(port: u16, asked: &Asked) -> io::Result<Answer> {
    let stream = TcpStream::connect((std::net::Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let connection = tokio::spawn(connection);
    let mut request = Request::new(Full::new(asked.body.clone()));
    *request.method_mut() = asked.method.parse().map_err(io::Error::other)?;
    *request.uri_mut() = asked.path.parse().map_err(io::Error::other)?;
    *request.headers_mut() = asked.headers.clone();
    for name in [CONNECTION, TRANSFER_ENCODING] {
        request.headers_mut().remove(name);
    }
    if !asked.body.is_empty() || asked.headers.contains_key(CONTENT_LENGTH) {
        request.headers_mut().insert(CONTENT_LENGTH, asked.body.len().into());
    }
    let (head, body) = sender.send_request(request).await.map_err(io::Error::other)?.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    connection.abort();
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

/// A connection that is closed by a reset where its handler says so.
struct Line {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.reset.load(Ordering::SeqCst) {
            self.stream.set_zero_linger().ok();
        }
    }
}

impl AsyncRead for Line {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        // A reset takes the place of an orderly end.
        if self.reset.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A body in pieces, each after a pause; then an end, or a break.
struct Pieces {
    left: std::collections::VecDeque<Bytes>,
    pause: Duration,
    sleep: Option<Pin<Box<tokio::time::Sleep>>>,
    breaks: bool,
}

impl Pieces {
    fn whole(body: Bytes) -> Self {
        let left = if body.is_empty() { [].into() } else { [body].into() };
        Pieces { left, pause: Duration::ZERO, sleep: None, breaks: false }
    }

    fn slow(body: &Bytes, time: Duration) -> Self {
        const PIECES: usize = 10;
        let size = body.len().div_ceil(PIECES).max(1);
        let left = body.chunks(size).map(Bytes::copy_from_slice).collect();
        Pieces { left, pause: time / u32::try_from(PIECES).unwrap(), sleep: None, breaks: false }
    }

    fn cut(body: &Bytes) -> Self {
        let half = body.slice(..body.len() / 2);
        Pieces { left: [half, Bytes::new()].into(), pause: Duration::from_millis(20), sleep: None, breaks: true }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if !self.pause.is_zero() && !self.left.is_empty() {
            let pause = self.pause;
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.sleep = None;
        }
        match self.left.pop_front() {
            Some(piece) if !piece.is_empty() => Poll::Ready(Some(Ok(Frame::data(piece)))),
            _ if self.breaks => Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into()))),
            _ => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_empty() && !self.breaks
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
