//! Subscriptions: what changes at a server, as it changes.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::{Client, task};
use crate::deadline::{Deadline, Overtime};
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::envelope::{Kind, Message};
use crate::protocol::{DetailedTask, ResourceUpdatedParams, SubscriptionFilter};
use crate::session::{self, CancelToken, Ending, Heard, Wanted};

/// What to subscribe to, made by [`Client::subscribe`].
///
/// A filter cannot be changed later: open another subscription, then drop the first.
#[must_use = "nothing is subscribed to until `open`"]
pub struct SubscriptionBuilder {
    client: Client,
    wanted: Wanted,
    /// All lists that the server reports, whichever those are.
    lists: bool,
}

impl SubscriptionBuilder {
    pub(crate) fn new(client: &Client) -> Self {
        let timeouts = &client.inner.server.timeouts;
        let wanted = Wanted {
            filter: SubscriptionFilter::default(),
            timeout: timeouts.request,
            max_total: timeouts.max_total,
            idle: None,
            cancel: None,
        };
        Self { client: client.clone(), wanted, lists: false }
    }

    /// Wants to know when the list of tools has changed.
    pub fn tools(mut self) -> Self {
        self.wanted.filter.tools_list_changed = true;
        self
    }

    /// Wants to know when the list of prompts has changed.
    pub fn prompts(mut self) -> Self {
        self.wanted.filter.prompts_list_changed = true;
        self
    }

    /// Wants to know when the list of resources has changed.
    pub fn resources(mut self) -> Self {
        self.wanted.filter.resources_list_changed = true;
        self
    }

    /// Wants to know when this resource, or what lies below it, has been updated. Can be said of many.
    pub fn resource(mut self, uri: impl Into<String>) -> Self {
        self.wanted.filter.resource_subscriptions.push(uri.into());
        self
    }

    /// Wants to know when any list has changed, as far as the server reports that.
    pub fn lists(mut self) -> Self {
        self.lists = true;
        self
    }

    /// Wants to know when this [task](crate::Task) has moved on, by its id, rather than to ask for its
    /// state again and again. Can be said of many. Only for the tasks of 2026-07-28, and servers may
    /// leave it out: [`acknowledged`](Subscription::acknowledged) shows that.
    ///
    /// What happened before the server acknowledged it, or while a connection was broken, is not told:
    /// ask once after [`open`](Self::open), and at [`Change::Missed`].
    ///
    /// ```no_run
    /// # fn wait(client: umcp::Client, mut task: umcp::Task) -> umcp::Result<()> {
    /// use std::time::Duration;
    ///
    /// let mut changes = client.subscribe().task(task.id()).open()?;
    /// while !task.get()?.task.status.is_terminal() {
    ///     changes.next_timeout(Duration::from_secs(60))?;
    /// }
    /// println!("{}", task.wait()?.text());
    /// # Ok(())
    /// # }
    /// ```
    pub fn task(mut self, id: impl Into<String>) -> Self {
        self.wanted.filter.task_ids.push(id.into());
        self
    }

