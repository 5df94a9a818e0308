//! Which tools of a server can be tasks (2025-11-25).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::client::{Client, List};
use crate::deadline::Clocks;
use crate::error::Result;
use crate::protocol::{ProtocolVersion, TASKS, TaskSupport, Tool};
use crate::session::{Options, Session};

/// What the newest lists say of tools. `None` is a tool whose calls are never tasks.
#[derive(Default)]
pub(super) struct TaskTable(Mutex<Known>);

#[derive(Default)]
struct Known {
    tools: HashMap<String, Option<TaskSupport>>,
    bytes: usize,
}

/// How much is remembered, in bytes. More is asked for again.
const MOST: usize = 4 * 1024 * 1024;

impl TaskTable {
    /// LTASK-1: only where calls can be tasks at all.
    pub(super) fn of(session: &Session) -> Option<Self> {
        let terms = session.terms();
        let tasks = terms.capabilities.tasks.as_ref()?;
        let may_be = terms.version == ProtocolVersion::V2025_11_25
            && session.declares(TASKS)
            && tasks.supports("tools", "call");
        may_be.then(Self::default)
    }

    pub(super) fn learn(&self, tools: &[Tool]) {
        let mut known = self.lock();
        for tool in tools {
            let support = tool.execution.as_ref().and_then(|it| it.task_support.clone());
            if known.tools.insert(tool.name.clone(), support).is_none() {
                known.bytes += size_of::<(String, Option<TaskSupport>)>() + tool.name.len();
            }
            if known.bytes > MOST {
                *known = Known::default();
            }
        }
    }

    /// Whether a tool is known to be called as a task only.
    pub(super) fn requires(&self, tool: &str) -> bool {
        matches!(self.lock().tools.get(tool), Some(Some(TaskSupport::Required)))
    }

    /// Whether a tool can be a task. Asks for the list of tools if it is not known, within the clocks
    /// of its call, which run from then on.
    pub(super) fn allows(
        &self,
        client: &Client,
        tool: &str,
        options: &mut Options<'_>,
    ) -> Result<bool> {
        if !self.lock().tools.contains_key(tool) {
            let clocks = Clocks::start(options.timeout, options.max_total);
            let mut tools = List::<Tool>::new(client);
            if let Some(token) = &options.cancel {
                tools = tools.cancel_token(token);
            }
            let mut pages = tools.pages();
            loop {
                let (result, bytes) = pages.ask()?.within(clocks.clone()).call_sized()?;
                let page = pages.turn(result, bytes)?;
                let is_found = page.items.iter().any(|other| other.name == tool);
                if is_found || page.next_cursor.is_none() {
                    break;
                }
            }
            options.clocks = Some(clocks);
        }
        let support = self.lock().tools.get(tool).cloned().flatten();
        Ok(matches!(support, Some(TaskSupport::Optional | TaskSupport::Required)))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
