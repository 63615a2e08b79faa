//! Drives the server example over real HTTP and checks it from outside: no bound is ever passed, and when
//! everybody has gone, no slot and no place is left behind.
//!
//! ```text
//! cargo run --release --example load
//! cargo run --release --example load -- --help
//! ```
//!
//! Without `--url` the server runs in this process, with limits small enough to show every outcome. Each
//! connection sends its next request when the last one has ended, so a slow server is asked less often: the
//! percentiles are those of the requests that were sent.
//!
//! Exit codes: 0 as it should be, 1 a bound was passed or something is left or went wrong, 2 bad arguments
//! or no server.

#[path = "../server/app/mod.rs"]
mod app;
mod client;
mod options;
mod page;
mod plan;
mod progress;
mod report;
mod tally;
mod target;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use admit::{LimitConfig, Limiter};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::app::Service;
use crate::client::{Connection, Ending, Shape};
use crate::options::Options;
use crate::page::{Page, Watch};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::{Report, Run};
use crate::tally::{End, Tally};
use crate::target::Target;

/// How often the page `/limits` is looked at while the run lasts.
const WATCH_EVERY: Duration = Duration::from_millis(20);

/// How long the server may take to notice that everybody has gone.
const QUIET_WITHIN: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::read();
    match run(&options).await {
        Ok(report) => {
            if options.json {
                println!("{:#}", report.json());
            } else {
                print!("{report}");
            }
            if report.is_ok() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}

/// The whole run. An error means that it could not even start.
async fn run(options: &Options) -> Result<Report, String> {
    let own = match &options.url {
        Some(_) => None,
        None => Some(start_server().await?),
    };
    let target = match (&options.url, &own) {
        (Some(target), _) => target.clone(),
        (None, Some((_, target))) => target.clone(),
        (None, None) => return Err("there is no server".to_owned()),
    };
    let before = reach(&target).await?;

    let mut tally = Tally::new(options.users);
    let mut watch = Watch::default();
    watch.see(&before);
    let started = Instant::now();
    let in_time = drive(options, &target, &mut tally, &mut watch).await;
    let took = started.elapsed();

    let after = settle(&target, &mut watch).await;
    let own_server = own.is_some();
    let drained = match own {
        Some((service, _)) => timeout(QUIET_WITHIN, service.drain()).await.is_ok(),
        None => true,
    };
    Ok(Report::new(Run {
        options,
        target: &target,
        own_server,
        tally,
        watch,
        before,
        after,
        took,
        in_time,
        drained,
    }))
}

/// A server in this process, on a free port of the loopback interface.
///
/// Its limits are chosen so that the default run shows every outcome: more connections than slots and
/// places together (503), one user far above his share (429), and a queue timeout about as long as that
/// user waits for his turn (408).
async fn start_server() -> Result<(Service, Target), String> {
    let config = LimitConfig {
        max_concurrent_per_user: 2,
        max_queue_size_per_user: 8,
        max_concurrent_global: 8,
        max_queue_size_global: 24,
        queue_timeout: Duration::from_millis(150),
        retry_after: Duration::from_secs(1),
        ..LimitConfig::default()
    };
    let limiter = Limiter::new(config).map_err(|error| error.to_string())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .map_err(|error| format!("cannot listen on the loopback interface: {error}"))?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    Ok((Service::start(listener, limiter), Target::from(address)))
}

/// The first look at the server's page, as the proof that it is there and is the server meant.
async fn reach(target: &Target) -> Result<Page, String> {
    let look = async {
        let mut connection = Connection::open(target).await?;
        connection.page().await
    };
    match timeout(QUIET_WITHIN, look).await {
        Ok(Ok(page)) => Ok(page),
        Ok(Err(error)) => Err(format!("no server example answers at {target}: {error}")),
        Err(_) => Err(format!("{target} does not answer")),
    }
}

/// What the tasks of a run tell the one that keeps the books.
enum Event {
    Ended(Ending),
    Seen(Box<Page>),
}

/// Sends all requests; whether they ended within the time of the run.
async fn drive(options: &Options, target: &Target, tally: &mut Tally, watch: &mut Watch) -> bool {
    let (events, mut inbox) = mpsc::channel(1024);
    let plan = Arc::new(Plan::new(options));
    let numbers = Arc::new(Mutex::new(0..options.requests));
    let mut tasks = JoinSet::new();
    for _ in 0..options.connections {
        tasks.spawn(send_requests(
            plan.clone(),
            target.clone(),
            Shape::from(options),
            numbers.clone(),
            events.clone(),
        ));
    }
    tasks.spawn(look_on(target.clone(), events));

    let mut progress = Progress::new(options.requests);
    let mut tick = interval(Duration::from_millis(100));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let deadline = sleep(options.timeout());
    tokio::pin!(deadline);
    while tally.requests() < options.requests {
        tokio::select! {
            event = inbox.recv() => match event {
                Some(Event::Ended(ending)) => tally.count(&ending),
                Some(Event::Seen(page)) => watch.see(&page),
                None => break,
            },
            _ = tick.tick() => progress.show(tally, watch),
            () = &mut deadline => break,
        }
    }
    progress.close();
    // Whoever is still connected hangs up here.
    tasks.shutdown().await;
    tally.requests() == options.requests
}

/// One connection: request after request, a new connection after hanging up.
async fn send_requests(
    plan: Arc<Plan>,
    target: Target,
    shape: Shape,
    numbers: Arc<Mutex<std::ops::Range<u64>>>,
    events: mpsc::Sender<Event>,
) {
    let mut connection = None;
    loop {
        let Some(number) = numbers.lock().await.next() else {
            return;
        };
        let request = plan.request(number);
        let ending = match connection.take() {
            Some(open) => ask(open, &request, shape, &mut connection).await,
            None => match Connection::open(&target).await {
                Ok(open) => ask(open, &request, shape, &mut connection).await,
                Err(error) => Ending::failed(request.user, error),
            },
        };
        let pause = match ending.end {
            End::Refused429 | End::Refused408 | End::Refused503 | End::Failed => request.backoff,
            End::Answered | End::LeftStreaming | End::LeftWaiting => Duration::ZERO,
        };
        if events.send(Event::Ended(ending)).await.is_err() {
            return;
        }
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
}

/// Sends one request and keeps the connection if it can take another one; dropping it is hanging up.
async fn ask(
    mut open: Connection,
    request: &plan::Request,
    shape: Shape,
    keep: &mut Option<Connection>,
) -> Ending {
    let ending = open.ask(request, shape).await;
    match ending.end {
        End::LeftWaiting | End::LeftStreaming | End::Failed => {}
        End::Answered | End::Refused429 | End::Refused408 | End::Refused503 => {
            *keep = open.is_open().await.then_some(open);
        }
    }
    ending
}

/// Looks at the server's page again and again, on a connection of its own.
async fn look_on(target: Target, events: mpsc::Sender<Event>) {
    let mut connection = None;
    loop {
        let look = async {
            let mut open = match connection.take() {
                Some(open) => open,
                None => Connection::open(&target).await?,
            };
            let page = open.page().await?;
            connection = Some(open);
            Ok::<_, String>(page)
        };
        // A look that fails is repeated; the one at the end must succeed.
        if let Ok(page) = look.await {
            if events.send(Event::Seen(Box::new(page))).await.is_err() {
                return;
            }
        }
        sleep(WATCH_EVERY).await;
    }
}

/// Looks until nothing is held and nobody waits; the last page seen, or why there is none.
async fn settle(target: &Target, watch: &mut Watch) -> Result<Page, String> {
    let deadline = Instant::now() + QUIET_WITHIN;
    loop {
        let page = reach(target).await?;
        watch.see(&page);
        if page.is_quiet() || Instant::now() >= deadline {
            return Ok(page);
        }
        sleep(WATCH_EVERY).await;
    }
}
