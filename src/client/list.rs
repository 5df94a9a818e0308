//! Lists that come in pages.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::client::cache::Caching;
use crate::client::{Client, Reply, Request, Retry};
use crate::deadline::Deadline;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::{
    ClientRequest, ListParams, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, Prompt, Resource, ResourceTemplate, Tool,
};
use crate::session::CancelToken;

/// A list to be asked for: all of it, page by page, or item by item as they are needed.
///
/// Made by [`Client::tools`], [`Client::resources`], [`Client::resource_templates`] and
/// [`Client::prompts`]. A server whose cursors repeat or do not end
/// ([`Limits::pages`](crate::Limits::pages)) gives an error, not an endless loop.
///
/// ```
/// # use umcp::memory::Script;
/// # use umcp::json;
/// # let script = Script::new()
/// #     .answer("tools/list", json!({ "tools": [{ "name": "now", "inputSchema": {} }] }));
/// # let client = umcp::Client::open(script.server())?;
/// for tool in client.tools() {
///     let tool = tool?; // pages are fetched as the loop gets there
///     println!("{}", tool.name);
/// }
/// # Ok::<(), umcp::Error>(())
/// ```
#[must_use = "a list asks for nothing until it is used"]
pub struct List<T> {
    client: Client,
    cursor: Option<String>,
    timeout: Duration,
    max_total: Duration,
    cancel: Option<CancelToken>,
    retry: Option<Retry>,
    caching: Caching,
    items: PhantomData<fn() -> T>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Page<T> {
    /// What the page holds. May be empty although another page follows.
    pub items: Vec<T>,
    /// Where the next page starts; `None` on the last. An empty string is a cursor like any other.
    pub next_cursor: Option<String>,
    /// For how long after it came the server says that it stays as it is (2026-07-28); `None` if it
    /// says nothing of that. Nothing is kept because of it but by a [`Cache`](crate::Cache), and a
    /// [`Hub`](crate::Hub)'s lists of tools.
    pub ttl: Option<Duration>,
}

/// What a [`List`] can hold. Implemented for [`Tool`], [`Resource`], [`ResourceTemplate`] and
/// [`Prompt`], and for nothing else.
pub trait Listed: sealed::Listed {}

mod sealed {
    use super::{Client, ClientRequest, ListParams, Page, Reply};

    pub trait Listed: Sized {
        #[doc(hidden)]
        const METHOD: &'static str;

        #[doc(hidden)]
        type Result: Reply;

        #[doc(hidden)]
        #[allow(private_interfaces)] // only this crate asks
        fn request(params: ListParams) -> ClientRequest;

        #[doc(hidden)]
        fn page(client: &Client, result: Self::Result) -> Page<Self>;
    }
}

macro_rules! listed {
    ($($item:ident: $method:literal $request:ident -> $result:ident.$items:ident $($usable:ident)?,)*) => {$(
        impl Listed for $item {}

        impl sealed::Listed for $item {
            const METHOD: &'static str = $method;

            type Result = $result;

            #[allow(private_interfaces)]
            fn request(params: ListParams) -> ClientRequest {
                ClientRequest::$request(params)
            }

            fn page(_client: &Client, result: $result) -> Page<Self> {
                let items = result.$items;
                $(let items = _client.$usable(items);)?
                let ttl = result.ttl_ms.map(Duration::from_millis);
                Page { items, next_cursor: result.next_cursor, ttl }
            }
        }
    )*};
}

listed! {
    Tool: "tools/list" ListTools -> ListToolsResult.tools usable,
    Resource: "resources/list" ListResources -> ListResourcesResult.resources,
    ResourceTemplate: "resources/templates/list" ListResourceTemplates -> ListResourceTemplatesResult.resource_templates,
    Prompt: "prompts/list" ListPrompts -> ListPromptsResult.prompts,
}

impl<T: Listed> List<T> {
    pub(crate) fn new(client: &Client) -> Self {
        let timeouts = &client.inner.server.timeouts;
        Self {
            client: client.clone(),
            cursor: None,
            timeout: timeouts.request,
            max_total: timeouts.max_total,
            cancel: None,
            retry: None,
            caching: Caching::default(),
            items: PhantomData,
        }
    }

