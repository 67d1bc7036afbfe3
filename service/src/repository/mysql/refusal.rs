//! What the error codes of servers mean: one table for all engines, whose codes do not overlap where they differ. A code
//! that is not in it is judged by its SQLSTATE, and else tried again.

use mysql_async::ServerError;

use crate::repository::RepositoryError;

/// What a code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Passing: the server is going down, or has ended the connection.
    Gone,
    /// Passing: other transactions are in the way.
    Busy,
    /// Passing: it takes no writes, or no connections, at the moment.
    Closed,
    /// A limit of the server for one statement, transaction or packet.
    TooBig,
    /// The schema is not what it was, whatever the reading.
    Table,
    /// The account is not let in.
    Access,
    /// The account may not do this.
    Privilege,
    LocalInfile,
    /// The row is to blame, or a constraint or trigger that looks at it.
    Reading,
}

use Meaning::{Access, Busy, Closed, Gone, LocalInfile, Privilege, Reading, Table, TooBig};

/// Codes with their name in the server's source. Sources: the MySQL and MariaDB error references, TiDB's error codes.
const CODES: &[(u16, Meaning, &str)] = &[
    (1053, Gone, "ER_SERVER_SHUTDOWN"),
    (1077, Gone, "ER_NORMAL_SHUTDOWN"),
    (1079, Gone, "ER_SHUTDOWN_COMPLETE"),
    (1080, Gone, "ER_FORCING_CLOSE"),
    (1152, Gone, "ER_ABORTING_CONNECTION"),
    (1158, Gone, "ER_NET_READ_ERROR"),
    (1159, Gone, "ER_NET_READ_INTERRUPTED"),
    (1160, Gone, "ER_NET_ERROR_ON_WRITE"),
    (1161, Gone, "ER_NET_WRITE_INTERRUPTED"),
    (1184, Gone, "ER_NEW_ABORTING_CONNECTION"),
    (1927, Gone, "ER_CONNECTION_KILLED (MariaDB)"),
    (3169, Gone, "ER_SESSION_WAS_KILLED (MySQL)"),
    (4031, Gone, "ER_CLIENT_INTERACTION_TIMEOUT (MySQL)"),
    (
        1050,
        Busy,
        "ER_TABLE_EXISTS_ERROR: what an ALTER that was broken off made, until MariaDB has removed it",
    ),
    (1205, Busy, "ER_LOCK_WAIT_TIMEOUT"),
    (1213, Busy, "ER_LOCK_DEADLOCK"),
    (1317, Busy, "ER_QUERY_INTERRUPTED"),
    (1412, Busy, "ER_TABLE_DEF_CHANGED"),
    (1615, Busy, "ER_NEED_REPREPARE"),
    (1637, Busy, "ER_TOO_MANY_CONCURRENT_TRXS"),
    (3101, Busy, "ER_TRANSACTION_ROLLBACK_DURING_COMMIT (MySQL)"),
    (3, Closed, "EE_WRITE"),
    (1021, Closed, "ER_DISK_FULL"),
    (1026, Closed, "ER_ERROR_ON_WRITE"),
    (1030, Closed, "ER_GET_ERRNO"),
    (1037, Closed, "ER_OUTOFMEMORY"),
    (1040, Closed, "ER_CON_COUNT_ERROR"),
    (1041, Closed, "ER_OUT_OF_RESOURCES"),
    (
        1047,
        Closed,
        "ER_UNKNOWN_COM_ERROR, which is how Galera says not ready",
    ),
    (1114, Closed, "ER_RECORD_FILE_FULL"),
    (1135, Closed, "ER_CANT_CREATE_THREAD"),
    (1180, Closed, "ER_ERROR_DURING_COMMIT"),
    (1203, Closed, "ER_TOO_MANY_USER_CONNECTIONS"),
    (1226, Closed, "ER_USER_LIMIT_REACHED"),
    (1290, Closed, "ER_OPTION_PREVENTS_STATEMENT"),
    (1429, Closed, "ER_CONNECT_TO_FOREIGN_DATA_SOURCE"),
    (1792, Closed, "ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION"),
    (1836, Closed, "ER_READ_ONLY_MODE"),
    (3032, Closed, "ER_SERVER_OFFLINE_MODE (MySQL)"),
    (12701, Closed, "ER_SPIDER_REMOTE_SERVER_GONE_AWAY (MariaDB)"),
    (1153, TooBig, "ER_NET_PACKET_TOO_LARGE: max_allowed_packet"),
    (1197, TooBig, "ER_TRANS_CACHE_FULL: max_binlog_cache_size"),
    (1206, TooBig, "ER_LOCK_TABLE_FULL: innodb_buffer_pool_size"),
    (
        1969,
        TooBig,
        "ER_STATEMENT_TIMEOUT (MariaDB): max_statement_time",
    ),
    (3024, TooBig, "ER_QUERY_TIMEOUT (MySQL): max_execution_time"),
    (
        3100,
        TooBig,
        "ER_RUN_HOOK_ERROR (MySQL): group_replication_transaction_size_limit",
    ),
    (8004, TooBig, "ErrTxnTooLarge (TiDB): txn-total-size-limit"),
    (
        8175,
        TooBig,
        "ErrMemoryExceedForQuery (TiDB): tidb_mem_quota_query",
    ),
    (1049, Table, "ER_BAD_DB_ERROR"),
    (1054, Table, "ER_BAD_FIELD_ERROR"),
    (1136, Table, "ER_WRONG_VALUE_COUNT_ON_ROW"),
    (1146, Table, "ER_NO_SUCH_TABLE"),
    (1288, Table, "ER_NON_UPDATABLE_TABLE"),
    (
        1665,
        Table,
        "ER_BINLOG_STMT_MODE_AND_ROW_ENGINE: binlog_format",
    ),
    (
        3105,
        Table,
        "ER_NON_DEFAULT_VALUE_FOR_GENERATED_COLUMN (MySQL)",
    ),
    (1305, Table, "ER_SP_DOES_NOT_EXIST"),
    (1347, Table, "ER_WRONG_OBJECT"),
    (1356, Table, "ER_VIEW_INVALID"),
    (1364, Table, "ER_NO_DEFAULT_FOR_FIELD"),
    (1449, Table, "ER_NO_SUCH_USER"),
    (1471, Table, "ER_NON_INSERTABLE_TABLE"),
    (1932, Table, "ER_NO_SUCH_TABLE_IN_ENGINE (MariaDB)"),
    (1044, Access, "ER_DBACCESS_DENIED_ERROR"),
    (1045, Access, "ER_ACCESS_DENIED_ERROR"),
    (1130, Access, "ER_HOST_NOT_PRIVILEGED"),
    (1142, Privilege, "ER_TABLEACCESS_DENIED_ERROR"),
    (1143, Privilege, "ER_COLUMNACCESS_DENIED_ERROR"),
    (1227, Privilege, "ER_SPECIFIC_ACCESS_DENIED_ERROR"),
    (1251, Access, "ER_NOT_SUPPORTED_AUTH_MODE"),
    (1275, Access, "ER_SERVER_IS_IN_SECURE_AUTH_MODE"),
    (1370, Privilege, "ER_PROCACCESS_DENIED_ERROR"),
    (1524, Access, "ER_PLUGIN_IS_NOT_LOADED"),
    (1698, Access, "ER_ACCESS_DENIED_NO_PASSWORD_ERROR"),
    (1820, Access, "ER_MUST_CHANGE_PASSWORD"),
    (1862, Access, "ER_MUST_CHANGE_PASSWORD_LOGIN"),
    (3159, Access, "ER_SECURE_TRANSPORT_REQUIRED (MySQL)"),
    (3118, Access, "ER_ACCOUNT_HAS_BEEN_LOCKED (MySQL)"),
    (4151, Access, "ER_ACCOUNT_HAS_BEEN_LOCKED (MariaDB)"),
    (1148, LocalInfile, "ER_NOT_ALLOWED_COMMAND"),
    (3948, LocalInfile, "ER_CLIENT_LOCAL_FILES_DISABLED (MySQL)"),
    (4166, LocalInfile, "ER_LOCAL_INFILE_DISABLED (MariaDB)"),
    (1048, Reading, "ER_BAD_NULL_ERROR"),
    (1062, Reading, "ER_DUP_ENTRY"),
    (1261, Reading, "ER_WARN_TOO_FEW_RECORDS"),
    (1262, Reading, "ER_WARN_TOO_MANY_RECORDS"),
    (1264, Reading, "ER_WARN_DATA_OUT_OF_RANGE"),
    (1265, Reading, "WARN_DATA_TRUNCATED"),
    (1292, Reading, "ER_TRUNCATED_WRONG_VALUE"),
    (1366, Reading, "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD"),
    (1406, Reading, "ER_DATA_TOO_LONG"),
    (1526, Reading, "ER_NO_PARTITION_FOR_GIVEN_VALUE"),
    (1644, Reading, "ER_SIGNAL_EXCEPTION"),
    (3819, Reading, "ER_CHECK_CONSTRAINT_VIOLATED (MySQL)"),
    (4025, Reading, "ER_CONSTRAINT_FAILED (MariaDB)"),
];

