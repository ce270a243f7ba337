//! `muster demo`: two servers on one private database, to see what a cluster is.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use mysql_async::{Conn, TxOpts};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::clusters::queries;
use crate::config::{CLUSTER_ID, Config, DEFAULT_FILE, Database, FILE_NAME, HEART_SECOND, change};
use crate::db::Db;
use crate::db::embedded::{Keeper, Options, stop_orphan};
use crate::error::{Error, Result};
use crate::i18n::{Lang, Text};
use crate::install;
use crate::people::audit::Actor;
use crate::people::password::{self, Checked};
use crate::people::users::queries as users;
use crate::people::{Role, command};
use crate::seal::Key;
use crate::serve::Signals;

/// Short, so that a killed server is seen offline within 15 s.
const HEART_SECONDS: &str = "5";
/// Who may sign in.
const NAME: &str = "admin";
/// A debug build on a slow disk migrates within this.
const READY: Duration = Duration::from_secs(60);
/// A server marks its row within 2 s of the signal.
const STOP: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct Demo {
    /// Where the demo keeps its state between runs
    #[arg(long, value_name = "DIR", default_value = ".muster")]
    data: PathBuf,
    /// Throw the state of earlier runs away first
    #[arg(long)]
    fresh: bool,
    /// Port of server A
    #[arg(long, default_value_t = 2122)]
    port_a: u16,
    /// Port of server B
    #[arg(long, default_value_t = 2123)]
    port_b: u16,
}

/// One of the two servers.
struct Member {
    letter: &'static str,
    data: PathBuf,
    port: u16,
    port_flag: &'static str,
    /// What an operator might have called it.
    name: &'static str,
}

/// Runs until Ctrl-C, then stops both servers and the database.
///
/// # Errors
/// [`Error::Invalid`] and [`Error::Conflict`] are refusals to start, each with place and remedy.
pub async fn run(args: Demo) -> Result<()> {
    let lang = Config::lang_of_terminal();
    let names = match lang {
        Lang::ZhCn => ["华东构建集群", "华北构建集群"],
        Lang::En => ["East builds", "North builds"],
    };
    let members = [
        Member {
            letter: "A",
            data: args.data.join("a"),
            port: args.port_a,
            port_flag: "--port-a",
            name: names[0],
        },
        Member {
            letter: "B",
            data: args.data.join("b"),
            port: args.port_b,
            port_flag: "--port-b",
            name: names[1],
        },
    ];
    if args.port_a == args.port_b {
        return Err(Error::Invalid(Text::new("demo.same_port").with("port", args.port_a)));
    }
    for member in &members {
        check_port(member).await?;
    }
    prepare(&args, lang).await?;
    let _lock = install::lock(&args.data)?;
    let mut asked = Signals::new(false)?;
    say(lang, &Text::new("demo.database"));
    let options = Options {
        tcp: true,
        durable: true,
    };
    let place = args.data.join("mariadb");
    let (database, keeper) = tokio::select! {
        started = Keeper::start(&place, options) => started?,
        _ = asked.recv() => return Ok(()),
    };
    let mut children = Vec::new();
    let up = tokio::select! {
        result = start((&members, &args.data), &database, &mut children, lang) => Some(result),
        _ = asked.recv() => None,
    };
    if let Some(Ok(())) = up {
        watch_over(&members, &mut children, &mut asked, lang).await;
    }
    say(lang, &Text::new("demo.stopping"));
    stop_all(children).await;
    keeper.stop().await;
    say(lang, &Text::new("demo.stopped").with("path", args.data.display()));
    up.unwrap_or(Ok(()))
}

fn say(lang: Lang, text: &Text) {
    eprintln!("{}", text.say(lang));
}