    /// Starts at a page other than the first. Cursors are the server's: take them from a [`Page`]
    /// of the same connection, as they are.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    /// Sets how long to wait for each page.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long [`all`](Self::all) may take altogether, or each page of the others.
    pub fn max_total(mut self, max_total: Duration) -> Self {
        self.max_total = max_total;
        self
    }

    /// Lets a token end the waiting from another thread.
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.cancel = Some(token.clone());
        self
    }

    /// Sets whether and when a page is asked for again that could not be had, instead of what
    /// [`ClientBuilder::retry`](crate::ClientBuilder::retry) says.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// Asks the server although pages are kept, whose place the new ones take. Without a
    /// [`Cache`](crate::Cache), every list does.
    pub fn fresh(mut self) -> Self {
        self.caching = Caching::Keeps;
        self
    }

    /// Asks for one page. Blocks as [`Request::call`] does.
    ///
    /// # Errors
    ///
    /// As [`Request::call`]. A cursor that the server no longer knows gives
    /// [`Rpc`](ErrorKind::Rpc) with code -32602: start over with the first page.
    pub fn page(&self) -> Result<Page<T>> {
        Ok(T::page(&self.client, self.request().call()?))
    }

    fn request(&self) -> Request<'static, T::Result> {
        let params = ListParams::new(self.cursor.clone());
        let request = Request::new(&self.client, T::request(params))
            .timeout(self.timeout)
            .max_total(self.max_total)
            .caching(self.caching);
        let request = match &self.retry {
            Some(retry) => request.retry(retry.clone()),
            None => request,
        };
        match &self.cancel {
            Some(token) => request.cancel_token(token),
            None => request,
        }
    }

    /// Returns an iterator that asks for one page after the other.
    ///
    /// With a [`Cache`](crate::Cache), each page may be one that is kept. When the list changes on the
    /// way, the remaining pages are the server's.
    pub fn pages(self) -> Pages<T> {
        let left = self.client.inner.server.limits.pages;
        let edition = self.edition();
        Pages { list: self, edition, seen: HashSet::new(), left, bytes: 0, is_done: false }
    }

    /// Tells apart whether it is known that the list has changed since. `None` if nobody keeps it.
    fn edition(&self) -> Option<u64> {
        self.client.inner.cache.as_ref()?.edition(T::METHOD)
    }

    fn again(&self) -> Self {
        Self {
            client: self.client.clone(),
            cursor: self.cursor.clone(),
            cancel: self.cancel.clone(),
            retry: self.retry.clone(),
            ..*self
        }
    }

    /// Asks for all pages and returns everything on them.
    ///
    /// With a [`Cache`](crate::Cache), a list that changes on the way, or one of whose pages the server
    /// no longer knows, is asked for from the start, twice at most.
    ///
    /// # Errors
    ///
    /// As [`Request::call`], for any of the pages; [`Protocol`](ErrorKind::Protocol) if the server
    /// repeats a cursor and [`Limit`](ErrorKind::Limit) if there are too many pages, or they are
    /// together larger than one message may be.
    pub fn all(self) -> Result<Vec<T>> {
        Ok(self.all_until()?.0)
    }

    /// Everything on all pages, and until when the server says that it stays so.
    pub(crate) fn all_until(self) -> Result<(Vec<T>, Deadline)> {
        const AGAIN: usize = 2;
        let end = Deadline::after(self.max_total);
        for _ in 0..AGAIN {
            let mut pages = self.again().pages();
            let items = pages.drain(end);
            let is_gone = items.as_ref().is_err_and(is_unknown_cursor);
            if !pages.has_changed() || items.is_err() && !is_gone {
                return items;
            }
        }
        self.pages().drain(end)
    }
}

impl<T: Listed> IntoIterator for List<T> {
    type Item = Result<T>;
    type IntoIter = Items<T>;

    fn into_iter(self) -> Items<T> {
        Items { pages: self.pages(), items: VecDeque::new() }
    }
}