    /// Sets how long to wait for the server's acknowledgement, instead of
    /// [`Timeouts::request`](crate::Timeouts). There is no clock after that, unless
    /// [`idle_timeout`](Self::idle_timeout) sets one.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.wanted.timeout = timeout;
        self
    }

    /// Takes the connection for lost, and opens another, when nothing at all has come on it for so long:
    /// neither a change nor a comment of the event stream, which servers send as signs of life. Without
    /// this a connection that has broken silently is not noticed.
    ///
    /// Set it to a few times what the server lets pass between two signs; one that sends none is
    /// connected to anew each time. This matters where a subscription has a connection of its own: in
    /// the modern era over HTTP.
    pub fn idle_timeout(mut self, idle: Duration) -> Self {
        self.wanted.idle = Some(idle);
        self
    }

    /// Lets a token end [`open`](Self::open) from another thread, and the subscription later.
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.wanted.cancel = Some(token.clone());
        self
    }

    /// Subscribes, and waits until the server has acknowledged it. Blocks for as long as
    /// [`timeout`](Self::timeout) says.
    ///
    /// A modern server is sent `subscriptions/listen`. A legacy server reports changes of lists
    /// unasked, and is sent `resources/subscribe` for each resource, once for all subscriptions.
    /// What the server did not declare is not asked for, and what it refuses is left out; see
    /// [`acknowledged`](Subscription::acknowledged).
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) if the server delivers nothing of it,
    /// [`InvalidInput`](ErrorKind::InvalidInput) if nothing was named, or a task by a client that was
    /// opened without [tasks](crate::ClientBuilder::tasks),
    /// [`Ended`](ErrorKind::Ended) if the server ended it at once, and as
    /// [`Request::call`](crate::Request::call).
    pub fn open(self) -> Result<Subscription> {
        let Self { client, mut wanted, lists } = self;
        let problem =
            |kind, text: &str| Error::new(kind, text).server(client.inner.session.server());
        let asked = wanted.filter;
        if asked.is_empty() && !lists {
            let error = problem(ErrorKind::InvalidInput, "there is nothing to subscribe to");
            return Err(error.hint("Name it: `lists`, `resource` or `task`"));
        }
        if !asked.task_ids.is_empty() {
            // TASK-1
            task::check_declared(&client)
                .map_err(|error| error.server(client.inner.session.server()))?;
        }
        let all = if lists { with_lists(asked.clone()) } else { asked.clone() };
        wanted.filter = offered(all.clone(), &client);
        if wanted.filter.is_empty() {
            let text = format!("the server does not offer this: it declared no {}", needed(&all));
            return Err(problem(ErrorKind::Unsupported, &text));
        }
        let inner = session::Subscription::open(&client.inner.session, wanted)?;
        if lacks(inner.granted(), &asked) {
            // SUB-6
            log::warn!("{}: does not deliver all that was subscribed to", client.server_name());
        }
        Ok(Subscription { inner, end: None, client })
    }
}

fn with_lists(asked: SubscriptionFilter) -> SubscriptionFilter {
    SubscriptionFilter {
        tools_list_changed: true,
        prompts_list_changed: true,
        resources_list_changed: true,
        ..asked
    }
}

/// SUB-5: whether something is not delivered that was wanted.
fn lacks(granted: &SubscriptionFilter, asked: &SubscriptionFilter) -> bool {
    let lacks = |granted: &[String], asked: &[String]| {
        let granted: HashSet<_> = granted.iter().collect();
        asked.iter().any(|it| !granted.contains(it))
    };
    asked.tools_list_changed && !granted.tools_list_changed
        || asked.prompts_list_changed && !granted.prompts_list_changed
        || asked.resources_list_changed && !granted.resources_list_changed
        || lacks(&granted.resource_subscriptions, &asked.resource_subscriptions)
        // TASK-29
        || lacks(&granted.task_ids, &asked.task_ids)
}

/// The capabilities that a server must have for all of it.
fn needed(asked: &SubscriptionFilter) -> String {
    let capabilities = [
        (asked.tools_list_changed, "`tools.listChanged`"),
        (asked.prompts_list_changed, "`prompts.listChanged`"),
        (asked.resources_list_changed, "`resources.listChanged`"),
        (!asked.resource_subscriptions.is_empty(), "`resources.subscribe`"),
        (!asked.task_ids.is_empty(), "tasks of 2026-07-28"),
    ];
    let needed: Vec<_> = capabilities.into_iter().filter(|it| it.0).map(|it| it.1).collect();
    needed.join(", no ")
}

