//! What a program does when a server asks something: one set of handlers, whatever the era.

use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use crate::client::notification::Context;
use crate::client::sampling;
use crate::error::{Result, said};
use crate::protocol::{
    Capability, ClientCapabilities, CreateMessageParams, CreateMessageResult, ElicitAction,
    ElicitFormParams, ElicitParams, ElicitResult, ElicitUrlParams, ElicitationCapability,
    InputRequest, InputResponse, ListRootsResult, Root, RootsCapability, SamplingCapability,
};
use crate::session::Refusal;

type OnForm = dyn Fn(&ElicitFormParams, &Context<'_>) -> ElicitResult + Send + Sync;
type OnUrl = dyn Fn(&ElicitUrlParams, &Context<'_>) -> ElicitResult + Send + Sync;
type OnSampling = dyn Fn(&CreateMessageParams, &Context<'_>) -> Result<CreateMessageResult, SamplingRefusal>
    + Send
    + Sync;

/// Why a handler gives a server no answer of a model.
///
/// ```
/// use umcp::SamplingRefusal;
///
/// assert_eq!(SamplingRefusal::declined().to_string(), "the user declined");
/// assert_eq!(SamplingRefusal::failed("no model").to_string(), "no model");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplingRefusal(Refusal);

impl SamplingRefusal {
    /// The user said no.
    pub fn declined() -> Self {
        Self(Refusal::declined())
    }

    /// It did not work. The server may read why.
    pub fn failed(why: impl Into<String>) -> Self {
        Self(Refusal::new(INTERNAL, why))
    }
}

impl fmt::Display for SamplingRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl std::error::Error for SamplingRefusal {}

pub(super) const INVALID_PARAMS: i64 = -32602;
const INTERNAL: i64 = -32603;

/// How deep handlers may stand in one another: one that calls a tool whose server asks something,
/// which is handled by calling a tool, and so on.
const DEEPEST: usize = 8;

/// The handlers of one client.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    pub(super) form: Option<Arc<OnForm>>,
    pub(super) url: Option<Arc<OnUrl>>,
    pub(super) sampling: Option<Arc<OnSampling>>,
    pub(super) samples_with_tools: bool,
    pub(super) roots: Option<Arc<Mutex<Vec<Root>>>>,
}

impl Handlers {
    /// What they make the client capable of, and no more.
    pub(super) fn capabilities(&self) -> ClientCapabilities {
        let mut capabilities = ClientCapabilities::default();
        let (form, url) = (self.form.is_some(), self.url.is_some());
        if form || url {
            capabilities.elicitation = Some(ElicitationCapability::new(form, url));
        }
        if self.sampling.is_some() {
            let tools = self.samples_with_tools.then(Capability::default);
            capabilities.sampling = Some(SamplingCapability { tools, ..Default::default() });
        }
        if self.roots.is_some() {
            let list_changed = true;
            capabilities.roots = Some(RootsCapability { list_changed, ..Default::default() });
        }
        capabilities
    }

    /// The requests that are answered.
    pub(super) fn methods(&self) -> Vec<&'static str> {
        let elicits = self.form.is_some() || self.url.is_some();
        let all = [
            (elicits, "elicitation/create"),
            (self.sampling.is_some(), "sampling/createMessage"),
            (self.roots.is_some(), "roots/list"),
        ];
        all.into_iter().filter_map(|(is_handled, method)| is_handled.then_some(method)).collect()
    }

    /// Whether the roots are such as may be told to a server.
    pub(super) fn check(&self) -> Result<()> {
        let roots = self.roots.as_ref().map(|it| it.lock().unwrap_or_else(PoisonError::into_inner));
        roots.iter().flat_map(|roots| roots.iter()).try_for_each(Root::check)
    }

    /// Whether there is somebody to answer.
    pub(super) fn handles(&self, request: &InputRequest) -> bool {
        match request {
            InputRequest::Elicit(ElicitParams::Form(_)) => self.form.is_some(),
            InputRequest::Elicit(ElicitParams::Url(_)) => self.url.is_some(),
            InputRequest::CreateMessage(params) => {
                self.sampling.is_some() && (self.samples_with_tools || !params.wants_tools())
            }
            InputRequest::ListRoots(_) => self.roots.is_some(),
            _ => false,
        }
    }

    /// Answers what a server asks, on this thread.
    pub(super) fn answer(
        &self,
        request: &InputRequest,
        context: &Context<'_>,
    ) -> Result<InputResponse, Refusal> {
        if !self.handles(request) {
            let text = "this client did not say that it could do that";
            return Err(Refusal::new(INVALID_PARAMS, text));
        }
        let Some(_depth) = Depth::enter() else {
            return Err(Refusal::new(INTERNAL, "handlers call for handlers without end"));
        };
        match request {
            InputRequest::Elicit(ElicitParams::Form(params)) => self.fill_in(params, context),
            InputRequest::Elicit(ElicitParams::Url(params)) => self.visit(params, context),
            InputRequest::CreateMessage(params) => self.sample(params, context),
            _ => {
                let roots = self
                    .roots
                    .iter()
                    .flat_map(|it| it.lock().unwrap_or_else(PoisonError::into_inner).clone());
                Ok(ListRootsResult::new(roots.collect()).into())
            }
        }
    }

    /// ELIC-7, ELIC-8: what the user accepted is checked, and the rest are defaults.
    fn fill_in(
        &self,
        params: &ElicitFormParams,
        context: &Context<'_>,
    ) -> Result<InputResponse, Refusal> {
        let Some(handler) = &self.form else { return Err(Refusal::unhandled()) };
        let mut answer = guarded(|| handler(params, context))?;
        let content = answer.content.take();
        // Who says no says nothing else.
        if answer.action == ElicitAction::Accept {
            let content = content.unwrap_or_default();
            let content = params.requested_schema.complete(content);
            answer.content = Some(content.map_err(|why| {
                log::warn!("the handler's answer is not what the form asks for: {why}");
                Refusal::new(INTERNAL, format!("the answer does not fit the form: {why}"))
            })?);
        }
        Ok(answer.into())
    }

    fn visit(
        &self,
        params: &ElicitUrlParams,
        context: &Context<'_>,
    ) -> Result<InputResponse, Refusal> {
        let Some(handler) = &self.url else { return Err(Refusal::unhandled()) };
        if params.host().is_none() {
            log::warn!("declined to visit a URL that is neither https nor on this machine");
            return Ok(ElicitResult::decline().into());
        }
        let mut answer = guarded(|| handler(params, context))?;
        // ELIC-9: the form is on the page.
        answer.content = None;
        Ok(answer.into())
    }

    fn sample(
        &self,
        params: &CreateMessageParams,
        context: &Context<'_>,
    ) -> Result<InputResponse, Refusal> {
        let Some(handler) = &self.sampling else { return Err(Refusal::unhandled()) };
        sampling::check(&params.messages).map_err(|why| Refusal::new(INVALID_PARAMS, why))?;
        match guarded(|| handler(params, context))? {
            Ok(answer) => Ok(answer.into()),
            Err(SamplingRefusal(refusal)) => Err(refusal),
        }
    }
}

impl Refusal {
    /// SAMP-13
    fn declined() -> Self {
        Self::new(-1, "the user declined")
    }

    pub(super) fn is_declined(&self) -> bool {
        *self == Self::declined()
    }

    fn unhandled() -> Self {
        Self::new(-32601, "this client does not have that method")
    }
}

/// A handler that panics fails what was asked, and nothing else.
fn guarded<T>(handle: impl FnOnce() -> T) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(handle)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| said(text)).unwrap_or_default();
        log::warn!("a handler panicked: {text}");
        Refusal::new(INTERNAL, "the handler panicked")
    })
}

/// One handler on this thread, for as long as it runs.
struct Depth;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

impl Depth {
    fn enter() -> Option<Self> {
        DEPTH.with(|depth| {
            let is_allowed = depth.get() < DEEPEST;
            depth.set(depth.get() + usize::from(is_allowed));
            is_allowed.then_some(Self)
        })
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get().saturating_sub(1)));
    }
}
