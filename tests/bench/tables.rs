//! What the pages show: tables at a size, and at ten and a hundred times of it.

use muster::app::App;
use muster::liveness;
use mysql_async::prelude::Queryable;

/// How many rows each table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tables {
    pub(crate) clusters: u32,
    pub(crate) workspaces: u32,
    pub(crate) groups: u32,
    pub(crate) assets: u32,
    pub(crate) audit: u32,
}

impl Tables {
    pub(crate) fn times(factor: u32) -> Tables {
        Tables {
            clusters: 10 * factor,
            workspaces: 100 * factor,
            groups: 20 * factor,
            assets: 1_000 * factor,
            audit: 10_000 * factor,
        }
    }

    /// In place of what is there; the trail is only added to.
    pub(crate) async fn fill(&self, app: &App) {
        // A hundred thousand rows take longer than a page may.
        run(
            app,
            &["delete from asset", "delete from asset_group where default_one is null"],
        )
        .await;
        clusters(app, self.clusters).await;
        workspaces(app, self).await;
        groups(app, self).await;
        assets(app, self.assets).await;
        audit(app, self.audit).await;
    }
}

async fn run<S: AsRef<str>>(app: &App, all: &[S]) {
    let mut conn = app.db.patient_conn().await.unwrap();
    for sql in all {
        conn.query_drop(sql.as_ref()).await.unwrap();
    }
    conn.disconnect().await.unwrap();
}

/// Most of them alive, some in every other state. Hours between beats, so that no state changes while it is measured.
pub(crate) async fn clusters(app: &App, count: u32) {
    let own = &app.install.id;
    run(
        app,
        &[
            format!("delete from cluster where install_id <> '{own}'"),
            format!(
                "insert into cluster (install_id, cluster_id, name, address, host, version, boot_id, started_at, interval_s, \
                 beat_at, beat_seq, online_since, stopped_at, modified_at, modified_by) \
                 select md5(seq), concat('C', seq), concat('集群 ', lpad(seq * 7919 mod 1000, 4, '0')), \
                 concat('http://10.0.', seq div 250, '.', seq mod 250, ':2122'), concat('host-', seq, '.example.net'), \
                 '0.1.0', md5(-seq), utc_timestamp(6), 36000, \
                 if(seq mod 20 = 1, null, utc_timestamp(6) - interval if(seq mod 20 = 2, 90000, seq) second), \
                 seq mod 20 <> 1, utc_timestamp(6) - interval 2 day, if(seq mod 20 = 3, utc_timestamp(6), null), \
                 utc_timestamp(6), 'admin' from seq_1_to_{}",
                count - 1
            ),
            // As after the trail has told all of them; the first look at a thousand clusters is not the idle state.
            format!("update cluster set told_state = {}", liveness::STATE),
            "analyze table cluster".to_owned(),
        ],
    )
    .await;
    let mut conn = app.db.conn().await.unwrap();
    let found: u32 = conn.query_first("select count(*) from cluster").await.unwrap().unwrap();
    assert_eq!(found, count, "with the measured server's own");
}

/// Named by number.
async fn workspaces(app: &App, tables: &Tables) {
    run(
        app,
        &[
            "delete from workspace where workspace_id <> 'DEFAULT'".to_owned(),
            format!(
                "insert into workspace (workspace_id, name, name_key, description, install_id) select md5(seq), \
                 concat('w ', lpad(seq, 5, '0')), concat('w ', lpad(seq, 5, '0')), 'a description of usual length', \
                 md5(seq mod {} + 1) from seq_1_to_{}",
                tables.clusters - 1,
                tables.workspaces
            ),
            "analyze table workspace".to_owned(),
        ],
    )
    .await;
}

/// Each watched by one cluster.
async fn groups(app: &App, tables: &Tables) {
    run(
        app,
        &[
            format!(
                "insert into asset_group (group_id, name, name_key, created_by) select seq + 1, \
                 concat('group ', lpad(seq, 4, '0')), concat('group ', lpad(seq, 4, '0')), '' from seq_1_to_{}",
                tables.groups
            ),
            format!(
                "insert into cluster_group (group_id, install_id, position) select group_id, md5(group_id mod {} + 1), 1 \
                 from asset_group where default_one is null",
                tables.clusters - 1
            ),
            "analyze table asset_group, cluster_group".to_owned(),
        ],
    )
    .await;
}

/// In ten groups, a third of each kind, one in twenty down; names are not in the order of the ids.
async fn assets(app: &App, count: u32) {
    let names = "concat('host ', lpad(seq * 7919 mod 1000003, 7, '0'))";
    run(
        app,
        &[
            format!(
                "insert into asset (asset_id, kind, name, name_key, address, group_id, settings, state) select seq, \
                 elt(seq mod 3 + 1, 'machine', 'ssh', 'docker'), {names}, {names}, concat('http://10.', seq div 65536, \
                 '.', seq div 256 mod 256, '.', seq mod 256, ':9100'), (select min(group_id) from asset_group) + \
                 seq mod 10, '{{}}', if(seq mod 20 = 0, 'down', 'up') from seq_1_to_{count}"
            ),
            "insert into asset_watch (asset_id, group_id, checked_at, latency_us, due_at) select asset_id, group_id, \
             utc_timestamp(6), 1234, utc_timestamp(6) + interval 1 day from asset"
                .to_owned(),
            "analyze table asset, asset_watch".to_owned(),
        ],
    )
    .await;
}

/// Of 32 people, about workspaces, over the last weeks.
async fn audit(app: &App, count: u32) {
    let mut conn = app.db.conn().await.unwrap();
    let first: u32 = { conn.query_first("select count(*) + 1 from audit").await }
        .unwrap()
        .unwrap();
    drop(conn);
    if first > count {
        return;
    }
    let sql = format!(
        "insert into audit (at, account_id, actor, role, address, install_id, action, object_kind, object_id, object_name, \
         changes, result) select utc_timestamp(6) - interval (1000000 - seq) * 2 second, lpad(hex(seq mod 32), 32, '0'), \
         concat('bench ', seq mod 32), 'system_admin', concat('10.0.0.', seq mod 250), md5(seq mod 9 + 1), \
         elt(seq mod 3 + 1, 'workspace_update', 'workspace_create', 'group_update'), 'workspace', md5(seq mod 100), \
         concat('w ', lpad(seq mod 100, 5, '0')), '[[\"name\",\"as it was\",\"as it is\"],[\"description\",\"-\",\
         \"a description of usual length\"]]', if(seq mod 50 = 0, 'refused', 'done') from seq_{first}_to_{count}"
    );
    run(app, &[sql.as_str(), "analyze table audit"]).await;
}

/// The other parts need no trail, and a million lines of it would weigh on them.
pub(crate) async fn without_trail(app: &App) {
    run(app, &["truncate table audit"]).await;
}
