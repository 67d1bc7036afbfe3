//! What a start has to say of the database that it found.

use tracing::{info, warn};

use super::{Layout, indexes::Indexes, leftover::Leftover, table::Table};
use crate::repository::{Durability, StorageFacts};

pub(super) fn facts(facts: &StorageFacts) {
    info!(
        server = facts.server_version,
        layout = facts.layout,
        "the database is fit"
    );
    if facts.durability == Durability::ProcessCrash {
        warn!(
            "an acknowledgement survives a crash of the database process only: set innodb_flush_log_at_trx_commit = 1 \
             (and sync_binlog = 1 where the binary log is on) to survive a loss of power"
        );
    }
    if facts.timestamp_decimals < 6 {
        warn!(
            decimals = facts.timestamp_decimals,
            "the table holds less than microseconds: timestamps are cut to its precision"
        );
    }
}

pub(super) fn other_layout(wanted: Option<Layout>, facts: &StorageFacts) {
    let Some(wanted) = wanted.map(|layout| layout.to_string()) else {
        return;
    };
    if wanted != facts.layout {
        warn!(
            wanted,
            found = facts.layout,
            "the layout that was asked for (--layout) is not the table's: it is used as it is, since --layout is for a \
             table that is created"
        );
    }
}

pub(super) fn leftover(leftover: Option<&Leftover>) {
    if let Some(left) = leftover {
        info!(
            from = %left.layout,
            table = left.layout.moving_table(),
            "readings are being moved from another layout (sluicegate migrate --to): those that are not yet moved are \
             asked and changed where they are"
        );
    }
}

pub(super) fn missing_indexes(table: &Table, indexes: &Indexes) {
    let ids: &[&str] = match table.layout.is_numbered() {
        true => &["series_id", "ts"],
        false => &["id1", "id2", "ts"],
    };
    for (index, columns) in [(&indexes.time, &["ts"][..]), (&indexes.ids, ids)] {
        let columns = columns.iter().map(|&column| table.names.column(column));
        let columns = format!("({})", columns.collect::<Vec<_>>().join(", "));
        if index.is_none() {
            warn!(
                columns,
                table = table.name.as_str(),
                "no index of the table begins with these: queries will be slow"
            );
        }
    }
}
