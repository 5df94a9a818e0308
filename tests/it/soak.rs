//! Weeks in a few seconds: many servers that crash at random, and what stays true.
//!
//! `UMCP_SOAK=300 cargo test --test it soak` takes that many seconds.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::{Value, json};
use umcp::{Client, Era, ErrorKind, Hub, ResourceContents, Retry};

use crate::alone::{Holdings, playing, role};
use crate::calls::said;
use crate::common::{over_pipes, within};
use crate::stdio::discovered;

const SERVERS: usize = 20;
const CALLERS: usize = 8;
const SECONDS: &str = "UMCP_SOAK";

/// Numbers that look random, and are the same in each run.
struct Dice(AtomicU64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
    }

    fn roll(&self, sides: u64) -> u64 {
        let step = |it: u64| Some(it.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap();
        (before >> 33) % sides
    }
}

/// A server whose starts have this in common.
struct Mortal {
    number: usize,
    dice: Dice,
    starts: AtomicUsize,
    /// How often each call of its tool was carried out.
    done: Mutex<HashMap<u64, usize>>,
}

impl Mortal {
    /// Serves one start, up to its crash: before a message is looked at, after what it says was done,
    /// or in the middle of the reply.
    fn serve(&self, reader: BufReader<PipeReader>, mut writer: PipeWriter) -> Option<()> {
        self.starts.fetch_add(1, Ordering::Relaxed);
        for line in reader.lines() {
            let message: Value = serde_json::from_str(&line.ok()?).unwrap();
            if self.dice.roll(60) == 0 {
                return None;
            }
            let number = self.number;
            let result = match message["method"].as_str().unwrap_or_default() {
                "server/discover" => discovered(&json!({ "tools": {}, "resources": {} })),
                "tools/list" => {
                    let tool = |name: String| json!({ "name": name, "inputSchema": {} });
                    json!({ "tools": [tool(format!("of-{number}")), tool("once".to_owned())] })
                }
                "tools/call" => {
                    let call = message["params"]["arguments"]["call"].as_u64().unwrap();
                    *self.done.lock().unwrap().entry(call).or_default() += 1;
                    said(format!("{number}: {call}"))
                }
                "resources/read" => {
                    json!({ "contents": [{ "uri": "x:a", "text": number.to_string() }] })
                }
                _ => continue,
            };
            let reply = json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
            let reply = format!("{reply}\n");
            match self.dice.roll(60) {
                0 => return None,
                1 => return writer.write_all(&reply.as_bytes()[..reply.len() / 2]).ok(),
                _ => writer.write_all(reply.as_bytes()).ok()?,
            }
        }
        Some(())
    }
}

/// What came of a call of the tool.
enum Outcome {
    Done,
    Failed { may_have_run: bool },
}

/// Up to so many attempts, one soon after the other.
fn again() -> Retry {
    Retry::new().attempts(50).backoff(Duration::from_millis(1), Duration::from_millis(20))
}

fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).map_or(0, |pages| pages.parse::<usize>().unwrap() * 4096)
}

#[test]
fn many_servers_that_crash_and_come_back_do_nothing_twice_and_leave_nothing() {
    const NAME: &str =
        "soak::many_servers_that_crash_and_come_back_do_nothing_twice_and_leave_nothing";
    let seconds = env::var(SECONDS).unwrap_or_else(|_| "5".to_owned());
    if role().is_none() {
        let output = playing(NAME, "alone").env(SECONDS, &seconds).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}{error}");
        return;
    }
    let length = Duration::from_secs(seconds.parse().unwrap());
    within(length + Duration::from_secs(60), move || {
        let before = Holdings::now();
        soak(length);
        before.are_all_there_is();
    });
}

