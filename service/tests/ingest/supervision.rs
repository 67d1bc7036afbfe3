//! A long-lived task that dies takes the process with it, and says its name (P7).

use crate::common::{alone_on_each_engine, database::Database, program::Program};

alone_on_each_engine! {
    a_task_that_panics_ends_the_process_and_is_named,
}

const TASKS: [&str; 7] = [
    "lane 0",
    "lane 1",
    "loader of lane 1",
    "partition manager",
    "gRPC listener",
    "REST listener",
    "signals",
];

async fn a_task_that_panics_ends_the_process_and_is_named(database: Database) {
    for task in TASKS {
        // Some seconds after its start, so that the service is ready before.
        let actions = format!("{task}=60*off->panic(as told)");
        let arguments = ["--ingest-lanes", "2", "--shutdown-deadline-s", "5"];
        let environment = [("FAILPOINTS", actions.as_str())];
        let program = Program::start_with(&database.url(), &arguments, &environment).await;
        let ended = program.ended().await;
        assert_eq!(ended.code, Some(1), "{task}: {}", ended.stderr);
        let expected = format!("sluicegate: the task \"{task}\" panicked: as told");
        let said = ended.stderr.lines().any(|line| line == expected);
        assert!(said, "{task}: {}", ended.stderr);
    }
}
