//! What a simple server does: INSERT statements over many connections. The benchmark measures Sluicegate beside it.
//!
//! `insert_baseline URL FILE rows|multi CONNECTIONS READINGS` inserts the first readings of a file written by
//! `sluicegen export` into `sensor_readings` of the `seed` layout, one autocommitted INSERT per reading, or prepared
//! INSERTs of 1,000 readings each, and prints how long that took.

use std::{
    error::Error,
    io::{BufRead as _, BufReader},
    sync::Arc,
    time::Instant,
};

use mysql_async::{Conn, Opts, OptsBuilder, Value, prelude::Queryable as _};

const ROWS_PER_STATEMENT: usize = 1_000;
const COLUMNS: &str =
    "INSERT INTO sensor_readings (id1, id2, sensor_type, sensor_value, ts) VALUES ";

type AnyError = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, file, form, connections, readings] = arguments.as_slice() else {
        return Err("usage: insert_baseline URL FILE rows|multi CONNECTIONS READINGS".into());
    };
    let rows_per_statement = match form.as_str() {
        "rows" => 1,
        "multi" => ROWS_PER_STATEMENT,
        other => return Err(format!("{other} is neither rows nor multi").into()),
    };
    let rows = Arc::new(read(file, readings.parse()?)?);
    let connections: usize = connections.parse()?;
    let opts: Opts = OptsBuilder::from_opts(Opts::from_url(url)?)
        .setup(vec!["SET time_zone = '+00:00'"])
        .into();
    let mut ready = Vec::new();
    for _ in 0..connections {
        ready.push(Conn::new(opts.clone()).await?);
    }
    let began = Instant::now();
    let tasks: Vec<_> = ready
        .into_iter()
        .enumerate()
        .map(|(number, conn)| {
            tokio::spawn(insert(
                conn,
                rows.clone(),
                number,
                connections,
                rows_per_statement,
            ))
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    println!(
        "{{\"readings\": {}, \"seconds\": {}}}",
        rows.len(),
        began.elapsed().as_secs_f64()
    );
    Ok(())
}

fn read(file: &str, readings: usize) -> Result<Vec<[Value; 5]>, AnyError> {
    let mut rows = Vec::with_capacity(readings);
    for line in BufReader::new(std::fs::File::open(file)?)
        .lines()
        .take(readings)
    {
        let line = line?;
        let mut fields = line.split('\t').skip(1);
        let mut next = || fields.next().ok_or("a line has too few fields");
        rows.push([
            Value::from(next()?.parse::<i32>()?),
            Value::from(next()?),
            Value::from(next()?),
            Value::from(next()?.parse::<f64>()?),
            Value::from(next()?),
        ]);
    }
    Ok(rows)
}

/// Every `connections`-th statement is this one's.
async fn insert(
    mut conn: Conn,
    rows: Arc<Vec<[Value; 5]>>,
    number: usize,
    connections: usize,
    rows_per_statement: usize,
) -> Result<(), AnyError> {
    for chunk in rows
        .chunks(rows_per_statement)
        .skip(number)
        .step_by(connections)
    {
        let places = vec!["(?, ?, ?, ?, ?)"; chunk.len()].join(", ");
        let values: Vec<Value> = chunk.iter().flatten().cloned().collect();
        conn.exec_drop(format!("{COLUMNS}{places}"), values).await?;
    }
    conn.disconnect().await?;
    Ok(())
}