fn soak(length: Duration) {
    let mortals: Vec<Arc<Mortal>> = (0..SERVERS)
        .map(|number| {
            Arc::new(Mortal {
                number,
                dice: Dice::new(number as u64),
                starts: AtomicUsize::new(0),
                done: Mutex::default(),
            })
        })
        .collect();
    let servers = mortals.iter().map(|mortal| {
        let serving = mortal.clone();
        let server = over_pipes(move |reader, writer| serving.serve(reader, writer));
        let (first, longest) = (Duration::from_millis(1), Duration::from_millis(20));
        let server = server.era(Era::Modern).respawn(u32::MAX).respawn_backoff(first, longest);
        (mortal.number.to_string(), server)
    });
    let hub = Hub::connect_with(servers, |_| Client::builder().retry(again()));
    // One may crash during its very first handshake, for which there is no other try.
    while let Some((name, _)) = hub.failures().first() {
        let _ = hub.reconnect(name);
    }
    let next = AtomicU64::new(0);
    let outcomes: Mutex<HashMap<u64, (usize, Outcome)>> = Mutex::default();
    let (answers, failures) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let began = Instant::now();
    let early = thread::scope(|scope| {
        for caller in 0..CALLERS {
            let (hub, next, outcomes) = (&hub, &next, &outcomes);
            let (answers, failures) = (&answers, &failures);
            scope.spawn(move || {
                let dice = Dice::new(1000 + caller as u64);
                while began.elapsed() < length {
                    let server = dice.roll(SERVERS as u64) as usize;
                    let client = hub.get(&server.to_string()).unwrap();
                    let asked = match dice.roll(4) {
                        0 => {
                            client.list_tools().map(|tools| tools[0].name == format!("of-{server}"))
                        }
                        1 => client.read_resource("x:a").map(|read| {
                            let ResourceContents::Text(text) = &read.contents[0] else { panic!() };
                            text.text == server.to_string()
                        }),
                        _ => {
                            let call = next.fetch_add(1, Ordering::Relaxed);
                            let result = client.call_tool("once", json!({ "call": call }));
                            let outcome = match &result {
                                Ok(_) => Outcome::Done,
                                Err(error) => {
                                    Outcome::Failed { may_have_run: error.may_have_run() }
                                }
                            };
                            outcomes.lock().unwrap().insert(call, (server, outcome));
                            result.map(|result| result.text() == format!("{server}: {call}"))
                        }
                    };
                    match asked {
                        Ok(is_right) => {
                            assert!(is_right, "{server}");
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Disconnected, "{error}");
                            failures.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        let early = scope.spawn(|| {
            while began.elapsed() < length / 3 {
                thread::sleep(length / 100);
            }
            (resident(), Holdings::now())
        });
        early.join().unwrap()
    });
    let (late, held) = (resident(), Holdings::now());
    let reports = hub.disconnect_all();
    assert!(reports.iter().all(|(_, report)| !report.left_behind));
    drop(hub);

    let mut not_run = 0;
    for (call, (server, outcome)) in outcomes.into_inner().unwrap() {
        let times = mortals[server].done.lock().unwrap().get(&call).copied().unwrap_or_default();
        match outcome {
            Outcome::Done => assert_eq!(times, 1, "call {call}"),
            Outcome::Failed { may_have_run: true } => assert!(times <= 1, "call {call}"),
            Outcome::Failed { may_have_run: false } => {
                assert_eq!(times, 0, "call {call}");
                not_run += 1;
            }
        }
    }
    let starts: usize = mortals.iter().map(|it| it.starts.load(Ordering::Relaxed)).sum();
    let (answers, failures) = (answers.into_inner(), failures.into_inner());
    println!(
        "{answers} answers, {failures} failures ({not_run} of calls that did not run), {starts} starts, \
         {} KiB more than after a third of it",
        late.saturating_sub(early.0) / 1024,
    );
    assert!(starts > 5 * SERVERS, "they did crash: {starts}");
    assert!(answers > 10 * failures, "and they came back: {answers}, {failures}");
    // What the test itself keeps of each call is in there, too.
    let grown = late.saturating_sub(early.0);
    assert!(grown < 64 * answers + 8 * 1024 * 1024, "{grown} bytes");
    assert!(held.threads <= early.1.threads + 3 * SERVERS, "{held:?} {early:?}");
    assert!(held.descriptors <= early.1.descriptors + 4 * SERVERS, "{held:?} {early:?}");
}