/// METH-1, METH-2: what the server declared, each once.
fn offered(mut asked: SubscriptionFilter, client: &Client) -> SubscriptionFilter {
    let by = client.capabilities();
    let resources = by.resources.as_ref();
    asked.tools_list_changed &= by.tools.as_ref().is_some_and(|of| of.list_changed);
    asked.prompts_list_changed &= by.prompts.as_ref().is_some_and(|of| of.list_changed);
    asked.resources_list_changed &= resources.is_some_and(|of| of.list_changed);
    let keep = |names: &mut Vec<String>, is_offered: bool| {
        let mut seen = HashSet::new();
        names.retain(|name| is_offered && seen.insert(name.clone()));
    };
    keep(&mut asked.resource_subscriptions, resources.is_some_and(|of| of.subscribe));
    // TASK-28
    let has_tasks = client.is_modern() && task::check_offered(client).is_ok();
    keep(&mut asked.task_ids, has_tasks);
    asked
}

impl fmt::Debug for SubscriptionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubscriptionBuilder")
            .field("wanted", &self.wanted.filter)
            .finish_non_exhaustive()
    }
}

/// What has changed at a server. Of lists and resources only that they have: ask for the list, or read
/// the resource, again.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// The list of tools.
    ToolsChanged,
    /// The list of prompts.
    PromptsChanged,
    /// The list of resources.
    ResourcesChanged,
    /// One resource.
    ResourceUpdated {
        /// Which. It may lie below the one that was subscribed to.
        uri: String,
    },
    /// A task has moved on. This is all there is to know of it, with its result if it has ended and with
    /// what it asks for.
    TaskUpdated {
        /// Its state.
        task: Box<DetailedTask>,
    },
    /// There is a gap: anything that was subscribed to may have changed.
    Missed {
        /// How many changes found no room, as too many waited
        /// ([`Limits::notifications`](crate::Limits::notifications)). 0 if the connection was
        /// interrupted: nobody knows then.
        dropped: usize,
    },
}

impl Change {
    fn of(message: &Message) -> Option<Self> {
        let Kind::Notification { method } = message.kind() else { return None };
        match method.as_str() {
            "notifications/tools/list_changed" => Some(Self::ToolsChanged),
            "notifications/prompts/list_changed" => Some(Self::PromptsChanged),
            "notifications/resources/list_changed" => Some(Self::ResourcesChanged),
            "notifications/resources/updated" => {
                let uri = message.parse::<ResourceUpdatedParams>().ok()?.uri;
                Some(Self::ResourceUpdated { uri })
            }
            "notifications/tasks" => Some(Self::TaskUpdated { task: message.parse().ok()? }),
            _ => None,
        }
    }
}

/// A subscription to what changes at a server, until it is dropped.
///
/// There are three ways to wait: as an iterator, which blocks until there is a change;
/// [`next_timeout`](Self::next_timeout), which gives up at some time; and
/// [`try_next`](Self::try_next), which does not block.
///
/// What is not waited for waits here, up to a limit; beyond that there is a gap, which
/// [`Change::Missed`] shows. Over HTTP a subscription whose connection breaks is opened again by
/// whoever waits, later each time, and then there is a gap too. It ends with an error that says
/// why: [`Ended`](ErrorKind::Ended) by the server, [`Closed`](ErrorKind::Closed) by this program,
/// [`Cancelled`](ErrorKind::Cancelled), [`Disconnected`](ErrorKind::Disconnected), or what keeps it
/// from being opened again.
///
/// ```
/// # use umcp::{Client, Server, json};
/// # let server = Server::in_memory(|peer| {
/// #     let mut next = peer.open_legacy(json!({ "resources": { "subscribe": true } }));
/// #     while let Some(request) = next {
/// #         peer.reply(&request, json!({}));
/// #         peer.notify("notifications/resources/updated", json!({ "uri": "file:///a.log" }));
/// #         next = peer.receive();
/// #     }
/// # });
/// use umcp::Change;
///
/// # let client = Client::open(server)?;
/// let updates = client.subscribe().resource("file:///a.log").open()?;
/// for change in updates {
///     match change? {
///         Change::ResourceUpdated { uri } => println!("{uri} was updated"),
///         Change::Missed { .. } => println!("it may have been"),
///         _ => {}
///     }
/// #   break;
/// }
/// # Ok::<(), umcp::Error>(())
/// ```
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    // Before the client: what is dropped is ended while there is a connection.
    inner: session::Subscription,
    end: Option<Error>,
    /// What is waited for keeps the connection open.
    client: Client,
}