async fn check_port(member: &Member) -> Result<()> {
    match tokio::net::TcpListener::bind(("127.0.0.1", member.port)).await {
        Ok(_) => Ok(()),
        Err(cause) => Err(Error::Invalid(
            Text::new("demo.port_taken")
                .with("port", member.port)
                .with("flag", member.port_flag)
                .with("letter", member.letter)
                .with("cause", cause),
        )),
    }
}

/// Makes the state directory, or makes it anew. Only what a demo made is ever deleted.
async fn prepare(args: &Demo, lang: Lang) -> Result<()> {
    let unwritable = |cause: std::io::Error| {
        Error::Invalid(
            Text::new("install.unwritable")
                .with("path", args.data.display())
                .with("cause", cause),
        )
    };
    if !args.fresh || !args.data.exists() {
        return Ok(());
    }
    // Nobody else may be using what goes away, and an orphaned database must be stopped first.
    drop(install::lock(&args.data)?);
    for part in ["a", "b"] {
        drop(install::lock(&args.data.join(part))?);
    }
    stop_orphan(&args.data.join("mariadb")).await?;
    for part in ["sign-in", "master.key"] {
        let _ = std::fs::remove_file(args.data.join(part));
    }
    for part in ["a", "b", "mariadb"] {
        match std::fs::remove_dir_all(args.data.join(part)) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(unwritable(cause));
            }
            _ => {}
        }
    }
    say(lang, &Text::new("demo.fresh").with("path", args.data.display()));
    Ok(())
}

/// Starts both servers, waits until they are on the roll, and describes them on the first run.
async fn start(
    (members, data): (&[Member], &Path),
    database: &Database,
    children: &mut Vec<Child>,
    lang: Lang,
) -> Result<()> {
    let key = master_key(data)?;
    // One after the other: the first gets the default group and workspace.
    for member in members {
        write_settings(member)?;
        children.push(spawn(member, database, &key, lang)?);
        if let Some(child) = children.last_mut() {
            ready(member, child).await?;
        }
    }
    let db = Db::new(database);
    let mut conn = db.own_conn().await?;
    for member in members {
        let id = install::read(&member.data)?;
        let address = format!("http://127.0.0.1:{}", member.port);
        queries::describe(&mut conn, &id, member.name, &address, "demo").await?;
    }
    say(lang, &Text::new("demo.ready"));
    for (member, child) in members.iter().zip(children.iter()) {
        // An earlier run may have named it in another language, or somebody since.
        let name = queries::name(&mut conn, &install::read(&member.data)?).await?;
        let url = format!("http://127.0.0.1:{}/clusters", member.port);
        let line = Text::new("demo.server")
            .with("letter", member.letter)
            .with("name", name.unwrap_or_default())
            .with("url", url);
        say(lang, &line.with("pid", child.id().unwrap_or_default()));
    }
    let sign_in = sign_in(&mut conn, data).await?;
    conn.disconnect().await?;
    let text = match sign_in {
        Some(password) => Text::new("demo.sign_in").with("password", password),
        None => Text::new("demo.sign_in_changed"),
    };
    say(lang, &text.with("name", NAME));
    say(lang, &Text::new("demo.hint"));
    Ok(())
}

/// Cluster id and interval stand in the file, so that they can be changed in the console.
fn write_settings(member: &Member) -> Result<()> {
    drop(install::lock(&member.data)?);
    let path = member.data.join(FILE_NAME);
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let mut text = if before.is_empty() { DEFAULT_FILE } else { &before }.to_owned();
    for (key, value) in [(CLUSTER_ID, member.letter), (HEART_SECOND, HEART_SECONDS)] {
        text = change::add(&text, key, value).map_err(Error::Invalid)?;
    }
    match text == before {
        true => Ok(()),
        false => install::write_private(&path, &text),
    }
}

/// Both servers need the same key; it stays with the demo's state.
fn master_key(data: &Path) -> Result<String> {
    let path = data.join("master.key");
    if let Ok(known) = std::fs::read_to_string(&path) {
        return Ok(known.trim().to_owned());
    }
    let key = Key::random()?.hex();
    install::write_private(&path, &key)?;
    Ok(key)
}