/// Errors of a COMMIT for many reasons: ER_ERROR_DURING_COMMIT and ER_UNKNOWN_ERROR. MariaDB 10.11 answers with the one where
/// there are more rows than wsrep_max_ws_rows, with the other where there are more bytes than wsrep_max_ws_size.
const OF_GALERA: [u16; 2] = [1180, 1105];
/// How Galera says in them that its limits for a transaction are to blame; these words are not translated.
const GALERA_LIMITS: [&str; 2] = ["wsrep_max_ws_", "Maximum writeset size exceeded"];

/// Translates a server's error.
pub(super) fn of_server(error: &ServerError) -> RepositoryError {
    let text = format!("{} ({})", error.message, error.code);
    match meaning(error) {
        Some(Gone) => RepositoryError::Unreachable(text),
        Some(Busy) => RepositoryError::Contention(text),
        Some(Closed) => RepositoryError::NotWritable(text),
        Some(TooBig) => RepositoryError::TooBig(text),
        Some(Table) => RepositoryError::Table(text),
        Some(Access) => RepositoryError::Setup(format!("the database refuses access: {text}")),
        Some(Privilege) => without_privilege("do this", error),
        Some(LocalInfile) => RepositoryError::Setup(
            "local_infile is off: run SET GLOBAL local_infile = 1 and put local_infile = 1 into the server's \
             configuration"
                .to_owned(),
        ),
        Some(Reading) => RepositoryError::Data(error.message.clone()),
        None => RepositoryError::Other(text),
    }
}