impl<T> fmt::Debug for List<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("List").field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// The pages of a [`List`], fetched one at a time. Ends after the last page or an error.
#[derive(Debug)]
pub struct Pages<T> {
    list: List<T>,
    /// When the first page was asked for.
    edition: Option<u64>,
    seen: HashSet<String>,
    left: usize,
    /// The size of all pages so far.
    bytes: usize,
    is_done: bool,
}

impl<T: Listed> Pages<T> {
    fn next_page(&mut self) -> Result<Page<T>> {
        if self.has_changed() {
            // CACHE-18: what is kept by now may belong to another list, and this to none.
            self.list.caching = Caching::Neither;
        }
        let reply = self.ask()?.call_sized().inspect_err(|error| {
            if let Some(cache) = &self.list.client.inner.cache
                && !self.seen.is_empty()
                && is_unknown_cursor(error)
            {
                cache.forget_list(T::METHOD);
            }
        });
        let (result, bytes) = reply?;
        self.turn(result, bytes)
    }

    /// Whether it is known that the list has changed since its first page, and there are more.
    fn has_changed(&self) -> bool {
        !self.seen.is_empty() && self.list.edition() != self.edition
    }

    /// Everything on the pages, by then.
    fn drain(&mut self, end: Deadline) -> Result<(Vec<T>, Deadline)> {
        let mut items = Vec::new();
        let mut until = Deadline::after(Duration::MAX);
        loop {
            self.list.max_total = end.remaining();
            let Some(page) = self.next() else { return Ok((items, until)) };
            let page = page?;
            self.check_size()?;
            items.extend(page.items);
            until = until.min(Deadline::after(page.ttl.unwrap_or_default()));
        }
    }

    /// The request for the next page.
    pub(super) fn ask(&mut self) -> Result<Request<'static, T::Result>> {
        if self.left == 0 {
            let text = "the server's list has more pages than are allowed";
            return Err(
                self.explain(Error::new(ErrorKind::Limit, text).hint("Raise `Limits::pages`"))
            );
        }
        self.left -= 1;
        Ok(self.list.request())
    }

    /// The page that has come, in a message of so many bytes.
    pub(super) fn turn(&mut self, result: T::Result, bytes: usize) -> Result<Page<T>> {
        let page = T::page(&self.list.client, result);
        self.bytes = self.bytes.saturating_add(bytes);
        match &page.next_cursor {
            Some(cursor) if !self.seen.insert(cursor.clone()) => {
                let text = "the server's list does not end: it repeats a cursor";
                Err(self.explain(Error::new(ErrorKind::Protocol, text)))
            }
            Some(cursor) => {
                self.list.cursor = Some(cursor.clone());
                Ok(page)
            }
            None => {
                self.is_done = true;
                Ok(page)
            }
        }
    }

    /// Fails if all pages are together larger than one message may be.
    pub(super) fn check_size(&self) -> Result<()> {
        let most = self.list.client.inner.server.limits.message;
        if self.bytes <= most {
            return Ok(());
        }
        let text = format!("the server's list has more than {most} bytes");
        let error = Error::new(ErrorKind::Limit, text);
        Err(self.explain(error.hint("Raise `Limits::message`, or go page by page")))
    }

    fn explain(&self, error: Error) -> Error {
        error.server(self.list.client.inner.session.server()).about(T::METHOD, "")
    }
}

fn is_unknown_cursor(error: &Error) -> bool {
    error.rpc().is_some_and(|rpc| rpc.code == -32602)
}

impl<T: Listed> Iterator for Pages<T> {
    type Item = Result<Page<T>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let page = self.next_page();
        self.is_done |= page.is_err();
        Some(page)
    }
}

/// The items of a [`List`], whose pages are fetched as they are needed.
#[derive(Debug)]
pub struct Items<T> {
    pages: Pages<T>,
    items: VecDeque<T>,
}

impl<T: Listed> Iterator for Items<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.items.is_empty() {
            match self.pages.next()? {
                Ok(page) => self.items.extend(page.items),
                Err(error) => return Some(Err(error)),
            }
        }
        self.items.pop_front().map(Ok)
    }
}