/// The demo's person, made on the first run; the password is kept beside the database it opens. None when it was changed
/// in the console since.
async fn sign_in(conn: &mut Conn, data: &Path) -> Result<Option<String>> {
    let path = data.join("sign-in");
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let account = users::candidate(conn, NAME, "").await?.account;
    if let Some(account) = account.filter(|_| !known.is_empty()) {
        let fits = password::check(known.trim(), Some(&account.password_hash)).await? != Checked::Wrong;
        return Ok(fits.then(|| known.trim().to_owned()));
    }
    let mut tx = conn.start_transaction(TxOpts::default()).await?;
    let password = command::add(&mut tx, &Actor::command(""), NAME, Role::SuperAdmin).await?;
    install::write_private(&path, &format!("{password}\n"))?;
    tx.commit().await?;
    Ok(Some(password))
}

/// A server of its own: own process, own group (Ctrl-C is ours to hand on), own data directory.
fn spawn(member: &Member, database: &Database, key: &str, lang: Lang) -> Result<Child> {
    let internal = |cause: std::io::Error| Error::Internal(cause.into());
    let program = std::env::current_exe().map_err(internal)?;
    let log_path = member.data.with_extension("log");
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(&log_path)
        .map_err(internal)?;
    Command::new(program)
        .args([
            "serve",
            "--until-stdin-closes",
            "--address",
            "127.0.0.1",
            "--port",
            &member.port.to_string(),
        ])
        .arg("--data")
        .arg(&member.data)
        .env(
            "JPOM_DB_URL",
            format!("mysql://{}:{}/{}", database.host, database.port, database.name),
        )
        .env("JPOM_DB_USER_NAME", &database.user)
        .env("JPOM_DB_USER_PWD", &database.password)
        .env("JPOM_SYSTEM_LANG", lang.code())
        .env("MUSTER_MASTER_KEY", key)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .process_group(0)
        .spawn()
        .map_err(internal)
}

/// Waits until `/readyz` says so, or until the server has ended and its log says why.
async fn ready(member: &Member, child: &mut Child) -> Result<()> {
    let end = Instant::now() + READY;
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Err(Error::Invalid(ended(member).with("status", status)));
        }
        if timeout(Duration::from_secs(3), is_ready(member.port))
            .await
            .is_ok_and(|ready| ready.unwrap_or(false))
        {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Error::Invalid(
                ended(member).with_text("status", Text::new("demo.not_ready")),
            ));
        }
        sleep(Duration::from_millis(30)).await;
    }
}

fn ended(member: &Member) -> Text {
    let log = member.data.with_extension("log");
    Text::new("demo.server_ended")
        .with("letter", member.letter)
        .with("log", log.display())
}

/// One request by hand: a client library for a single local line would weigh more than this.
async fn is_ready(port: u16) -> std::io::Result<bool> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream
        .write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

/// Until Ctrl-C; a server that ends meanwhile is told of and left ended, so that one can watch the list.
async fn watch_over(members: &[Member], children: &mut [Child], asked: &mut Signals, lang: Lang) {
    let mut told = [false; 2];
    loop {
        for ((member, child), told) in members.iter().zip(children.iter_mut()).zip(told.iter_mut()) {
            if let (false, Ok(Some(status))) = (*told, child.try_wait()) {
                say(lang, &ended(member).with("status", status));
                *told = true;
            }
        }
        tokio::select! {
            _ = asked.recv() => return,
            () = sleep(Duration::from_millis(300)) => {}
        }
    }
}

async fn stop_all(children: Vec<Child>) {
    for child in &children {
        if let Some(pid) = child
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
    for mut child in children {
        if timeout(STOP, child.wait()).await.is_err() {
            let _ = child.kill().await;
        }
    }
}