impl Subscription {
    /// Returns what the server delivers of what was asked for: as it said itself, or, of a legacy
    /// server, as it declared.
    pub fn acknowledged(&self) -> &SubscriptionFilter {
        self.inner.granted()
    }

    /// Returns the next change, or `None` if there is none within `wait`. Blocks for that long.
    ///
    /// # Errors
    ///
    /// Why the subscription has ended, each time from then on.
    pub fn next_timeout(&mut self, wait: Duration) -> Result<Option<Change>> {
        let until = Deadline::after(wait);
        if let Some(end) = &self.end {
            return Err(end.clone());
        }
        let mut overtime = Overtime::default();
        loop {
            let heard = self.inner.next(until).inspect_err(|end| self.end = Some(end.clone()))?;
            let change = match heard {
                None => return Ok(None),
                Some(Heard::Missed(dropped)) => Some(Change::Missed { dropped }),
                Some(Heard::Notice(notice)) => self.change(notice.message()),
            };
            match change {
                Some(change) => return Ok(Some(change)),
                None => log::warn!(
                    "{}: dropped a change that is malformed, or was not asked for",
                    self.client.server_name()
                ),
            }
            // A flood of them is not to hold up whoever waits.
            if overtime.is_over(until, self.inner.waiting()) {
                return Ok(None);
            }
        }
    }

    fn change(&self, message: &Message) -> Option<Change> {
        let change = Change::of(message)?;
        match &change {
            // SUB-6
            Change::TaskUpdated { task }
                if !self.acknowledged().task_ids.contains(&task.task.task_id) =>
            {
                None
            }
            _ => Some(change),
        }
    }

    /// Returns the next change if it is there. Does not block.
    ///
    /// # Errors
    ///
    /// As [`next_timeout`](Self::next_timeout).
    pub fn try_next(&mut self) -> Result<Option<Change>> {
        self.next_timeout(Duration::ZERO)
    }

    /// Returns whether changes were being delivered when this was last asked for one: `false` after the
    /// end, and while a connection that broke (over HTTP) is opened again. Does not block.
    pub fn is_open(&self) -> bool {
        self.inner.is_open()
    }

    /// Returns what can end the subscription from another thread.
    pub fn closer(&self) -> Closer {
        Closer(self.inner.ending().clone())
    }

    /// Ends the subscription, as dropping it does. The server is told; this does not wait for it.
    pub fn close(self) {}
}

/// Waits for the next change for as long as it takes. The last item is the error that says why the
/// subscription has ended.
impl Iterator for Subscription {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.end.is_some() {
            return None;
        }
        loop {
            if let Some(change) = self.next_timeout(Duration::MAX).transpose() {
                return Some(change);
            }
        }
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("acknowledged", self.acknowledged())
            .finish_non_exhaustive()
    }
}

/// Ends a [`Subscription`] from another thread. Cheap to clone; does not keep the connection open.
#[derive(Clone)]
pub struct Closer(Arc<Ending>);

impl Closer {
    /// Ends the subscription: whoever waits for its next change gets
    /// [`Closed`](ErrorKind::Closed). Does not block. Idempotent.
    pub fn close(&self) {
        self.0.close();
    }
}

impl fmt::Debug for Closer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closer").finish_non_exhaustive()
    }
}

const _: () = {
    const fn assert_sendable<T: Send + Sync>() {}
    assert_sendable::<Subscription>();
    assert_sendable::<Closer>();
};
