//! The tables of the program, and what is in them: how many rows, and a sum that any other content would change.

use std::collections::BTreeMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::db::migrations;
use crate::error::Result;

/// A table, and its columns that are written and not computed.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: &'static str,
    pub columns: Vec<String>,
}

impl Table {
    /// Column names as a list of SQL.
    pub fn list(&self) -> String {
        let columns: Vec<String> = self.columns.iter().map(|column| format!("`{column}`")).collect();
        columns.join(", ")
    }
}

/// Those that this database has; what else lies in it is somebody else's.
///
/// # Errors
/// Those of the database.
pub async fn all(conn: &mut Conn) -> Result<Vec<Table>> {
    let sql = "select table_name, column_name from information_schema.columns where table_schema = database() \
               and coalesce(generation_expression, '') = '' order by table_name, ordinal_position";
    let known: Vec<(String, String)> = conn.query(sql).await?;
    let of = |name: &'static str| Table {
        name,
        columns: known
            .iter()
            .filter(|(table, _)| table == name)
            .map(|(_, column)| column.clone())
            .collect(),
    };
    Ok(migrations::tables()
        .map(of)
        .filter(|table| !table.columns.is_empty())
        .collect())
}

/// A row as SQL writes it.
pub fn written(row: &Row) -> String {
    let values: Vec<String> = (0..row.len())
        .filter_map(|at| row.as_ref(at))
        .map(|value| value.as_sql(false))
        .collect();
    format!("({})", values.join(","))
}

/// How many rows a table has, and the sum of what is in them, in whatever order they are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    pub rows: u64,
    sum: u64,
}

impl Content {
    pub fn add(&mut self, row: &str) {
        let digest = Sha256::digest(row);
        let first: [u8; 8] = std::array::from_fn(|at| digest[at]);
        self.rows += 1;
        self.sum = self.sum.wrapping_add(u64::from_le_bytes(first));
    }
}

/// What is in each table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tables(pub BTreeMap<String, Content>);

impl Tables {
    /// Rows in all of them.
    pub fn rows(&self) -> u64 {
        self.0.values().map(|content| content.rows).sum()
    }
}
