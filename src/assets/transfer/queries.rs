//! The SQL of an import: what is at its addresses already.

use mysql_async::prelude::Queryable;

use crate::assets::queries::{ROW, Row};

/// The assets at these addresses.
pub async fn at(conn: &mut impl Queryable, addresses: &[&str]) -> mysql_async::Result<Vec<Row>> {
    let marks = vec!["?"; addresses.len()].join(", ");
    let sql = format!(
        "select {ROW} from asset a join asset_watch w on w.asset_id = a.asset_id where a.address in ({marks}) \
         order by a.asset_id"
    );
    match addresses.is_empty() {
        true => Ok(Vec::new()),
        false => conn.exec(sql, addresses.to_vec()).await,
    }
}
