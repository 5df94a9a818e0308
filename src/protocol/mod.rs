//! The messages of the Model Context Protocol.
//!
//! Types read what servers really send: `null` in an optional member is absent, unknown enum text
//! and content survive, and members of later revisions are kept in `extra`. `Debug` never shows
//! arguments, results or state, only their size.

#[macro_use]
mod macros;
mod capabilities;
mod common;
mod completion;
mod content;
mod elicitation;
pub(crate) mod envelope;
mod form;
pub(crate) mod header_value;
mod input;
mod json;
mod lenient;
mod lifecycle;
pub(crate) mod meta;
mod notifications;
mod prompts;
mod redact;
mod request;
mod resources;
mod roots;
mod sampling;
pub(crate) mod skim;
mod subscriptions;
mod tagged;
mod tasks;
mod tools;
mod version;
pub(crate) mod x_mcp_header;

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;

pub use capabilities::{
    Capability, ClientCapabilities, ElicitationCapability, PromptsCapability, ResourcesCapability,
    RootsCapability, SamplingCapability, ServerCapabilities, TasksCapability, ToolsCapability,
};
pub use common::{
    Annotations, CacheScope, EmptyResult, Icon, IconTheme, Implementation, ListParams,
    LoggingLevel, ProgressToken, RequestId, Role,
};
pub use completion::{
    CompleteParams, CompleteResult, Completion, CompletionArgument, CompletionContext,
    CompletionReference, PromptReference, ResourceTemplateReference,
};
pub use content::{
    AudioContent, BlobResourceContents, ContentBlock, EmbeddedResource, ImageContent,
    ResourceContents, SamplingContent, TextContent, TextResourceContents, ToolResultContent,
    ToolUseContent,
};
pub use elicitation::{
    BooleanSchema, Choice, ElicitAction, ElicitFormParams, ElicitParams, ElicitResult,
    ElicitSchema, ElicitUrlParams, MultiSelectItems, MultiSelectSchema, NumberSchema,
    PrimitiveSchema, StringFormat, StringSchema, UrlElicitationRequired,
};
pub use input::{InputRequest, InputRequests, InputRequiredResult, InputResponse, InputResponses};
pub use json::RawJson;
pub use lifecycle::{DiscoverResult, InitializeParams, InitializeResult};
pub use notifications::{
    CancelledParams, ElicitationCompleteParams, LogMessageParams, ProgressParams,
    ResourceUpdatedParams, SetLevelParams, SubscriptionsAcknowledgedParams, TaskStatusParams,
};
pub use prompts::{
    GetPromptParams, GetPromptResult, ListPromptsResult, Prompt, PromptArgument, PromptMessage,
};
pub use resources::{
    ListResourceTemplatesResult, ListResourcesResult, ReadResourceParams, ReadResourceResult,
    Resource, ResourceTemplate, SubscribeParams,
};
pub use roots::{ListRootsParams, ListRootsResult, Root};
pub use sampling::{
    CreateMessageParams, CreateMessageResult, IncludeContext, ModelHint, ModelPreferences,
    SamplingMessage, StopReason, ToolChoice, ToolChoiceMode,
};
pub use subscriptions::{ListenParams, ListenResult, SubscriptionFilter};
pub use tasks::{
    CreateTaskResult, DetailedTask, LegacyCreateTaskResult, LegacyTask, LegacyTaskResult,
    ListTasksResult, RelatedTask, Task, TaskAugmentation, TaskParams, TaskStatus, Ttl,
    UpdateTaskParams,
};
pub use tools::{
    CallToolParams, CallToolResult, ListToolsResult, TaskSupport, Tool, ToolAnnotations,
    ToolExecution,
};

pub use version::{Era, ProtocolVersion, UnknownVersion};

pub(crate) use capabilities::TASKS;

use envelope::Message;
use tools::Origin;

pub(crate) use request::{ClientRequest, RawRequest};

/// A JSON-RPC result the client can parse.
pub(crate) trait Body: Sized {
    /// Parses the payload of `reply`. A function of each type, so that this crate holds the parser,
    /// and not every crate that makes a call.
    fn read(reply: &Message) -> serde_json::Result<Self>;

    /// `resultType`; absent means `"complete"`.
    fn result_type(&self) -> Option<Cow<'_, str>>;

    /// Where it came from: the server, and what was asked for.
    fn came_from(&mut self, _server: &Arc<str>, _name: Option<&str>) {}

    /// A tool reports that it failed.
    fn is_failure(&self) -> bool {
        false
    }

    /// `ttlMs`, of what a server may say it of.
    fn ttl_ms(&self) -> Option<u64> {
        None
    }
}

macro_rules! body {
    ($($name:ident $(.$ttl_ms:ident)?)*) => {$(
        impl Body for $name {
            fn read(reply: &Message) -> serde_json::Result<Self> {
                reply.parse()
            }

            fn result_type(&self) -> Option<Cow<'_, str>> {
                self.result_type.as_deref().map(Cow::from)
            }

            $(fn ttl_ms(&self) -> Option<u64> {
                self.$ttl_ms
            })?
        }
    )*};
}

impl Body for CallToolResult {
    fn read(reply: &Message) -> serde_json::Result<Self> {
        reply.parse()
    }

    fn result_type(&self) -> Option<Cow<'_, str>> {
        self.result_type.as_deref().map(Cow::from)
    }

    fn came_from(&mut self, server: &Arc<str>, name: Option<&str>) {
        if self.is_error {
            self.origin = Origin::new(server, name);
        }
    }

    fn is_failure(&self) -> bool {
        self.is_error
    }
}

body! {
    CompleteResult CreateTaskResult DetailedTask EmptyResult GetPromptResult InitializeResult
    InputRequiredResult LegacyCreateTaskResult LegacyTaskResult ListTasksResult ListenResult
}

// CACHE-1
body! {
    DiscoverResult.ttl_ms ListPromptsResult.ttl_ms ListResourceTemplatesResult.ttl_ms
    ListResourcesResult.ttl_ms ListToolsResult.ttl_ms ReadResourceResult.ttl_ms
}

impl Body for RawJson {
    fn read(reply: &Message) -> serde_json::Result<Self> {
        reply.parse()
    }

    /// What is no text at all is shown as its JSON.
    fn result_type(&self) -> Option<Cow<'_, str>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Peek {
            #[serde(default)]
            result_type: Option<RawJson>,
        }
        let found = self.parse::<Peek>().ok()?.result_type?;
        Some(found.parse().unwrap_or_else(|_| found.get().to_owned()).into())
    }
}
