//! Opening a client with more than a server.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use crate::client::notification::{Context, Notification};
use crate::client::{Client, Inner, Server};
use crate::error::Result;
use crate::protocol::{ClientCapabilities, Implementation};
use crate::session::{CancelToken, Listener, Opening, Session};

type OnNotification = dyn Fn(&Notification, &Context<'_>) + Send + Sync;

/// Opens a [`Client`] that says who it is and listens to its server.
///
/// ```
/// use umcp::memory::Script;
/// use umcp::Client;
///
/// let client = Client::builder()
///     .client_info("my-program", "1.0")
///     .on_notification(|notification, _| eprintln!("{}", notification.method()))
///     .open(Script::new().server())?;
/// # Ok::<(), umcp::Error>(())
/// ```
#[must_use = "a builder does nothing until `open`"]
pub struct ClientBuilder {
    info: Implementation,
    cancel: Option<CancelToken>,
    on_notification: Option<Arc<OnNotification>>,
}

impl ClientBuilder {
    pub(crate) fn new() -> Self {
        Self {
            info: Implementation::new("umcp", env!("CARGO_PKG_VERSION")),
            cancel: None,
            on_notification: None,
        }
    }

    /// Sets the name and version that servers see this program as.
    pub fn client_info(self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.implementation(Implementation::new(name, version))
    }

    /// Sets everything that servers see this program as.
    pub fn implementation(mut self, info: Implementation) -> Self {
        self.info = info;
        self
    }

    /// Sets a token that ends [`open`](Self::open) from another thread.
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Sets what to do with notifications that belong to no call: log messages, changed lists.
    ///
    /// The function runs on a thread of the client's, for one notification after the other, in the
    /// order in which they came. It may call the client. When too many wait for it
    /// ([`Limits::notifications`](crate::Limits::notifications)), further ones are dropped.
    pub fn on_notification(
        mut self,
        listen: impl Fn(&Notification, &Context<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.on_notification = Some(Arc::new(listen));
        self
    }

    /// Starts or reaches the server, finds out its era, and agrees with it on a version.
    ///
    /// Blocks for at most [`Timeouts::connect`](crate::Timeouts::connect) and, in addition, a
    /// silent server's [`Timeouts::patience`](crate::Timeouts::patience); a server that dies of
    /// being asked for its era is started a second time. A server that does not open the connection
    /// is ended by force, which takes half a second at most. Implements the lifecycle and the
    /// versioning of the specification.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](crate::ErrorKind::Unreachable) if it could not be started or reached,
    /// [`Disconnected`](crate::ErrorKind::Disconnected) if it ended,
    /// [`Timeout`](crate::ErrorKind::Timeout), [`Cancelled`](crate::ErrorKind::Cancelled),
    /// [`Rpc`](crate::ErrorKind::Rpc) if it refused,
    /// [`Protocol`](crate::ErrorKind::Protocol) if there is no common version,
    /// [`Authorization`](crate::ErrorKind::Authorization), or
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput). Nothing of the server is left then.
    pub fn open(self, server: Server) -> Result<Client> {
        let label: Arc<str> = server.label().into();
        let connect = server.connect().map_err(|error| error.server(&label))?;
        let client: Arc<OnceLock<Weak<Inner>>> = Arc::default();
        let listener = self.on_notification.map(|listen| {
            let client = client.clone();
            let listener: Arc<Listener> = Arc::new(move |message| {
                let Some(inner) = client.get().and_then(Weak::upgrade) else { return };
                let Some(notification) = Notification::new(message) else { return };
                listen(&notification, &Context::new(&Client { inner }));
            });
            listener
        });
        let opening = Opening {
            server: label,
            pin: server.pin,
            info: self.info,
            capabilities: ClientCapabilities::default(),
            limits: server.limits.clone(),
            timeouts: server.timeouts.clone(),
            cancel: self.cancel,
            listener,
        };
        let session = Session::open(&*connect, opening)?;
        let inner = Arc::new(Inner { session, server });
        let _ = client.set(Arc::downgrade(&inner));
        inner.session.release_listener();
        Ok(Client { inner })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("info", &self.info).finish_non_exhaustive()
    }
}
