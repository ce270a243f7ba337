//! The real site and what it is measured against, served from this process.

use std::any::Any;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use askama::Template;
use muster::app::{App, Standing};
use muster::clusters::Index;
use muster::clusters::heartbeat::Heart;
use muster::clusters::wanted::Wanted;
use muster::config::{Config, Database, Flags};
use muster::db::Db;
use muster::install::Install;
use muster::people::sessions::queries::{self as sessions, Origin};
use muster::people::users::queries::{self as users, New};
use muster::people::{Role, secret};
use muster::routes;
use muster::web::layout::Layout;
use mysql_async::TxOpts;
use poem::endpoint::{BoxEndpoint, make, make_sync};
use poem::listener::TcpAcceptor;
use poem::{EndpointExt, IntoEndpoint, Request, Response, Route, Server};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::{PATH, process};

/// `muster::routes::all`, as shipped; all readers ask for the same list.
pub(crate) const SITE: &str = "site";
/// The same, when no two readers ask for the same list.
pub(crate) const DISTINCT: &str = "distinct";
/// The same queries and template in a bare handler.
pub(crate) const FLOOR: &str = "floor";
/// As shipped, but nobody is asked who they are.
pub(crate) const OPEN: &str = "open";
/// The same template over rows kept in memory.
pub(crate) const MEMORY: &str = "memory";

/// A server of this process that has called the roll once.
pub(crate) async fn register(database: &Database, data: &Path) -> App {
    let flags = Flags {
        data: Some(data.to_owned()),
        ..Flags::default()
    };
    let config = Config::read(&flags, process::environment(database)).unwrap();
    let install = Install::open(&config.data).unwrap();
    let log = std::sync::Arc::new(muster::log::Store::open(&config.data).unwrap());
    let app = App::new(config, install, Db::new(database), log).unwrap();
    Heart::new(app.clone()).tick().await.unwrap();
    assert_eq!(*app.standing.borrow(), Standing::Working);
    let_in(&app).await;
    app
}

/// Sessions of as many browsers as wrk has connections.
pub(crate) const SESSIONS: usize = 32;
/// The end of their tokens; their number stands before it.
pub(crate) const TOKEN_END: &str = "23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What one signed-in htmx sends, and more.
pub(crate) fn signed_in(more: &str) -> String {
    format!("HX-Request: true\r\nCookie: muster_s_bench=00{TOKEN_END}\r\n{more}")
}

/// People who may see the list, with sessions that last.
async fn let_in(app: &App) {
    let mut conn = app.db.own_conn().await.unwrap();
    let mut tx = conn.start_transaction(TxOpts::default()).await.unwrap();
    for number in 0..SESSIONS {
        let account_id = format!("{number:032x}");
        let account = New {
            account_id: &account_id,
            name: &format!("bench {number}"),
            display_name: "",
            role: Role::SystemAdmin,
            password_hash: "",
            by: "",
            is_first: false,
        };
        users::insert(&mut tx, &account).await.unwrap();
        let hash = secret::hash(&format!("{number:02x}{TOKEN_END}"));
        sessions::start(&mut tx, (&hash, &account_id, &account_id), false, &Origin::default())
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

/// The list behind everything but the question who asks.
fn open(app: &App) -> BoxEndpoint<'static, Response> {
    let mut routes = muster::clusters::routes();
    let list = routes.swap_remove(routes.iter().position(|address| address.path == "/clusters").unwrap());
    Route::new()
        .at("/clusters", list.unguarded())
        .around(muster::web::guard::headers)
        .data(app.clone())
        .boxed()
}

pub(crate) struct Sites {
    served: Vec<(&'static str, SocketAddr, JoinHandle<()>)>,
}

impl Sites {
    pub(crate) async fn start(app: &App) -> Sites {
        let floor = {
            let app = app.clone();
            make(move |req| {
                let app = app.clone();
                async move { Ok::<_, poem::Error>(render(&req, &load(&app, &req).await)) }
            })
        };
        let kept = load(app, &Request::builder().uri_str(PATH).finish()).await;
        let memory = make_sync(move |req| render(&req, &kept));
        Sites {
            served: vec![
                serve(SITE, routes::all(app)).await,
                serve(OPEN, open(app)).await,
                // Whose page it is stands in each of them.
                serve(FLOOR, floor.data(app.clone())).await,
                serve(MEMORY, memory.data(app.clone())).await,
            ],
        }
    }

    /// All answer with the same bytes, or their speeds could not be compared.
    pub(crate) async fn check(&self) {
        let mut bodies = Vec::new();
        for (name, address) in self.addresses() {
            let answer = process::get(address, PATH, &signed_in("")).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{name}: {answer}");
            bodies.push(answer.split_once("\r\n\r\n").unwrap().1.to_owned());
        }
        assert!(bodies[0].matches("<tr id=").count() == 50, "{}", bodies[0]);
        assert!(bodies.iter().all(|body| *body == bodies[0]), "the sites differ");
    }

    /// Head and body of the answer to a reader who has the list already.
    pub(crate) async fn bytes_of_304(&self) -> f64 {
        let (_, site) = self.addresses().next().unwrap();
        let first = process::get(site, PATH, &signed_in("")).await.unwrap();
        let tag = first.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap();
        let known = signed_in(&format!("If-None-Match: {tag}\r\n"));
        let second = process::get(site, PATH, &known).await.unwrap();
        assert!(second.starts_with("HTTP/1.1 304"), "{second}");
        second.len() as f64
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.served.iter().map(|(name, address, _)| (*name, *address))
    }

    pub(crate) fn stop(self) {
        for (_, _, server) in self.served {
            server.abort();
        }
    }
}

/// On a free port of this machine.
pub(crate) async fn serve<E>(name: &'static str, site: E) -> (&'static str, SocketAddr, JoinHandle<()>)
where
    E: IntoEndpoint + Send + 'static,
    E::Endpoint: 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let site = site.into_endpoint();
    let server = Server::new_with_acceptor(TcpAcceptor::from_tokio(listener).unwrap());
    (
        name,
        address,
        tokio::spawn(async move { server.run(site).await.unwrap() }),
    )
}

/// What the real handler asks the database, and nothing around it.
async fn load(app: &App, req: &Request) -> Index {
    let wanted = Wanted::parse(req.uri().query().unwrap_or_default());
    Index::load(app, wanted, false).await.unwrap()
}

/// The layout as askama hands it to filters.
struct Values(Arc<Layout>);

impl askama::Values for Values {
    fn get_value<'a>(&'a self, key: &str) -> Option<&'a dyn Any> {
        (key == "layout").then_some(&self.0)
    }
}

fn render(req: &Request, page: &Index) -> Response {
    let layout = Values(Arc::new(Layout::of(req)));
    let html = page.as_list().render_with_values(&layout).unwrap();
    Response::builder().content_type("text/html; charset=utf-8").body(html)
}
