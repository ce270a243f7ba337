//! Each page in a bare handler: the same queries and the same template, and nothing around them. "Floor" asks the database for
//! each request, "memory" fills the template with rows that were read once.

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use askama::{Template, Values};
use muster::app::App;
use muster::error::Result;
use muster::people::sessions::Proof;
use muster::people::sessions::queries::Origin;
use muster::people::{Role, Viewer, secret};
use muster::web::hx::wants_block;
use muster::web::layout::{Layout, Reader};
use muster::{assets, clusters, groups, jumps, people, system, workspaces};
use mysql_async::prelude::Queryable;
use poem::endpoint::{BoxEndpoint, make, make_sync};
use poem::{EndpointExt, IntoEndpoint, Request, Response, Route};

use crate::compare::PAGES;
use crate::sites::TOKEN_END;

/// Fills a template with rows that are there already.
type Draw = Box<dyn Fn(&mut String, &dyn Values) -> askama::Result<()> + Send + Sync>;
/// Reads the rows of a page: the whole of it, or what its fragment shows.
pub(crate) type Load = fn(App, Viewer, String, bool) -> Pin<Box<dyn Future<Output = Result<Draw>> + Send>>;

/// The whole page or its block.
macro_rules! drawn {
    ($page:expr, $whole:expr, $block:ident) => {{
        let page = $page?;
        Ok(match $whole {
            true => Box::new(move |html: &mut String, values: &dyn Values| page.render_into_with_values(html, values))
                as Draw,
            false => Box::new(move |html: &mut String, values: &dyn Values| {
                page.$block().render_into_with_values(html, values)
            }),
        })
    }};
}

pub(crate) const CLUSTERS: Load = |app, _, query, whole| {
    Box::pin(async move {
        let wanted = clusters::wanted::Wanted::parse(&query);
        drawn!(clusters::Index::load(&app, wanted, whole).await, whole, as_list)
    })
};

pub(crate) const SWITCHER: Load = |app, viewer, query, whole| {
    Box::pin(async move {
        let own = app.install.id.clone();
        let unread = (&jumps::Menus::default(), Instant::now());
        drawn!(
            jumps::Menu::load(&app, unread, &viewer, (&query, &own)).await,
            whole,
            as_menu
        )
    })
};

pub(crate) const HOME: Load =
    |app, _, _, whole| Box::pin(async move { drawn!(system::home::Home::load(&app).await, whole, as_home) });

pub(crate) const WORKSPACES: Load = |app, viewer, query, whole| {
    Box::pin(async move {
        let wanted = workspaces::list::Wanted::parse(&query);
        drawn!(
            workspaces::Index::load(&app, &viewer, wanted, whole).await,
            whole,
            as_list
        )
    })
};

pub(crate) const ASSETS: Load = |app, _, query, whole| {
    Box::pin(async move {
        let wanted = assets::list::Wanted::parse(&query);
        drawn!(assets::pages::Index::load(&app, wanted).await, whole, as_list)
    })
};

pub(crate) const GROUPS: Load = |app, _, _, whole| {
    Box::pin(async move { drawn!(groups::Index::load(&app, String::new(), 1).await, whole, as_list) })
};

pub(crate) const AUDIT: Load = |app, viewer, query, whole| {
    Box::pin(async move {
        let wanted = people::audit::pages::Wanted::parse(&query, &viewer);
        drawn!(
            people::audit::pages::Trail::load(&app, &viewer, wanted).await,
            whole,
            as_trail
        )
    })
};

/// The first of those who are signed in, as each page is handed them.
pub(crate) struct Who {
    viewer: Viewer,
    reader: Reader,
}

impl Who {
    pub(crate) async fn first(app: &App) -> Who {
        let mut conn = app.db.conn().await.unwrap();
        let sql = format!(
            "select {} from cluster where install_id = '{}'",
            muster::liveness::STATE,
            app.install.id
        );
        let state: muster::liveness::State = conn.query_first(sql).await.unwrap().unwrap();
        Who {
            viewer: Viewer {
                account_id: format!("{:032x}", 0),
                name: "bench 0".to_owned(),
                display_name: String::new(),
                role: Role::SystemAdmin,
                proof: Proof::Session {
                    session_id: format!("{:032x}", 0),
                },
                origin: Origin::default(),
            },
            reader: Reader {
                name: "bench 0".to_owned(),
                is_admin: true,
                is_super: false,
                csrf: secret::derived("form", &format!("00{TOKEN_END}")),
                own_state: Some((state.name(), state.colour())),
            },
        }
    }

    fn handed(&self, app: &App, site: impl IntoEndpoint<Endpoint: 'static>) -> BoxEndpoint<'static, Response> {
        let site = site.data(self.reader.clone()).data(app.clone());
        site.map_to_response().boxed()
    }
}

/// Every page from the database.
pub(crate) fn floor(app: &App, who: &Who) -> BoxEndpoint<'static, Response> {
    let site = PAGES.iter().fold(Route::new(), |site, page| {
        let (app, viewer, load) = (app.clone(), who.viewer.clone(), page.load);
        let bare = make(move |req: Request| {
            let (app, viewer) = (app.clone(), viewer.clone());
            async move {
                let query = req.uri().query().unwrap_or_default().to_owned();
                let draw = load(app, viewer, query, !wants_block(&req)).await?;
                Ok::<_, poem::Error>(answer(&req, &draw))
            }
        });
        site.at(page.route(), bare)
    });
    who.handed(app, site)
}

/// Every page from rows in memory.
pub(crate) async fn memory(app: &App, who: &Who) -> BoxEndpoint<'static, Response> {
    let mut site = Route::new();
    for page in PAGES {
        let query = page.path.split_once('?').map_or("", |(_, query)| query);
        let kept = async |whole| {
            (page.load)(app.clone(), who.viewer.clone(), query.to_owned(), whole)
                .await
                .unwrap()
        };
        let (whole, block) = (kept(true).await, kept(false).await);
        let bare = make_sync(move |req: Request| answer(&req, if wants_block(&req) { &block } else { &whole }));
        site = site.at(page.route(), bare);
    }
    who.handed(app, site)
}

/// The layout as askama hands it to filters.
struct Named(Arc<Layout>);

impl Values for Named {
    fn get_value<'a>(&'a self, key: &str) -> Option<&'a dyn Any> {
        (key == "layout").then_some(&self.0)
    }
}

fn answer(req: &Request, draw: &Draw) -> Response {
    // Room for all but the longest, so that a page is not moved while it grows.
    let mut html = String::with_capacity(64 * 1024);
    draw(&mut html, &Named(Arc::new(Layout::of(req)))).unwrap();
    Response::builder().content_type("text/html; charset=utf-8").body(html)
}