/// What is said when the account lacks a privilege for this; None where that is not what is wrong.
pub(super) fn lacking(what: &str, error: &ServerError) -> Option<RepositoryError> {
    (meaning(error) == Some(Privilege)).then(|| without_privilege(what, error))
}

fn without_privilege(what: &str, error: &ServerError) -> RepositoryError {
    RepositoryError::Setup(format!(
        "the database's account may not {what}: {} ({}): sql/grants.sql has what each account needs",
        error.message, error.code
    ))
}

fn meaning(error: &ServerError) -> Option<Meaning> {
    if OF_GALERA.contains(&error.code)
        && GALERA_LIMITS
            .iter()
            .any(|words| error.message.contains(words))
    {
        return Some(TooBig);
    }
    let listed = CODES.iter().find(|(code, ..)| *code == error.code);
    // Bad data; a violated constraint; a trigger's own signal.
    let by_state = || {
        let class = error.state.get(..2)?;
        ["22", "23", "45"].contains(&class).then_some(Reading)
    };
    listed.map(|&(_, meaning, _)| meaning).or_else(by_state)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Refusal;

    fn refusal(code: u16, message: &str, state: &str) -> Option<Refusal> {
        let error = ServerError {
            code,
            message: message.to_owned(),
            state: state.to_owned(),
        };
        of_server(&error).refusal()
    }

    #[test]
    fn each_code_has_its_kind_whatever_the_server_says_in_words() {
        for &(code, meaning, name) in CODES {
            let expected = match meaning {
                Gone | Busy | Closed => Refusal::Passing,
                TooBig => Refusal::TooBig,
                Table | Access | Privilege | LocalInfile => Refusal::OfTheTable,
                Reading => Refusal::OfAReading,
            };
            let found = refusal(code, "Irgendein Satz", "HY000");
            assert_eq!(found, Some(expected), "{code} {name}");
        }
    }

    #[test]
    fn no_code_is_listed_twice() {
        let mut codes: Vec<_> = CODES.iter().map(|&(code, ..)| code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), CODES.len());
    }

    #[test]
    fn limits_of_a_server_ask_for_a_smaller_batch() {
        for code in [1153, 1197, 1206, 1969, 3024, 3100, 8004, 8175] {
            assert_eq!(refusal(code, "", "HY000"), Some(Refusal::TooBig), "{code}");
        }
        for words in [
            "wsrep_max_ws_rows exceeded",
            "Maximum writeset size exceeded",
        ] {
            for code in OF_GALERA {
                assert_eq!(refusal(code, words, "HY000"), Some(Refusal::TooBig));
            }
        }
        let without_cause = refusal(1180, "Got error 6 during COMMIT", "HY000");
        assert_eq!(without_cause, Some(Refusal::Passing));
    }

    #[test]
    fn a_code_that_is_not_listed_is_judged_by_its_state() {
        for (state, expected) in [
            ("22001", Refusal::OfAReading),
            ("23000", Refusal::OfAReading),
            ("45000", Refusal::OfAReading),
            ("HY000", Refusal::Passing),
        ] {
            assert_eq!(refusal(64_999, "", state), Some(expected), "{state}");
        }
    }
}
